/**
 * The context that a task's code receives: its steps, checkpoint, progress, sleeps and log lines.
 *
 * Steps, checkpoints and sleeps are recorded in the ledger under the run's claim. Progress and log lines only tell about the work, so
 * they never fail it: what cannot be sent or shown as it is, is sent or shown as well as it can be.
 *
 * A run ends with its code, but a part of the code may go on: the loser of a `Promise.race`, what is left of a
 * `Promise.all` that failed. Once the run has ended, such a part begins nothing any longer: its calls for a step or a sleep
 * fail, and so does a sleep that it is in. Otherwise it would be at work together with the next run.
 */
import { log } from "../../kernel/log.ts";
import { toFields } from "../../kernel/safe-text.ts";
import { span } from "../../kernel/spans.ts";
import type { WaitMode } from "../ledger/flow-rules.ts";
import type { TaskContext } from "../types/define.ts";
import { type Duration, durationMs } from "../types/duration.ts";
import { isKeptAsText } from "../types/text.ts";
import { createActivity } from "./activity.ts";
import { createCheckpoint } from "./checkpoint.ts";
import { createChildren } from "./children.ts";
import { createParking } from "./parking.ts";
import { createProgress } from "./progress.ts";
import { Interruption, type Run } from "./run.ts";
import { signalUrl } from "./signal-links.ts";
import { createSleepNames, namedSleep } from "./sleeps.ts";
import { createSteps } from "./steps.ts";
import { createWaits } from "./waits.ts";

/** How long one timer runs: not every runtime has timers of a month. */
const MAX_TIMER_MS = 3_600_000;

export interface RunContext {
  context: TaskContext;
  /** Waits for the steps that are under way, and then ends the run. From the call on, no sleep ends it. */
  settle: () => Promise<void>;
  /** Ends the run: no step and no sleep of it begins any longer. */
  end: () => void;
  /** Sends what has not been sent yet. */
  flush: () => Promise<void>;
  /** As the context's own, which the code may have replaced. */
  log: TaskContext["log"];
}

export function createContext(run: Run): RunContext {
  const { claim, assignment, interrupt } = run;
  const { signal } = interrupt;
  const { attempt } = assignment;
  const logFields = { taskId: claim.taskId, type: assignment.type, attempt };
  const activity = createActivity((wakeAtMs) =>
    interrupt.abort(new Interruption("hand-over", "The task sleeps.", wakeAtMs, parking.pending())),
  );
  const runStep = createSteps(run);
  const checkpoint = createCheckpoint(run);
  const sleepName = createSleepNames(attempt, assignment.steps);
  const progress = createProgress(run, logFields);
  const ending = new AbortController();
  const checkAlive = () => {
    signal.throwIfAborted();
    if (ending.signal.aborted)
      throw new Error("This run of the task has ended: no step and no sleep of it can begin.");
  };
  const aliveSignal = () => AbortSignal.any([signal, ending.signal]);
  const parking = createParking(run, activity, { signal: aliveSignal, check: checkAlive });
  const waitFor = createWaits(run, parking);
  const children = createChildren(run, parking);
  const sleepUnder = async (name: string, nowMs: number, ms: number) =>
    activity.trackSleep(
      async () => runStep(name, async () => nowMs + ms),
      async (timeMs) => sleepUntil(timeMs, aliveSignal()).finally(checkAlive),
    );
  const writeLog: TaskContext["log"] = (level, message, fields = {}) =>
    log(level, message, { ...toFields(fields), ...logFields });

  const context: TaskContext = {
    taskId: claim.taskId,
    attempt,
    signal,
    async step(name, action) {
      if (!isStepName(name)) throw new RangeError(NAME_RULE);
      checkAlive();
      // A step that is recorded already has no span: nothing is done.
      return activity.track(async () =>
        runStep(name, async () =>
          span("step", { attributes: { "sluice.step": name } }, async () => action()),
        ),
      );
    },
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- it is what the code has saved, as JSON keeps it
    checkpoint: () => checkpoint.read() as never,
    async saveCheckpoint(value) {
      checkAlive();
      return activity.track(async () => checkpoint.save(value));
    },
    async handOver() {
      checkAlive();
      interrupt.abort(new Interruption("hand-over", "The task continues in another run."));
      throw interrupt.signal.reason;
    },
    progress(ratio, message) {
      signal.throwIfAborted();
      activity.touch();
      progress.report(ratio, message);
    },
    async sleep(first: Duration, named?: Duration) {
      // Code that sleeps until a given time may ask for it when that has passed.
      const ms = durationMs(named ?? first, "A sleep");
      if (named !== undefined && !isStepName(first)) throw new RangeError(NAME_RULE);
      checkAlive();
      const nowMs = Date.now();
      await sleepUnder(named === undefined ? sleepName(ms, nowMs) : namedSleep(String(first)), nowMs, ms);
    },
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- it is what was sent
    waitFor: async (name, options = {}) => (await waitFor(name, options)) as never,
    signalUrl: (name, options = {}) => signalUrl(run.env, claim.taskId, name, options),
    async startTasks(starts) {
      checkAlive();
      return activity.track(async () => children.start(starts));
    },
    async waitForTasks(ids: readonly string[], { mode = "all" }: { mode?: WaitMode } = {}) {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- as its overloads say
      return (await children.wait(ids, mode)) as never;
    },
    log(level, message, fields) {
      activity.touch();
      writeLog(level, message, fields);
    },
    waitUntil: (promise) => run.platform.waitUntil(promise),
  };
  // Without a reason of its own: the runtime would read the stack of an error, and code may have made that throw.
  const end = () => ending.abort();
  const settle = async () => activity.settle(end);
  return { context, settle, end, flush: progress.flush, log: writeLog };
}

const NAME_RULE =
  "The name of a step or a sleep must be text of 1 to 100 characters, and must not start with a space. It must not contain " +
  "NUL or half of a character that takes two (a surrogate), as `slice` may leave: it could not be kept.";

/** Names with a space at the start are those of sleeps and waits. */
const isStepName = (name: unknown) =>
  typeof name === "string" && /^\S.{0,99}$/su.test(name) && isKeptAsText(name);

/** Throws when the signal aborts, but not its reason: `scheduler.wait` has an error of its own. */
async function sleepUntil(timeMs: number, signal: AbortSignal): Promise<void> {
  for (let leftMs = timeMs - Date.now(); leftMs > 0; leftMs = timeMs - Date.now())
    await scheduler.wait(Math.min(leftMs, MAX_TIMER_MS), { signal });
}
