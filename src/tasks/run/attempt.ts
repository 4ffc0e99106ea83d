/**
 * One run of a task, in either lane: the task's code, and beside it the heartbeats that keep the claim.
 *
 * A run is interrupted when the task is cancelled, when the attempt's time is over, when the invocation will not last
 * longer, and when the claim is lost. The code learns of it through its signal and through every call on its context.
 * Code that does not stop within the grace period is abandoned: from then on, nothing it does reaches the ledger.
 */
import { describeError, errorFields } from "../../kernel/log.ts";
import type { Waiting } from "../../kernel/wait-until.ts";
import type { Assignment, Claim } from "../ledger/claim.ts";
import type { Outcome } from "../ledger/task-state.ts";
import { NonRetryableError, type TaskContext, type TaskType } from "../types/define.ts";
import { readJson, toJson } from "../types/json.ts";
import { findTaskType } from "../types/registry.ts";
import { createContext } from "./context.ts";
import { startHeartbeats } from "./heartbeats.ts";
import { deliver } from "./reports.ts";
import { Interruption, type Run } from "./run.ts";

/** The invocation that a task runs in, and how long it lasts. */
export interface Invocation {
  env: Env;
  waiting: Waiting;
  /** After this time the task is handed over. */
  budgetMs: number;
  /** How long interrupted code may take to stop. */
  graceMs: number;
  /** After this time nothing in the invocation runs any longer. */
  lifetimeMs: number;
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
  const run: Run = { env: invocation.env, waiting: invocation.waiting, claim, assignment, interrupt };
  return { interrupt, done: executeRun(invocation, run, requestedAtMs) };
}

/** What became of the task's code. */
type Ending =
  | { kind: "returned"; result: unknown }
  | { kind: "threw"; error: unknown }
  | { kind: "abandoned" };

async function executeRun(invocation: Invocation, run: Run, requestedAtMs: number): Promise<RunEnd> {
  const diesAtMs = Date.now() + invocation.lifetimeMs;
  const { context, flush } = createContext(run);
  const stopHeartbeats = startHeartbeats(invocation.budgetMs, run, requestedAtMs);
  const ending = await Promise.race([
    executeCode(run.assignment, context),
    abandonAfterGrace(context.signal, invocation.graceMs),
  ]);
  stopHeartbeats();
  await flush();
  const outcome = outcomeOf(ending, context.signal, diesAtMs);
  logOutcome(context, ending, outcome);
  if (outcome) await deliver(run.env, { ...run.claim, outcome });
  return ending.kind === "abandoned" ? "abandoned" : "ended";
}

function logOutcome(context: TaskContext, ending: Ending, outcome: Outcome | undefined): void {
  const reason: unknown = context.signal.reason;
  if (reason instanceof Interruption && reason.reason === "cancelled") context.log("info", "task cancelled");
  else if (outcome?.kind === "failed") context.log("error", "attempt failed", failureFields(ending, outcome));
  else if (outcome?.kind === "handed-over") context.log("info", "task handed over");
}

async function executeCode({ type: name, input }: Assignment, context: TaskContext): Promise<Ending> {
  try {
    const type = findTaskType(name);
    // Not final: during a deploy, other parts of the fleet may already know the type.
    if (!type) throw new Error(`This version of the Worker has no task type "${name}".`);
    const parsed = parseInput(type, input);
    return { kind: "returned", result: await type.run(context, parsed) };
  } catch (error) {
    return { kind: "threw", error };
  }
}

function parseInput(type: TaskType, input: string): unknown {
  try {
    return type.input.parse(readJson(input));
  } catch (cause) {
    throw new NonRetryableError(`The input does not fit (or no longer fits) the task type "${type.name}".`, {
      cause,
    });
  }
}

async function abandonAfterGrace(signal: AbortSignal, graceMs: number): Promise<Ending> {
  await new Promise((resolve) => {
    signal.addEventListener("abort", resolve, { once: true });
  });
  await scheduler.wait(graceMs);
  return { kind: "abandoned" };
}

/** The outcome to report; undefined if the claim is lost, so that no report would be accepted. */
export function outcomeOf(ending: Ending, signal: AbortSignal, diesAtMs: number): Outcome | undefined {
  const interruption = signal.reason instanceof Interruption ? signal.reason : undefined;
  if (interruption?.reason === "lost") return undefined;
  // Code that catches the interruption of a long sleep, and then returns, has not slept.
  const isAsleep = interruption !== undefined && interruption.notBeforeMs > 0;
  if (ending.kind === "returned" && !isAsleep) return succeeded(ending.result);
  if (interruption?.reason === "hand-over") {
    // Abandoned code may keep working until its invocation has died.
    const freeAtMs = ending.kind === "abandoned" ? diesAtMs : 0;
    return { kind: "handed-over", notBeforeMs: Math.max(interruption.notBeforeMs, freeAtMs) };
  }
  if (interruption) {
    const name = interruption.reason === "timeout" ? "TimeoutError" : "Cancelled";
    const failed = {
      kind: "failed" as const,
      error: { name, message: interruption.message },
      isFinal: false,
    };
    return ending.kind === "abandoned" ? { ...failed, notBeforeMs: diesAtMs } : failed;
  }
  const error = ending.kind === "threw" ? ending.error : undefined;
  const isFinal = error instanceof NonRetryableError;
  return { kind: "failed", error: describeError(error), isFinal };
}

function succeeded(result: unknown): Outcome {
  try {
    return { kind: "succeeded", result: toJson(result ?? null) };
  } catch (error) {
    return { kind: "failed", error: describeError(error), isFinal: true };
  }
}

function failureFields(
  ending: Ending,
  { error }: Extract<Outcome, { kind: "failed" }>,
): Record<string, unknown> {
  return ending.kind === "threw" ? errorFields(ending.error) : { error: `${error.name}: ${error.message}` };
}
