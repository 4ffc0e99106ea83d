/**
 * One run of a task, in either lane: the task's code, and beside it the heartbeats that keep the claim.
 *
 * A run is interrupted when the task is cancelled, when the attempt's time is over, when the invocation will not last
 * longer or may not make many more subrequests, and when the claim is lost. The code learns of it through its signal and through every call on its context.
 * Code that does not stop within the grace period is abandoned: from then on, nothing it does reaches the ledger. Its
 * report says until when it may keep working, and no other run of the task begins before that.
 *
 * A run ends with its code, and code that fails may leave steps under way: those of a `Promise.all`, say. The run waits
 * for them, so that they are recorded and the next attempt does not do them at the same time. Then its context ends, so
 * that what is left of the code begins nothing else.
 *
 * Between the end of the code and its report, nothing may throw, whatever was returned or thrown: the attempt would end
 * as a crash, without its reason.
 */
import type { ZodError } from "zod";
import { cleanText } from "../../kernel/clean-url.ts";
import { asInvocation } from "../../kernel/invocation.ts";
import { describeError, errorFields } from "../../kernel/log.ts";
import { inRootSpan } from "../../kernel/spans.ts";
import { countedBy, isSubrequestLimit, type SubrequestCount } from "../../kernel/subrequests.ts";
import type { WaitUntil } from "../../kernel/wait-until.ts";
import type { Assignment, Claim, Report } from "../ledger/claim.ts";
import type { Outcome, TaskError } from "../ledger/task-state.ts";
import {
  NonRetryableError,
  PostponedError,
  RetryLaterError,
  type TaskContext,
  type TaskType,
} from "../types/define.ts";
import { parseInput } from "../types/input.ts";
import { NotJsonError, TooLongError, toJson } from "../types/json.ts";
import { findTaskType } from "../types/registry.ts";
import { SignalTimeoutError } from "../types/signals.ts";
import { createContext } from "./context.ts";
import { startHeartbeats } from "./heartbeats.ts";
import { deliver, type Travels } from "./reports.ts";
import { Interruption, type Run } from "./run.ts";

/** The invocation that a task runs in, and how long it lasts. */
export interface Invocation {
  env: Env;
  platform: WaitUntil;
  /** After this time the task is handed over. */
  budgetMs: number;
  /** How long interrupted code may take to stop. */
  graceMs: number;
  /** After this time nothing in the invocation runs any longer. */
  lifetimeMs: number;
  subrequests: SubrequestCount;
  /** How its reports travel. */
  travels: Travels;
  /** Keeps a report that could not be delivered. Without it, such a report is lost, and the lease must expire. */
  keepReport?: (report: Report) => void;
}

/** Whether the task's code ended or was abandoned. */
export type RunEnd = "ended" | "abandoned";

/** A run in progress. */
export interface RunHandle {
  interrupt: AbortController;
  /** Resolves when the outcome has been reported. */
  done: Promise<RunEnd>;
}

/**
 * Starts to run a task. Never rejects: whatever goes wrong is an outcome. `requestedAtMs` is when the claim was
 * requested from the ledger: its lease began no earlier.
 */
export function startRun(
  invocation: Invocation,
  claim: Claim,
  assignment: Assignment,
  requestedAtMs: number,
): RunHandle {
  const interrupt = new AbortController();
  const run: Run = { env: invocation.env, platform: invocation.platform, claim, assignment, interrupt };
  const done = asInvocation(() =>
    countedBy(invocation.subrequests, async () =>
      inRootSpan(
        { env: run.env, ctx: run.platform, traceparent: assignment.trace },
        "task run",
        { attributes: attributesOf(run) },
        async () => executeRun(invocation, run, requestedAtMs),
      ),
    ),
  );
  return { interrupt, done };
}

const attributesOf = ({ claim, assignment }: Run) => ({
  "sluice.task.id": claim.taskId,
  "sluice.task.type": assignment.type,
  "sluice.task.attempt": assignment.attempt,
});

/** What became of the task's code. */
type Ending =
  | { kind: "returned"; result: unknown }
  | { kind: "threw"; error: unknown }
  | { kind: "abandoned" };

async function executeRun(invocation: Invocation, run: Run, requestedAtMs: number): Promise<RunEnd> {
  const diesAtMs = Date.now() + invocation.lifetimeMs;
  const { signal } = run.interrupt;
  const { context, settle, end, flush, log } = createContext(run);
  const stopHeartbeats = startHeartbeats(invocation.budgetMs, run, requestedAtMs);
  const stopWatching = invocation.subrequests.watch(() =>
    run.interrupt.abort(new Interruption("hand-over", "The invocation has few subrequests left.")),
  );
  const abandoned = abandonAfterGrace(signal, invocation.graceMs);
  const ending = await Promise.race([executeCode(run.env, run.assignment, context), abandoned]);
  // What interrupts the run from here on is not the cause of its ending.
  const interruption = interruptionOf(signal);
  const outcome = outcomeOf(ending, interruption);
  // A task that has succeeded never runs again.
  const isAbandoned =
    ending.kind === "abandoned" || (outcome?.kind !== "succeeded" && (await isFirst(abandoned, settle())));
  end();
  stopHeartbeats();
  stopWatching();
  await flush();
  logOutcome(log, ending, interruption, outcome);
  if (outcome) {
    const { claim, env } = run;
    const report = isAbandoned ? { ...claim, outcome, busyUntilMs: diesAtMs } : { ...claim, outcome };
    if (!(await deliver(env, report, invocation.travels))) invocation.keepReport?.(report);
  }
  return isAbandoned ? "abandoned" : "ended";
}

