import type { z } from "zod";
import type { LogLevel } from "../../kernel/log.ts";

/** How often, and after how long, an attempt that failed is followed by another. */
export interface RetryPolicy {
  /** Attempts after the first. */
  retries: number;
  minDelayMs: number;
  maxDelayMs: number;
  /** Each delay is so many times the one before. */
  factor: number;
}

/** `fast`: in the invocation that submitted it. `long`: in a `TaskRunner`. */
export type Lane = "fast" | "long";

/** What a task's code is given while it runs. */
export interface TaskContext {
  taskId: string;
  /** 1 for the first attempt. One that was handed over or crashed goes on under its number. */
  attempt: number;
  /** Aborts when the task is cancelled, its time is over, or it is to go on elsewhere: end soon, and throw. */
  signal: AbortSignal;
  /**
   * Does a part of the work once: `action`'s result, which must be JSON, is recorded under `name`, and a later run of
   * the same task gets it from the record. Throws what `action` throws, and when the task has been taken away.
   */
  step<T>(name: string, action: () => Promise<T>): Promise<T>;
  /** Tells those who watch how far it is: `ratio` from 0 to 1. Sent at most once a second; the last one counts. */
  progress(ratio: number, message?: string): void;
  /** Waits, as a step. A long sleep ends this run: the task is woken in another, which goes on after its steps. */
  sleep(ms: number): Promise<void>;
  /** Writes a structured line that carries the task's id, type and attempt. */
  log(level: LogLevel, message: string, fields?: Record<string, unknown>): void;
  /** Keeps the invocation that the task runs in alive, for what goes on after it. */
  waitUntil(promise: Promise<unknown>): void;
}

/** A kind of background work. The ledger keeps its name and the input: a closure cannot survive, a name can. */
export interface TaskType<Input extends z.ZodType = z.ZodType, Result = unknown> {
  /** Letters, digits, `_`, `-` and `.`, at most 64. The ledger keeps it: a type that tasks are kept of keeps its name. */
  name: string;
  input: Input;
  /** Does the work. What it returns is kept as the result and must be JSON; what it throws fails the attempt. */
  run(ctx: TaskContext, input: z.output<Input>): Promise<Result>;
  retry: RetryPolicy;
  /** The longest that one attempt may take, over all the runs it is handed over to. */
  timeoutMs: number;
  /** How many may run at once, in the whole fleet. Without it: any number. */
  concurrency?: number;
  /** Where an attempt begins. `fast`: in the request that submits it. `long`: in an object of its own. */
  lane: Lane;
}

type Optional = "retry" | "timeoutMs" | "lane";
type Definition<Input extends z.ZodType, Result> = Omit<TaskType<Input, Result>, Optional> & {
  retry?: Partial<RetryPolicy>;
  timeoutMs?: number;
  lane?: Lane;
};

export const DEFAULT_RETRY: RetryPolicy = { retries: 3, minDelayMs: 1_000, maxDelayMs: 600_000, factor: 2 };
/** The type that the ledger starts by itself, to tell the `callback_url` of a task how that has ended. */
export const CALLBACK_TYPE = "callback";

const HOUR_MS = 3_600_000;

/**
 * Defines a kind of background work, typed from its input schema to its result. By default an attempt that fails is
 * followed by three more, after 1, 2 and 4 s, and may take an hour. Throws if the definition cannot be one.
 */
export function defineTask<Input extends z.ZodType, Result>({
  retry,
  timeoutMs = HOUR_MS,
  lane = "fast",
  ...rest
}: Definition<Input, Result>): TaskType<Input, Result> {
  const { name, concurrency } = rest;
  const policy = { ...DEFAULT_RETRY, ...retry };
  const refuse = (what: string) => new TypeError(`The task type "${name}": ${what}.`);
  if (!/^[\w.-]{1,64}$/.test(name)) throw refuse("its name is letters, digits, _, - and ., at most 64");
  if (concurrency !== undefined && !isCount(concurrency, 1)) throw refuse("concurrency is at least 1");
  if (!isCount(policy.retries, 0)) throw refuse("retries is a count");
  if (!(policy.minDelayMs >= 0 && policy.maxDelayMs >= policy.minDelayMs && policy.factor >= 1))
    throw refuse("minDelayMs ≤ maxDelayMs, and factor at least 1");
  if (!(timeoutMs > 0 && timeoutMs <= 24 * HOUR_MS)) throw refuse("timeoutMs is at most a day");
  return { ...rest, retry: policy, timeoutMs, lane };
}

const isCount = (value: number, least: number) => Number.isInteger(value) && value >= least;

/** What a task throws when another attempt would fail as well: it is `failed` at once. */
export class NonRetryableError extends Error {
  override readonly name = "NonRetryableError";
}
