import type { z } from "zod";
import type { LogLevel } from "../../kernel/log.ts";
import type { Duration } from "./duration.ts";
import type { GuardMembers } from "./guards.ts";
import type { SignalUrlOptions, WaitOptions } from "./signals.ts";

/** How many attempts may follow a failed one, and after which delay. `ledger/retry-delay.ts` computes the delay. */
export interface RetryPolicy {
  /** Attempts after the first. */
  retries: number;
  minDelayMs: number;
  maxDelayMs: number;
  /** Each delay is the previous one times this factor. */
  factor: number;
}

/** `fast`: in the invocation that submitted the task. `long`: in a `TaskRunner`. */
export type Lane = "fast" | "long";

/** How fast something may begin: so many a second on average, and `burst` at once. */
export interface Rate {
  perSecond: number;
  burst: number;
}

/** A limit for each key by itself: for each customer, say. */
export interface KeyedConcurrency<Input extends z.ZodType = z.ZodType> {
  /** How many tasks of a key may run at once. */
  limit: number;
  /**
   * The key of a task: text of 1 to 200 characters. It is given the input as it was submitted, before the schema transforms
   * it, and is asked once, when the task is written. An input for which it throws is refused.
   */
  key(input: z.input<Input>): string;
}

/** A task to start: its type, an input that the type's schema accepts, and what follows when it has succeeded. */
export interface Start<Input extends z.ZodType = z.ZodType> extends GuardMembers {
  type: TaskType<Input>;
  input: z.input<Input>;
  /** In seconds. */
  delay?: number | undefined;
  priority?: number | undefined;
  callback_url?: string | undefined;
  /** At most 10: see types/tags.ts. */
  tags?: string[] | undefined;
  then?: StartNext[];
}

/** A follow-up: its input is a template (types/template.ts), which no compiler can check. */
export interface StartNext extends Omit<Start, "input" | keyof GuardMembers> {
  input?: unknown;
}

/** One `Start` for each input schema, so that the compiler checks each input against its own type. */
export type Starts<Inputs extends readonly z.ZodType[]> = { readonly [I in keyof Inputs]: Start<Inputs[I]> };

/** As `Starts`, for children: they have no guards. */
type ChildStarts<Inputs extends readonly z.ZodType[]> = {
  readonly [I in keyof Inputs]: Omit<Start<Inputs[I]>, keyof GuardMembers>;
};

/** How a task has ended. */
export type TaskEnd =
  | { id: string; status: "succeeded"; result: unknown }
  | { id: string; status: "failed" | "cancelled"; error: { name: string; message: string } | null };