/** Whether the first of two promises settles first. */
const isFirst = async (first: Promise<unknown>, second: Promise<unknown>): Promise<boolean> =>
  Promise.race([second.then(() => false), first.then(() => true)]);

const interruptionOf = ({ reason }: AbortSignal): Interruption | undefined =>
  reason instanceof Interruption ? reason : undefined;

function logOutcome(
  log: TaskContext["log"],
  ending: Ending,
  interruption: Interruption | undefined,
  outcome: Outcome | undefined,
): void {
  if (interruption?.reason === "cancelled") log("info", "task cancelled");
  else if (outcome?.kind === "failed") log("error", "attempt failed", failureFields(ending, outcome));
  else if (outcome?.kind === "handed-over") log("info", "task handed over");
}

async function executeCode(
  env: Env,
  { type: name, input }: Assignment,
  context: TaskContext,
): Promise<Ending> {
  try {
    const type = findTaskType(name);
    // Not final: during a deploy, other parts of the fleet may already know the type.
    if (!type) throw new Error(`This version of the Worker has no task type "${name}".`);
    const reason = type.unavailable?.(env);
    if (reason !== undefined) throw new NonRetryableError(reason);
    const { data, error } = await parseInput(type, input);
    if (error) throw unfit(type, error);
    return { kind: "returned", result: await type.run(context, data) };
  } catch (error) {
    return { kind: "threw", error };
  }
}

/** Names the first place that does not fit. */
function unfit(type: TaskType, cause: ZodError): NonRetryableError {
  const [issue] = cause.issues;
  const where = issue ? ` ${["input", ...issue.path.map(String)].join("/")}: ${issue.message}` : "";
  const message = `The input does not fit (or no longer fits) the task type "${type.name}".${where}`;
  return new NonRetryableError(message, { cause });
}

async function abandonAfterGrace(signal: AbortSignal, graceMs: number): Promise<Ending> {
  await new Promise((resolve) => {
    signal.addEventListener("abort", resolve, { once: true });
  });
  await scheduler.wait(graceMs);
  return { kind: "abandoned" };
}

/** The outcome to report; undefined if the claim is lost, so that no report would be accepted. */
export function outcomeOf(ending: Ending, interruption: Interruption | undefined): Outcome | undefined {
  if (interruption?.reason === "lost") return undefined;
  // Code that catches the interruption of a long sleep, and then returns, has not slept.
  const isAsleep = interruption !== undefined && interruption.notBeforeMs > 0;
  if (ending.kind === "returned" && !isAsleep) return succeeded(ending.result);
  if (interruption?.reason === "hand-over") {
    const { notBeforeMs, waits } = interruption;
    return { kind: "handed-over", notBeforeMs, ...(waits.length > 0 ? { waits } : {}) };
  }
  if (interruption) {
    const name = interruption.reason === "timeout" ? "TimeoutError" : "Cancelled";
    return { kind: "failed", error: { name, message: interruption.message }, isFinal: false };
  }
  const error = ending.kind === "threw" ? ending.error : undefined;
  // Subrequests that nobody counted. It is the invocation that is used up, and not the task.
  if (isSubrequestLimit(error)) return { kind: "handed-over", notBeforeMs: 0 };
  if (isA(PostponedError, error)) return { kind: "handed-over", notBeforeMs: timeOf(error) };
  const failure = { kind: "failed", error: describeFailure(error), isFinal: isFinalError(error) } as const;
  return isA(RetryLaterError, error) ? { ...failure, notBeforeMs: timeOf(error) } : failure;
}

function succeeded(result: unknown): Outcome {
  try {
    return { kind: "succeeded", result: toJson(result) };
  } catch (error) {
    return { kind: "failed", error: describeFailure(error), isFinal: true };
  }
}

/** As callers see it. Like a log line, it shows nobody the secrets in a URL. */
function describeFailure(error: unknown): TaskError {
  const { name, message } = describeError(error);
  return { name, message: cleanText(message) };
}

/** Whether another attempt would fail as well. */
const isFinalError = (error: unknown): boolean =>
  [NonRetryableError, NotJsonError, TooLongError, SignalTimeoutError].some((kind) => isA(kind, error));

/** Asking a revoked proxy what it is throws. */
function isA<T>(kind: abstract new (...args: never[]) => T, error: unknown): error is T {
  try {
    return error instanceof kind;
  } catch {
    return false;
  }
}

/** The longest that an error can put a task off: a task cannot be submitted for later either. */
const MAX_DELAY_MS = 366 * 86_400_000;

/** Code that is not checked by types may have set anything. */
const timeOf = ({ notBeforeMs }: { notBeforeMs: number }): number =>
  Number.isFinite(notBeforeMs) ? Math.min(notBeforeMs, Date.now() + MAX_DELAY_MS) : 0;

function failureFields(
  ending: Ending,
  { error }: Extract<Outcome, { kind: "failed" }>,
): Record<string, unknown> {
  return ending.kind === "threw" ? errorFields(ending.error) : { error: `${error.name}: ${error.message}` };
}
