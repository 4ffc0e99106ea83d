/**
 * The context that a task's code receives: its steps, progress and sleeps, each sent to the ledger under its claim.
 */
import { log } from "../../kernel/log.ts";
import { RESTART_PAUSES_MS, retry } from "../../kernel/retry.ts";
import { ledgerOf } from "../ledger/shards.ts";
import type { TaskContext } from "../types/define.ts";
import { readJson, toJson } from "../types/json.ts";
import { createProgress } from "./progress.ts";
import { Interruption, type Run } from "./run.ts";

/**
 * The limits for all steps of a task together, in steps and characters: the next run receives them in one message.
 */
const MAX_STEPS = 1_000;
const MAX_STEPS_LENGTH = 8 * 1024 * 1024;
const MAX_SLEEP_MS = 366 * 86_400_000;
/** A longer sleep ends the run, so that the task occupies no slot while it sleeps. */
export const MAX_IN_PLACE_SLEEP_MS = 10_000;

/** The context of a run. `flush` sends what has not been sent yet. */
export function createContext(run: Run): { context: TaskContext; flush: () => Promise<void> } {
  const { claim, assignment, interrupt } = run;
  const { signal } = interrupt;
  const logFields = { taskId: claim.taskId, type: assignment.type, attempt: assignment.attempt };
  const runStep = createSteps(run);
  const progress = createProgress(run, logFields);
  let sleeps = 0;

  const context: TaskContext = {
    taskId: claim.taskId,
    attempt: assignment.attempt,
    signal,
    async step(name, action) {
      if (!/^\S.{0,99}$/su.test(name))
        throw new RangeError("A step's name must have 1 to 100 characters and must not start with a space.");
      return runStep(name, action);
    },
    progress: progress.report,
    async sleep(ms) {
      if (!(ms >= 0 && ms <= MAX_SLEEP_MS)) throw new RangeError("A sleep must last from 0 ms to a year.");
      const wakeAtMs = await runStep(` sleep ${++sleeps}`, async () => Date.now() + ms);
      const leftMs = wakeAtMs - Date.now();
      if (leftMs > MAX_IN_PLACE_SLEEP_MS)
        interrupt.abort(new Interruption("hand-over", "The task sleeps.", wakeAtMs));
      signal.throwIfAborted();
      if (leftMs > 0) await sleepInPlace(leftMs, signal);
    },
    log: (level, message, fields) => log(level, message, { ...logFields, ...fields }),
    waitUntil: (promise) => run.waiting.waitUntil(promise),
  };
  return { context, flush: progress.flush };
}

/** A function that runs a step once: it returns the recorded result if there is one, else records a new one. */
function createSteps({ env, claim, assignment, interrupt }: Run) {
  const recorded = new Map(Object.entries(assignment.steps));
  const started = new Set<string>();
  const room = { steps: MAX_STEPS, length: MAX_STEPS_LENGTH };
  const takeRoom = (name: string, text: string, sign: 1 | -1) => {
    room.steps -= sign;
    room.length -= sign * (name.length + text.length);
  };
  for (const [name, text] of recorded) takeRoom(name, text, 1);

  const record = async (name: string, text: string) => {
    takeRoom(name, text, 1);
    try {
      if (room.steps < 0 || room.length < 0)
        throw new RangeError(
          `A task may record at most ${MAX_STEPS} steps, with at most ${MAX_STEPS_LENGTH} characters in all.`,
        );
      const send = async () => ledgerOf(env, claim.taskId)?.step(claim, name, text);
      if (await retry(send, RESTART_PAUSES_MS)) return;
      interrupt.abort(new Interruption("lost", "Another run has taken over the task."));
      interrupt.signal.throwIfAborted();
    } catch (error) {
      takeRoom(name, text, -1);
      throw error;
    }
  };

  return async <T>(name: string, action: () => Promise<T>): Promise<T> => {
    interrupt.signal.throwIfAborted();
    if (started.has(name))
      throw new TypeError(`There are two steps "${name}"; each step needs a name of its own.`);
    const before = recorded.get(name);
    started.add(name);
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- it is what this step returned before
    if (before !== undefined) return readJson(before) as T;
    try {
      const result = await action();
      await record(name, toJson(result ?? null));
      return result;
    } catch (error) {
      started.delete(name); // the code may try the step again
      throw error;
    }
  };
}

/** Throws the signal's reason when it aborts; `scheduler.wait` alone would throw an error of its own. */
async function sleepInPlace(ms: number, signal: AbortSignal): Promise<void> {
  await scheduler.wait(ms, { signal }).catch((error: unknown) => {
    signal.throwIfAborted();
    throw error;
  });
}
