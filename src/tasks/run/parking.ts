/**
 * Waiting for something that the ledger knows about: a signal, or the end of children.
 *
 * The ledger keeps each wait under a key, which a later run of the task gives it again. A wait that is all that is left to do
 * ends the run, as a long sleep does (`activity.ts`). Beside other work it waits in place: the ledger says when it has ended.
 */
import { callObject, lacksMethod } from "../../kernel/objects.ts";
import { type Ledger, ledgerOf } from "../ledger/shards.ts";
import type { Activity } from "./activity.ts";
import { Interruption, type Run } from "./run.ts";

/** How long one call waits for the end of a wait, and the pause before it: a wait that ends the run makes no such call. */
const POLL_MS = 20_000;
const POLL_DEADLINE_MS = POLL_MS + 10_000;
const PAUSE_MS = 250;
/** When a task goes on whose ledger is still of a version that knows no waits. */
const OLD_LEDGER_PAUSE_MS = 5_000;

/** What the ledger says of a wait: until when it lasts, or what has ended it. */
type WaitState<T> = { untilMs: number } | { end: T };

export interface Parking {
  /** For every call that waits: throws once the run has ended. It shows that the code is at work. */
  enter: () => void;
  /** Makes a call under the run's claim. Throws an `Interruption` if the claim is lost, or the ledger too old. */
  ask: <T>(call: (ledger: Ledger) => Promise<T | null>) => Promise<T>;
  /** Waits under a key, until `read` returns an end. */
  waitUnder: <T>(key: string, read: () => Promise<WaitState<T>>) => Promise<T>;
  /** The keys of the waits that are under way. */
  pending: () => string[];
}

/** `alive`: a signal that aborts when the run has ended, and a check that throws from then on. */
export function createParking(
  { env, claim, interrupt }: Run,
  activity: Activity,
  alive: { signal: () => AbortSignal; check: () => void },
): Parking {
  const pending = new Set<string>();

  const ledger = () => {
    const found = ledgerOf(env, claim.taskId);
    if (!found) throw new TypeError(`${claim.taskId} is the id of no task`);
    return found;
  };
  const ask: Parking["ask"] = async (call) => {
    const reply = await callObject(async () => call(ledger())).catch((error: unknown) => {
      if (!lacksMethod(error)) throw error;
      const message = "The ledger is of an earlier version, in which no task can wait.";
      interrupt.abort(new Interruption("hand-over", message, Date.now() + OLD_LEDGER_PAUSE_MS));
      throw interrupt.signal.reason;
    });
    if (reply !== null) return reply;
    interrupt.abort(new Interruption("lost", "Another run has taken over the task."));
    throw interrupt.signal.reason;
  };

  /** Waits in place. A call that fails is one that has told nothing. */
  const poll = async (key: string, untilMs: number): Promise<void> => {
    const signal = alive.signal();
    await scheduler.wait(Math.min(PAUSE_MS, Math.max(0, untilMs - Date.now())), { signal });
    const ms = Math.min(POLL_MS, Math.max(0, untilMs - Date.now()));
    const call = async () => ledger().waitEnded(claim.taskId, key, ms);
    const options = { deadlineMs: POLL_DEADLINE_MS };
    await untilAborted(
      signal,
      callObject(call, options).catch(() => undefined),
    );
  };

  return {
    enter() {
      alive.check();
      activity.touch();
    },
    ask,
    async waitUnder<T>(key: string, read: () => Promise<WaitState<T>>): Promise<T> {
      const ended = Promise.withResolvers<T>();
      /** Until when it lasts; undefined once it has ended. */
      const look = async (): Promise<number | undefined> => {
        const state = await read();
        if ("untilMs" in state) return state.untilMs;
        ended.resolve(state.end);
        return undefined;
      };
      pending.add(key);
      try {
        let untilMs: number | undefined;
        const begin = async () => (untilMs = await look()) ?? Date.now();
        await activity.trackSleep(begin, async () => {
          while (untilMs !== undefined) {
            await poll(key, untilMs).finally(alive.check);
            untilMs = await look();
          }
        });
        return await ended.promise;
      } finally {
        pending.delete(key);
      }
    },
    pending: () => [...pending],
  };
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