/** What a task's code receives while it runs. */
export interface TaskContext {
  taskId: string;
  /** 1 for the first attempt. After a hand-over or a crash the task continues under the same number. */
  attempt: number;
  /** Aborts when the task is cancelled, has timed out, or must continue elsewhere. Then throw as soon as you can. */
  signal: AbortSignal;
  /**
   * Does a part of the work once. The ledger records the result of `action` as JSON under `name`, and a later run of the
   * same task reads it from there. So this run, too, gets what JSON keeps of the result: a `Date` is text, `undefined` is
   * `null`. A result that JSON cannot hold (`NaN`, a `Map`, bytes) fails the task for good, with a message that names the
   * place. Throws what `action` throws, a `RangeError` for a name that is not text of 1 to 100 characters or could not be
   * kept unchanged, and throws if this run has lost the task or has ended.
   */
  step<T>(name: string, action: () => Promise<T>): Promise<T>;
  /**
   * What `saveCheckpoint` has saved last, in this run or an earlier one; undefined if nothing was. `T` is what the code
   * expects: an earlier release of it may have saved something else.
   */
  // oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- as JSON.parse, it cannot know
  checkpoint<T>(): T | undefined;
  /**
   * Saves where the work is, in place of what was saved before. A step's result stays for ever, and there may be 1,000 of
   * them; a position in a long stream is only needed until the next one. The value must be JSON of at most 1 MiB, as for a
   * step; it is durable when this resolves. Throws if this run has lost the task or has ended.
   */
  saveCheckpoint(value: unknown): Promise<void>;
  /**
   * Ends this run; another one continues at once, in an invocation of its own: with its own time, CPU time and subrequests.
   * The code begins anew there, with the recorded steps and the last checkpoint, so save what was done first. Always throws.
   */
  handOver(): Promise<never>;
  /**
   * Reports progress: `ratio` from 0 to 1, clamped, and a message, cut to 500 characters. Sent at most once a second; the
   * latest value wins. Never fails, unless the run is interrupted.
   */
  progress(ratio: number, message?: string): void;
  /**
   * Sleeps, as a step: `sleep(1_000)`, `sleep("5m")`, `sleep("cool down", "5m")`. A sleep of more than 10 s ends this run, and
   * another one wakes up and continues after the recorded steps. But while a step or a shorter sleep is under way beside it,
   * or around it, it sleeps in place: the run ends ten seconds after the last call on the context. Only steps are waited for:
   * put work that takes longer into one. In a later run, a sleep continues the recorded one of the same name; without a name,
   * that of the same length.
   */
  sleep(duration: Duration): Promise<void>;
  sleep(name: string, duration: Duration): Promise<void>;
  /**
   * Waits for `POST /tasks/{id}/signals/{name}`, and returns what it brings. Each signal is received by one `waitFor`, and
   * each `waitFor` receives one; signals that come before are kept. As a long sleep, it ends this run if nothing else is under
   * way: no slot is occupied. In a later run the same call (the first, the second, … of this name) returns the same, so do not
   * put it into a step. Throws a `SignalTimeoutError` if nothing has come in time, and a `RangeError` for a bad name.
   */
  // oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- as JSON.parse, it cannot know
  waitFor<T>(name: string, options?: WaitOptions): Promise<T>;
  /**
   * A URL that sends one signal to this task, without a token: for an e-mail, say. It shows a page with a button. Each call
   * makes another URL; make it in a step, so that it is sent once. Needs the secret `LINK_KEYS` and the variable `PUBLIC_URL`.
   */
  signalUrl(name: string, options?: SignalUrlOptions): string;
  /**
   * Starts tasks as children of this one, and returns their ids. All are kept, or none; they run in the long lane. It is a
   * step: a later run starts none again, and gets the same ids, if it makes its calls in the same order. At most 1,000 children
   * in all, and 8 levels of tasks. Beyond that, and for
   * a child with `unique` or `debounce`: a `NonRetryableError`. A cancel of this task cancels its children.
   */
  startTasks<const Inputs extends readonly z.ZodType[]>(starts: ChildStarts<Inputs>): Promise<string[]>;
  /**
   * Waits until children of this task have ended. As a long sleep, it ends this run if nothing else is under way: while the
   * children are at work, this task occupies no slot. `all` (the default): returns their results, in the order of `ids`, or
   * throws a `ChildTaskError` as soon as one has failed or was cancelled. `allSettled`: returns how each has ended.
   */
  waitForTasks(ids: readonly string[], options?: { mode?: "all" }): Promise<unknown[]>;
  waitForTasks(ids: readonly string[], options: { mode: "allSettled" }): Promise<TaskEnd[]>;
  /**
   * Writes a structured log line with the task's id, type and attempt. Never fails: what is not JSON is shown as text, and
   * what is long is cut.
   */
  log(level: LogLevel, message: string, fields?: Record<string, unknown>): void;
  /** Keeps the invocation that runs the task alive for work that goes on after the task. */
  waitUntil(promise: Promise<unknown>): void;
}

/** A kind of background work. The ledger keeps its name and the input: a closure cannot survive, a name can. */
export interface TaskType<Input extends z.ZodType = z.ZodType, Result = unknown> {
  /** Letters, digits, `_`, `-` and `.`, at most 64. Do not rename a type while the ledger still has tasks of it. */
  name: string;
  /** May be asynchronous. What it transforms is for the code; the ledger keeps what was submitted. */
  input: Input;
  /**
   * Does the work. The return value is kept as the result and must be JSON: what JSON cannot hold fails the task for good.
   * Throwing fails the attempt. Steps that are then under way are waited for.
   */
  run(ctx: TaskContext, input: z.output<Input>): Promise<Result>;
  retry: RetryPolicy;
  /** The time limit of one attempt, over all the runs that it is handed over to. */
  timeoutMs: number;
  /**
   * How many tasks of the type may run at once in the whole fleet, in all or for each key. Without it there is no limit.
   */
  concurrency?: number | KeyedConcurrency<Input>;
  /** How fast tasks of the type may begin, in the whole fleet. Each run counts. Without it there is no limit. */
  rate?: Rate;
  /** Where an attempt begins. `fast`: in the request that submits it. `long`: in a Durable Object of its own. */
  lane: Lane;
  /**
   * Why the type cannot run here, as a sentence that says what to do: `The binding EMAIL is missing: add [[send_email]] to
   * wrangler.toml.` Undefined if it can. While it cannot, nobody can submit it, and what starts by itself fails with this.
   */
  unavailable?: (env: Env) => string | undefined;
}

type Optional = "retry" | "timeoutMs" | "lane" | "rate";
type Definition<Input extends z.ZodType, Result> = Omit<TaskType<Input, Result>, Optional> & {
  retry?: Partial<RetryPolicy>;
  timeoutMs?: number;
  lane?: Lane;
  /** `burst`: default 1. */
  rate?: Omit<Rate, "burst"> & Partial<Rate>;
};

