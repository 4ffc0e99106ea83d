/**
 * One run of a task, in either lane: its code, and beside it the heartbeats that keep the claim.
 *
 * A run is interrupted when the task is cancelled, when the attempt has had its time, when whatever it runs in will
 * not last longer, and when its claim is lost. The code is told by its signal and by everything it asks of its context;
 * if it does not end then, it is given up: from there on it works for nobody.
 */
import { describeError, errorFields, log } from "../../kernel/log.ts";
import type { Waiting } from "../../kernel/wait-until.ts";
import type { Assignment, Claim } from "../ledger/claim.ts";
import { HEARTBEAT_MS, LEASE_MS, type Outcome } from "../ledger/rules.ts";
import { ledgerOf } from "../ledger/shards.ts";
import { NonRetryableError, type TaskContext } from "../types/define.ts";
import { readJson, toJson } from "../types/json.ts";
import { findTaskType } from "../types/registry.ts";
import { createContext, Interruption, type Run } from "./context.ts";
import { deliver } from "./reports.ts";

/** What a task runs in, and how long that lasts. */
export interface Place {
  env: Env;
  waiting: Waiting;
  /** Then the task is handed over. */
  budgetMs: number;
  /** How long interrupted code may take to end. */
  patienceMs: number;
  /** Then nothing is left of it. */
  lifeMs: number;
}

/** A run, for those who want to interrupt it. */
export interface Running {
  interrupt: AbortController;
  /** Resolves when the outcome is reported: to whether the code has ended, or was given up. */
  done: Promise<"ended" | "given-up">;
}

/**
 * Begins to run a task. Never rejects: what goes wrong is an outcome. `askedAtMs` is when the ledger was asked for the
 * claim: its lease began no earlier.
 */
export function startRun(place: Place, claim: Claim, assignment: Assignment, askedAtMs: number): Running {
  const interrupt = new AbortController();
  const run: Run = { env: place.env, waiting: place.waiting, claim, assignment, interrupt };
  return { interrupt, done: conduct(place, run, askedAtMs) };
}

type Ending =
  | { kind: "returned"; result: unknown }
  | { kind: "threw"; error: unknown }
  | { kind: "given-up" };

async function conduct(place: Place, run: Run, askedAtMs: number): Promise<"ended" | "given-up"> {
  const diesAtMs = Date.now() + place.lifeMs;
  const { context, settle } = createContext(run);
  const stop = startTimers(place, run, askedAtMs);
  const ending = await Promise.race([execute(run.assignment, context), giveUp(context.signal, place)]);
  stop();
  await settle();
  const outcome = conclude(ending, context.signal, diesAtMs);
  tell(context, ending, outcome);
  if (outcome) await deliver(run.env, { ...run.claim, outcome });
  return ending.kind === "given-up" ? "given-up" : "ended";
}

function tell(context: TaskContext, ending: Ending, outcome: Outcome | undefined): void {
  const reason: unknown = context.signal.reason;
  if (reason instanceof Interruption && reason.reason === "cancelled") context.log("info", "task cancelled");
  else if (outcome?.kind === "failed") context.log("error", "attempt failed", failure(ending, outcome));
  else if (outcome?.kind === "handed-over") context.log("info", "task handed over");
}

async function execute({ type: name, input }: Assignment, context: TaskContext): Promise<Ending> {
  try {
    const type = findTaskType(name);
    // Not final: it may be that only this part of the fleet does not know it yet.
    if (!type) throw new Error(`There is no task type "${name}" here.`);
    const parsed = readInput(type, input);
    return { kind: "returned", result: await type.run(context, parsed) };
  } catch (error) {
    return { kind: "threw", error };
  }
}

function readInput(type: NonNullable<ReturnType<typeof findTaskType>>, input: string): unknown {
  try {
    return type.input.parse(readJson(input));
  } catch (cause) {
    throw new NonRetryableError(`The input is not what "${type.name}" takes (any more).`, { cause });
  }
}

