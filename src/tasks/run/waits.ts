/**
 * Waiting for signals. The first `waitFor` of a name in a run is always the same wait, and so is the second: their number is
 * part of the key. How a wait has ended is recorded as a step.
 */
import { type WaitEnd, waitKey } from "../ledger/wait-rules.ts";
import { durationMs, MAX_DURATION_MS } from "../types/duration.ts";
import { readJson } from "../types/json.ts";
import { isSignalName, SIGNAL_NAME_RULE, SignalTimeoutError, type WaitOptions } from "../types/signals.ts";
import type { Parking } from "./parking.ts";
import type { Run } from "./run.ts";

type WaitFor = (name: unknown, options: WaitOptions) => Promise<unknown>;

export function createWaits({ claim, assignment }: Run, parking: Parking): WaitFor {
  const counts = new Map<string, number>();

  return async (name, { timeout = MAX_DURATION_MS }) => {
    if (!isSignalName(name)) throw new RangeError(SIGNAL_NAME_RULE);
    const untilMs = Date.now() + durationMs(timeout, "The time-out of a wait");
    parking.enter();
    const number = (counts.get(name) ?? 0) + 1;
    counts.set(name, number);
    const key = waitKey(number, name);
    const recorded = assignment.steps[key];
    const read = async () => parking.ask(async (ledger) => ledger.waitFor(claim, key, name, untilMs));
    return payloadOf(name, recorded ?? (await parking.waitUnder(key, read)));
  };
}

function payloadOf(name: string, text: string): unknown {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the ledger wrote it
  const end = readJson(text) as WaitEnd;
  if ("timedOut" in end) throw new SignalTimeoutError(name);
  return end.signal;
}
