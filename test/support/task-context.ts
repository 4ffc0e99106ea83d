/**
 * A task's context, for running a task's code without a ledger; and a task whose runs can be cut at any moment and
 * repeated, as a crash, a deploy or a hand-over does it.
 */
import type { TaskContext } from "../../src/tasks/index.ts";
import { type Duration, durationMs } from "../../src/tasks/types/duration.ts";

/** Runs each step at once, keeps a checkpoint, and ignores everything else. `changes` replaces single members. */
export function taskContext(changes: Partial<TaskContext> = {}): TaskContext {
  return { ...new TestTask().context(), ...changes };
}

/** Why a run was cut. */
class Cut extends Error {
  override readonly name = "Cut";
}

/** What ends a run: at which moment, counted from 1, and why. */
interface End {
  at: number;
  reason: Error;
  /** Whether reports of progress are moments, too: code that records nothing has no others. */
  countsProgress?: boolean;
}

/** The code has ended its run itself, with `handOver` or a long sleep. */
class HandedOver extends Error {
  override readonly name = "HandedOver";
}

type Code<T> = (ctx: TaskContext) => Promise<T>;

/** As the ledger does, it keeps only text. */
const copy = (value: unknown): unknown => JSON.parse(JSON.stringify(value ?? null));

/** A sleep that is longer ends the run (run/activity.ts). */
const MAX_IN_PLACE_SLEEP_MS = 10_000;

/**
 * One task, with what its runs have recorded. A run passes moments, counted from 1: before and after the action of a step
 * that is not recorded yet, after it is recorded, and before and after a checkpoint is saved. At the moment `cutAt` its signal
 * aborts, and from then on every call on its context throws.
 */
export class TestTask {
  readonly id: string;
  readonly steps = new Map<string, unknown>();
  checkpoint: unknown;
  /** How many moments the latest run has passed, and how many runs there were. */
  moments = 0;
  runs = 0;
  readonly progress: [ratio: number, message: string | undefined][] = [];
  readonly logs: unknown[][] = [];
  /** What the test has sent: for each run, by the signal's name. */
  readonly signals = new Map<string, unknown[]>();

  constructor(id = "s0-00000000-0000-7000-8000-000000000000") {
    this.id = id;
  }

  context(cutAt = Number.POSITIVE_INFINITY): TaskContext {
    return this.endingContext({ at: cutAt, reason: new Cut(`cut at moment ${cutAt}`) });
  }

  /** The context of a run that ends for a reason of the test's own, such as a cancel. */
  endingContext({ at, reason, countsProgress = false }: End): TaskContext {
    const run = new AbortController();
    const { signal } = run;
    this.moments = 0;
    this.runs++;
    /** Passes a moment; throws if the run is cut there or was before, unless what is under way may go on. */
    const pass = (mayGoOn = false) => {
      if (++this.moments === at) run.abort(reason);
      if (!mayGoOn) signal.throwIfAborted();
    };
    const end = () => {
      signal.throwIfAborted();
      run.abort(new HandedOver());
      throw signal.reason;
    };
    return {
      taskId: this.id,
      attempt: 1,
      signal,
      step: async <T>(name: string, action: () => Promise<T>): Promise<T> => {
        signal.throwIfAborted();
        if (!this.steps.has(name)) {
          // The code of the step learns of it through its signal, if it looks.
          pass(true);
          const result = copy(await action());
          pass();
          this.steps.set(name, result);
          pass();
        }
        return copy(this.steps.get(name)) as T;
      },
      checkpoint: () => (this.checkpoint === undefined ? undefined : copy(this.checkpoint)) as never,
      saveCheckpoint: async (value) => {
        signal.throwIfAborted();
        pass();
        this.checkpoint = copy(value);
        pass();
      },
      handOver: async () => end(),
      sleep: async (...named: Duration[]) => {
        signal.throwIfAborted();
        const name = ` sleep ${named.join(" ")}`;
        if (this.steps.has(name)) return;
        this.steps.set(name, null);
        if (durationMs(named.at(-1) ?? 0, "A sleep") > MAX_IN_PLACE_SLEEP_MS) end();
      },
      waitFor: async (name) => {
        signal.throwIfAborted();
        const [payload, ...rest] = this.signals.get(name) ?? [];
        if (payload === undefined) return end();
        this.signals.set(name, rest);
        return copy(payload) as never;
      },
      signalUrl: (name) => `https://sluice.example.com/tasks/${this.id}/signals/${name}/links/test`,
      progress: (ratio, message) => {
        if (countsProgress) pass();
        else signal.throwIfAborted();
        this.progress.push([ratio, message]);
      },
      log: (...line) => void this.logs.push(line),
      waitUntil: () => {},
    };
  }

  /** One run; rejects with a `Cut` at the moment `cutAt`. */
  async run<T>(code: Code<T>, cutAt?: number): Promise<T> {
    return code(this.context(cutAt));
  }

  /** Runs the code until it ends, again after each hand-over; the first run may be cut at the moment `cutAt`. */
  async finish<T>(code: Code<T>, cutAt?: number): Promise<T> {
    for (let next = cutAt; this.runs < 1_000; next = undefined) {
      const context = this.context(next);
      try {
        return await code(context);
      } catch (error) {
        // What the code throws after it was interrupted may be an error of something that it has interrupted.
        const { reason } = context.signal;
        if (!(reason instanceof Cut || reason instanceof HandedOver)) throw error;
      }
    }
    throw new Error("The code hands over for ever.");
  }
}

/**
 * Runs the code of a new task once for each moment, cut there and then run again to its end, and passes each result to
 * `check`, with the task. `begin` makes ready what a task needs, and returns its code. Returns how many moments there were.
 */
export async function cutAtEveryMoment<T>(
  begin: (cutAt: number) => Promise<Code<T>>,
  check: (result: T, task: TestTask, cutAt: number) => void | Promise<void>,
): Promise<number> {
  for (let cutAt = 1; ; cutAt++) {
    const code = await begin(cutAt);
    const task = new TestTask();
    const context = task.context(cutAt);
    const first = await code(context).then(
      (result) => ({ result }),
      (error: unknown) => ({ error }),
    );
    const wasCut = context.signal.reason instanceof Cut;
    if ("error" in first && !context.signal.aborted) throw first.error;
    const result = "result" in first && !wasCut ? first.result : await task.finish(code);
    await check(result, task, cutAt);
    if (!wasCut && task.moments < cutAt) return cutAt - 1;
  }
}
