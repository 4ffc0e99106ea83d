/** What a task's code is given: its steps, its progress and its sleep, each a report under its claim. */
import { errorFields, log } from "../../kernel/log.ts";
import { RESTART_PAUSES_MS, retry } from "../../kernel/retry.ts";
import type { Waiting } from "../../kernel/wait-until.ts";
import type { Assignment, Claim } from "../ledger/claim.ts";
import { ledgerOf } from "../ledger/shards.ts";
import type { TaskContext } from "../types/define.ts";
import { readJson, toJson } from "../types/json.ts";

/** How many steps a task may record, and how much in all: they travel together to whoever goes on with it. */
const MOST_STEPS = 1_000;
const MOST_STEPS_LENGTH = 8 * 1024 * 1024;
const LONGEST_MESSAGE = 500;
/** Progress is sent at most so often. */
const PROGRESS_GAP_MS = 1_000;
const LONGEST_SLEEP_MS = 366 * 86_400_000;
/** A sleep that is longer takes no room meanwhile: its run ends. */
export const LONGEST_NAP_MS = 10_000;

/** Why a run has to end before its code has. Thrown by everything that the code asks of its context. */
export class Interruption extends Error {
  override readonly name = "Interruption";
  readonly reason: "cancelled" | "timeout" | "hand-over" | "lost";
  /** When it is to go on. */
  readonly notBeforeMs: number;

  constructor(reason: Interruption["reason"], message: string, notBeforeMs = 0) {
    super(message);
    this.reason = reason;
    this.notBeforeMs = notBeforeMs;
  }
}

export interface Run {
  env: Env;
  claim: Claim;
  assignment: Assignment;
  waiting: Waiting;
  /** Aborted with an `Interruption`. */
  interrupt: AbortController;
}

/** The context of a run. `settle` resolves once what it has yet to say is said. */
export function createContext(run: Run): { context: TaskContext; settle: () => Promise<void> } {
  const { env, claim, assignment, interrupt } = run;
  const { signal } = interrupt;
  const about = { taskId: claim.taskId, type: assignment.type, attempt: assignment.attempt };
  const recorded = new Map(Object.entries(assignment.steps));
  const begun = new Set<string>();
  const room = { steps: MOST_STEPS, length: MOST_STEPS_LENGTH };
  const take = (name: string, text: string, sign: 1 | -1) => {
    room.steps -= sign;
    room.length -= sign * (name.length + text.length);
  };
  for (const [name, text] of recorded) take(name, text, 1);
  let naps = 0;

  const record = async (name: string, text: string) => {
    take(name, text, 1);
    try {
      if (room.steps < 0 || room.length < 0)
        throw new RangeError(
          `A task records ${MOST_STEPS} steps and ${MOST_STEPS_LENGTH} characters at most.`,
        );
      const send = async () => ledgerOf(env, claim.taskId)?.step(claim, name, text);
      if (await retry(send, RESTART_PAUSES_MS)) return;
      interrupt.abort(new Interruption("lost", "The task is somebody else's now."));
      signal.throwIfAborted();
    } catch (error) {
      take(name, text, -1);
      throw error;
    }
  };

  const once = async <T>(name: string, action: () => Promise<T>): Promise<T> => {
    signal.throwIfAborted();
    if (begun.has(name)) throw new TypeError(`There are two steps "${name}"; each needs a name of its own.`);
    const before = recorded.get(name);
    begun.add(name);
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- it is what this step has returned before
    if (before !== undefined) return readJson(before) as T;
    try {
      const result = await action();
      await record(name, toJson(result ?? null));
      return result;
    } catch (error) {
      begun.delete(name); // the code may try it again
      throw error;
    }
  };

  const progress = createProgress(run, about);
  const context: TaskContext = {
    taskId: claim.taskId,
    attempt: assignment.attempt,
    signal,
    async step(name, action) {
      if (!/^\S.{0,99}$/su.test(name))
        throw new RangeError("A step's name has 1 to 100 characters, the first no space.");
      return once(name, action);
    },
    progress: progress.tell,
    async sleep(ms) {
      if (!(ms >= 0 && ms <= LONGEST_SLEEP_MS)) throw new RangeError("A sleep is from 0 ms to a year.");
      const wakeAtMs = await once(` sleep ${++naps}`, async () => Date.now() + ms);
      const leftMs = wakeAtMs - Date.now();
      if (leftMs > LONGEST_NAP_MS)
        interrupt.abort(new Interruption("hand-over", "The task sleeps.", wakeAtMs));
      signal.throwIfAborted();
      if (leftMs > 0) await nap(leftMs, signal);
    },
    log: (level, message, fields) => log(level, message, { ...about, ...fields }),
    waitUntil: (promise) => run.waiting.waitUntil(promise),
  };
  return { context, settle: progress.settle };
}

/** Throws what the signal is aborted with; the platform's own wait would throw an error of its own. */
async function nap(ms: number, signal: AbortSignal): Promise<void> {
  await scheduler.wait(ms, { signal }).catch((error: unknown) => {
    signal.throwIfAborted();
    throw error;
  });
}

/** Sends progress at most once a second, the latest of it, and whatever is left at the end. */
function createProgress({ env, claim, interrupt }: Run, about: Record<string, unknown>) {
  let unsent: { ratio: number; message: string | null } | undefined;
  let sending: Promise<void> | undefined;
  let underWay: Promise<void> | undefined;
  let lastMs = 0;

  const send = async () => {
    const latest = unsent;
    unsent = undefined;
    lastMs = Date.now();
    if (!latest) return;
    try {
      await ledgerOf(env, claim.taskId)?.progress(claim, latest.ratio, latest.message);
    } catch (error) {
      log("warn", "progress could not be told", { ...about, ...errorFields(error) });
    }
  };

  const sendLater = async () => {
    await scheduler.wait(Math.max(0, lastMs + PROGRESS_GAP_MS - Date.now()));
    await (underWay = send());
    sending = undefined;
    if (unsent) sending = sendLater();
  };

  return {
    tell: (ratio: number, message?: string): void => {
      interrupt.signal.throwIfAborted();
      if (!(ratio >= 0 && ratio <= 1)) throw new RangeError("Progress is from 0 to 1.");
      unsent = { ratio, message: message?.slice(0, LONGEST_MESSAGE) ?? null };
      sending ??= sendLater();
    },
    /** One at a time, so that the last is the last to arrive. */
    settle: async () => {
      await underWay;
      await send();
    },
  };
}