export const DEFAULT_RETRY: RetryPolicy = { retries: 3, minDelayMs: 1_000, maxDelayMs: 600_000, factor: 2 };
/** The type that the ledger itself starts to tell a task's `callback_url` how the task ended. */
export const CALLBACK_TYPE = "callback";

/** A task's priority is from 0 to this. */
export const MAX_PRIORITY = 9;

/** What the name of a type may be. It is kept as text, and stands in URLs. */
export const TYPE_NAME = /^[\w.-]{1,64}$/;

const HOUR_MS = 3_600_000;

/**
 * Defines a kind of background work, typed from its input schema to its result. By default a failed attempt is
 * followed by up to three more, after 1, 2 and 4 s, and an attempt may take an hour. Throws a `TypeError` if the
 * definition is not valid. Add the type to the list in `src/jobs/task-types.ts`; otherwise it cannot be started.
 */
export function defineTask<Input extends z.ZodType, Result>({
  retry,
  timeoutMs = HOUR_MS,
  lane = "fast",
  rate,
  ...rest
}: Definition<Input, Result>): TaskType<Input, Result> {
  const { name, concurrency } = rest;
  const policy = { ...DEFAULT_RETRY, ...retry };
  const invalid = (what: string) => new TypeError(`The task type "${name}": ${what}.`);
  if (!TYPE_NAME.test(name))
    throw invalid("its name must have 1 to 64 letters, digits, _, - and . and nothing else");
  const limit = typeof concurrency === "object" ? concurrency.limit : concurrency;
  if (limit !== undefined && !isCount(limit, 1))
    throw invalid("concurrency must be a whole number of at least 1");
  const pace = rate && { burst: 1, ...rate };
  if (pace && !isPace(pace))
    throw invalid(`rate needs a perSecond of ${MIN_PER_SECOND} to ${MAX_RATE}, and a whole burst up to that`);
  if (!isCount(policy.retries, 0)) throw invalid("retries must be a whole number of at least 0");
  if (!(policy.minDelayMs >= 0 && policy.maxDelayMs >= policy.minDelayMs && policy.factor >= 1))
    throw invalid("retry needs 0 ≤ minDelayMs ≤ maxDelayMs, and a factor of at least 1");
  if (!(timeoutMs > 0 && timeoutMs <= 24 * HOUR_MS))
    throw invalid("timeoutMs must be more than 0 and at most a day");
  return { ...rest, ...(pace && { rate: pace }), retry: policy, timeoutMs, lane };
}

/** The limits of a rate. With less, the next task would begin months from now. */
export const MIN_PER_SECOND = 0.000_1;
export const MAX_RATE = 100_000;

const isPace = ({ perSecond, burst }: Rate) =>
  perSecond >= MIN_PER_SECOND && perSecond <= MAX_RATE && isCount(burst, 1) && burst <= MAX_RATE;

const isCount = (value: number, min: number) => Number.isInteger(value) && value >= min;

/** Throw this when another attempt would fail as well: the task is `failed` at once. */
export class NonRetryableError extends Error {
  override readonly name = "NonRetryableError";
}

/**
 * `ctx.waitForTasks` throws this when a child has failed or was cancelled. If the code does not catch it, the task is `failed`
 * at once: another attempt would find the same. A retry by hand retries the children as well.
 */
export class ChildTaskError extends Error {
  override readonly name = "ChildTaskError";
  readonly taskId: string;
  readonly status: "failed" | "cancelled";

  constructor({ id, status, error }: Exclude<TaskEnd, { status: "succeeded" }>) {
    super(
      `The task ${id} ${status === "failed" ? "has failed" : "was cancelled"}${error ? `: ${error.name}: ${error.message}` : "."}`,
    );
    this.taskId = id;
    this.status = status;
  }
}

/**
 * Throw this when the attempt has failed and something has said when another one may begin, such as a `Retry-After`. The
 * next attempt begins after the usual delay, or at `notBeforeMs` (since the epoch) if that is later.
 */
export class RetryLaterError extends Error {
  override readonly name = "RetryLaterError";
  readonly notBeforeMs: number;

  constructor(message: string, notBeforeMs: number, options?: ErrorOptions) {
    super(message, options);
    this.notBeforeMs = notBeforeMs;
  }
}

/**
 * Throw this when the work could not begin yet, such as a call that got no permit. The run ends, and another one begins at
 * `notBeforeMs` (since the epoch), after the recorded steps. It uses up no attempt and none of the attempt's time, so a
 * task may be postponed for as long as it takes.
 */
export class PostponedError extends Error {
  override readonly name = "PostponedError";
  readonly notBeforeMs: number;

  constructor(message: string, notBeforeMs: number, options?: ErrorOptions) {
    super(message, options);
    this.notBeforeMs = notBeforeMs;
  }
}