async function giveUp(signal: AbortSignal, { patienceMs }: Place): Promise<Ending> {
  await new Promise((resolve) => {
    signal.addEventListener("abort", resolve, { once: true });
  });
  await scheduler.wait(patienceMs);
  return { kind: "given-up" };
}

/** What to report of a run; undefined if nobody wants to know. */
export function conclude(ending: Ending, signal: AbortSignal, diesAtMs: number): Outcome | undefined {
  const interruption = signal.reason instanceof Interruption ? signal.reason : undefined;
  if (interruption?.reason === "lost") return undefined;
  // Code that does not let itself be stopped from sleeping has not slept.
  const isAsleep = interruption !== undefined && interruption.notBeforeMs > 0;
  if (ending.kind === "returned" && !isAsleep) return succeeded(ending.result);
  if (interruption?.reason === "hand-over") {
    // Code that was given up may be at work until whatever it runs in has died.
    const freeAtMs = ending.kind === "given-up" ? diesAtMs : 0;
    return { kind: "handed-over", notBeforeMs: Math.max(interruption.notBeforeMs, freeAtMs) };
  }
  if (interruption) {
    const name = interruption.reason === "timeout" ? "TimeoutError" : "Cancelled";
    const failed = {
      kind: "failed" as const,
      error: { name, message: interruption.message },
      isFinal: false,
    };
    return ending.kind === "given-up" ? { ...failed, notBeforeMs: diesAtMs } : failed;
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

function failure(ending: Ending, { error }: Extract<Outcome, { kind: "failed" }>): Record<string, unknown> {
  return ending.kind === "threw" ? errorFields(ending.error) : { error: `${error.name}: ${error.message}` };
}

/** Heartbeats, and the end of the time that there is; gives what stops them. One timer: most runs are over before it. */
function startTimers(
  place: Place,
  { claim, assignment, env, interrupt }: Run,
  askedAtMs: number,
): () => void {
  const beganAtMs = Date.now();
  const timeoutMs = findTaskType(assignment.type)?.timeoutMs ?? place.budgetMs;
  const timesOutAtMs = assignment.attemptStartedAtMs + timeoutMs;
  const endsAtMs = Math.min(timesOutAtMs, beganAtMs + place.budgetMs);
  let leaseEndsAtMs = askedAtMs + LEASE_MS;
  const end = (reason: Interruption["reason"], message: string) =>
    interrupt.abort(new Interruption(reason, message));

  const beat = async () => {
    const sentAtMs = Date.now();
    const answer = await ledgerOf(env, claim.taskId)?.heartbeat(claim);
    if (answer === "ok") leaseEndsAtMs = sentAtMs + LEASE_MS;
    if (answer === "cancel") end("cancelled", "The task was cancelled.");
    if (answer === "stale") end("lost", "The task is somebody else's now.");
  };
  // Code that has been interrupted keeps its claim while it ends.
  const untilNextMs = (nowMs: number) => {
    const untilEndMs = interrupt.signal.aborted ? HEARTBEAT_MS : endsAtMs - nowMs;
    return Math.max(0, Math.min(HEARTBEAT_MS, leaseEndsAtMs - nowMs, untilEndMs));
  };
  const look = () => {
    const nowMs = Date.now();
    if (nowMs >= leaseEndsAtMs) return end("lost", "The ledger could not be reached in time.");
    if (nowMs >= timesOutAtMs) end("timeout", `The attempt took longer than ${timeoutMs} ms.`);
    else if (nowMs >= endsAtMs) end("hand-over", "The task goes on elsewhere.");
    beat().catch((error: unknown) =>
      log("warn", "heartbeat failed", { taskId: claim.taskId, ...errorFields(error) }),
    );
    timer = setTimeout(look, untilNextMs(nowMs));
  };
  let timer = setTimeout(look, untilNextMs(beganAtMs));
  return () => clearTimeout(timer);
}
