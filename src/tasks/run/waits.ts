/**
 * Waiting for signals. The ledger keeps each wait under a key, which a later run of the task gives it again: the first
 * `waitFor` of a name in a run is always the same one, and so is the second. How a wait has ended is recorded as a step.
 *
 * A wait that is all that is left to do ends the run, as a long sleep does (`activity.ts`). Beside other work it waits in
 * place: the ledger says when it has ended.
 */
import { callObject, lacksMethod } from "../../kernel/objects.ts";
import { ledgerOf } from "../ledger/shards.ts";
import type { WaitEnd } from "../ledger/wait-rules.ts";
import { waitKey } from "../ledger/wait-rules.ts";
import type { WaitReply } from "../ledger/waits.ts";
import { durationMs, MAX_DURATION_MS } from "../types/duration.ts";
import { readJson } from "../types/json.ts";
import { isSignalName, SIGNAL_NAME_RULE, SignalTimeoutError, type WaitOptions } from "../types/signals.ts";
import type { Activity } from "./activity.ts";
import { Interruption, type Run } from "./run.ts";

/** How long one call waits for the end of a wait, and the pause before it: a wait that ends the run makes no such call. */
const POLL_MS = 20_000;
const POLL_DEADLINE_MS = POLL_MS + 10_000;
const PAUSE_MS = 250;
/** When a task goes on whose ledger is still of a version that knows no waits. */
const OLD_LEDGER_PAUSE_MS = 5_000;

export interface RunWaits {
  waitFor: (name: unknown, options: WaitOptions) => Promise<unknown>;
  /** The keys of the waits that are under way. */
  pending: () => string[];
}

/** `alive`: aborts when the run has ended, and a check that throws from then on. */
export function createWaits(
  { env, claim, assignment, interrupt }: Run,
  activity: Activity,
  alive: { signal: () => AbortSignal; check: () => void },
): RunWaits {
  const counts = new Map<string, number>();
  const pending = new Set<string>();
  const recorded = assignment.steps;

  const ask = async (key: string, name: string, untilMs: number): Promise<WaitReply> => {
    const call = async () => ledgerOf(env, claim.taskId)?.waitFor(claim, key, name, untilMs);
    const reply = await callObject(call).catch((error: unknown) => {
      if (!lacksMethod(error)) throw error;
      const message = "The ledger is of an earlier version, in which no task can wait for a signal.";
      interrupt.abort(new Interruption("hand-over", message, Date.now() + OLD_LEDGER_PAUSE_MS));
      throw interrupt.signal.reason;
    });
    if (reply) return reply;
    interrupt.abort(new Interruption("lost", "Another run has taken over the task."));
    throw interrupt.signal.reason;
  };

  /** Waits in place. A call that fails is one that has told nothing. */
  const poll = async (key: string, untilMs: number): Promise<void> => {
    const signal = alive.signal();
    await scheduler.wait(Math.min(PAUSE_MS, Math.max(0, untilMs - Date.now())), { signal });
    const ms = Math.min(POLL_MS, Math.max(0, untilMs - Date.now()));
    const call = async () => ledgerOf(env, claim.taskId)?.waitEnded(claim.taskId, key, ms);
    const options = { deadlineMs: POLL_DEADLINE_MS };
    await untilAborted(signal, callObject(call, options).catch(() => undefined));
  };

  const waitUnder = async (key: string, name: string, newUntilMs: number): Promise<string> => {
    const last: { reply: WaitReply } = { reply: { untilMs: newUntilMs } };
    const begin = async (): Promise<number> => {
      last.reply = await ask(key, name, newUntilMs);
      return "end" in last.reply ? Date.now() : last.reply.untilMs;
    };
    await activity.trackSleep(begin, async () => {
      while (!("end" in last.reply)) {
        await poll(key, last.reply.untilMs).finally(alive.check);
        last.reply = await ask(key, name, newUntilMs);
      }
    });
    return "end" in last.reply ? last.reply.end : "";
  };

  return {
    async waitFor(name, { timeout = MAX_DURATION_MS }) {
      if (!isSignalName(name)) throw new RangeError(SIGNAL_NAME_RULE);
      alive.check();
      const untilMs = Date.now() + durationMs(timeout, "The time-out of a wait");
      const number = (counts.get(name) ?? 0) + 1;
      counts.set(name, number);
      const key = waitKey(number, name);
      activity.touch();
      pending.add(key);
      try {
        return payloadOf(name, recorded[key] ?? (await waitUnder(key, name, untilMs)));
      } finally {
        pending.delete(key);
      }
    },
    pending: () => [...pending],
  };
}

function payloadOf(name: string, text: string): unknown {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the ledger wrote it
  const end = readJson(text) as WaitEnd;
  if ("timedOut" in end) throw new SignalTimeoutError(name);
  return end.signal;
}

/** Resolves with the promise, or rejects as soon as the signal aborts. */
async function untilAborted(signal: AbortSignal, promise: Promise<void>): Promise<void> {
  const aborted = Promise.withResolvers<never>();
  const onAbort = () => aborted.reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
