/**
 * The life of a task, as rules without clock, storage or network.
 *
 *     scheduled ──its time──▶ queued ──claim──▶ running ──report──▶ succeeded | failed
 *         ▲                     ▲                │  │
 *         └──fails, may retry───┼────────────────┘  └──cancel──▶ cancelling ──report, or after 10 s──▶ cancelled
 *                               └──crash, hand-over
 *
 * Whoever runs a task holds a claim: a token and a lease. Only the claim with the task's latest token may report, and
 * only while the task is running. A claim whose lease has expired counts as a crash. Its task is queued again under the
 * same attempt, because the machine failed and not the code, but at most `MAX_CRASHES` times in a row. A step that is
 * recorded in between shows that the task gets on, so the count starts again.
 *
 * In the fast lane, a lease lasts as long as the invocation that it is for: nothing of the task could begin before that
 * anyway. In the long lane, heartbeats renew it. Renewing is a write, so it is done when half of the lease has passed,
 * and not at each heartbeat. It must be a write: a ledger is evicted when it has been idle for 10 s, so what it only
 * remembered would be gone before the next heartbeat.
 *
 * A claim can end before its code does: when its lease expires, when a cancel is not obeyed, when code is abandoned. So a
 * claim says until when its code may be at work (`busy_until_ms`), and the task is not queued again before that time, or
 * before the code is known to have been stopped.
 *
 * `due_at_ms` is when the ledger must act on a task by itself: when the task must be queued, or when its lease expires. A
 * queued task has none: it waits for a free slot. A task that has ended is kept for as long as the settings of today say;
 * its `due_at_ms`, by those at its end, is for version 0.1.0.
 */
import type { Lane, RetryPolicy } from "../types/define.ts";
import { rankOf } from "./rank.ts";
import { retryDelayMs } from "./retry-delay.ts";
import {
  type FinalStatus,
  isFinal,
  type Outcome,
  type Pool,
  type TaskError,
  type TaskEvent,
  type TaskState,
} from "./task-state.ts";

/** How long a claim lasts that its runner has not opened. Also, what a run may rely on if the ledger says nothing else. */
export const LEASE_MS = 15_000;
/** In the fast lane, the interval at which code learns of a cancel. */
export const HEARTBEAT_MS = LEASE_MS / 3;
/**
 * The lease of a runner. It can be long: the runtime tries the alarm of a runner that has died again, and so finds the
 * crash. Only of a runner that never comes back it is not known.
 */
export const RUNNER_LEASE_MS = 180_000;
export const RUNNER_HEARTBEAT_MS = RUNNER_LEASE_MS / 3;
/** How long the code of a cancelled task may take to stop before its claim is withdrawn. */
export const CANCEL_GRACE_MS = 10_000;
/** The token of a task's first claim. */
export const FIRST_TOKEN = 1;
/** After this many crashes without a new step, a task fails: it may be the task that kills its machine. */
export const MAX_CRASHES = 5;
/** The delay after no runner could be reached. */
export const RUNNER_RETRY_MS = 1_000;
/** How long the code of a runner can be at work after it has opened its claim: the platform ends an alarm after 15 min. */
export const RUNNER_LIFETIME_MS = 15 * 60_000;

/** A state transition: the task after a rule was applied, and the event that records it. */
export interface Transition<State extends TaskState = TaskState> {
  task: State;
  event: TaskEvent;
}

/** What the rules need to know besides the task. */
export interface RuleInputs {
  nowMs: number;
  /** From 0 to 1. */
  random: number;
  retry: RetryPolicy;
  /** How long a task is kept after it has ended. */
  retentionMs: Readonly<Record<FinalStatus, number>>;
}

/**
 * Creates a task. With a `lane`, the submitter claims the task and runs it at once, in an invocation that lasts for
 * `lifetimeMs` at most.
 */
export function submit(
  priority: number,
  runAtMs: number,
  lane: Lane | null,
  nowMs: number,
  { pool = "new", lifetimeMs = 0, force = false }: { pool?: Pool; lifetimeMs?: number; force?: boolean } = {},
): Transition {
  const task: TaskState = {
    status: "queued",
    priority,
    rank_ms: rankOf(priority, nowMs),
    token: 0,
    attempt: 0,
    crashes: 0,
    has_new_step: 0,
    is_resuming: 0,
    lane: null,
    pool,
    busy_until_ms: 0,
    due_at_ms: null,
    passes_pause: force ? 2 : 0,
    run_at_ms: runAtMs,
    started_at_ms: null,
    attempt_started_at_ms: null,
    spent_ms: 0,
    finished_at_ms: null,
    result: null,
    error: null,
  };
  if (runAtMs > nowMs) return transition({ ...task, status: "scheduled", rank_ms: null, due_at_ms: runAtMs });
  return lane === null ? transition(task) : claim(task, lane, nowMs, nowMs + lifetimeMs);
}

/** Creates a task that can never run: there is no input that it could run with. */
export function submitFailed(priority: number, error: TaskError, inputs: RuleInputs): Transition {
  return finish(submit(priority, 0, null, inputs.nowMs).task, "failed", inputs, error);
}

/**
 * Gives a queued task to its submitter, whose invocation ends at `busyUntilMs`, or to a runner, of which nothing is at
 * work until it opens the claim.
 */
export function claim<State extends TaskState>(
  task: State,
  lane: Lane,
  nowMs: number,
  busyUntilMs = 0,
): Transition<State> {
  return transition({
    ...task,
    status: "running",
    rank_ms: null,
    token: task.token + 1,
    attempt: task.attempt + (task.is_resuming === 0 ? 1 : 0),
    is_resuming: 0,
    passes_pause: task.passes_pause === 1 ? 0 : task.passes_pause,
    lane,
    busy_until_ms: busyUntilMs,
    due_at_ms: lane === "fast" && busyUntilMs > nowMs ? busyUntilMs : nowMs + LEASE_MS,
    started_at_ms: task.started_at_ms ?? nowMs,
    attempt_started_at_ms: nowMs - task.spent_ms,
  });
}

/** Whether a report with `token` is still accepted. */
export function mayReport(task: TaskState, token: number): boolean {
  return task.token === token && (task.status === "running" || task.status === "cancelling");
}

/** When the lease expires after a heartbeat. The lease of a task that is being cancelled is not renewed. */
export function leaseAfterHeartbeat(task: TaskState, nowMs: number): number | null {
  const leaseMs = task.lane === "long" ? RUNNER_LEASE_MS : LEASE_MS;
  const isRenewed = task.status === "running" && (task.due_at_ms ?? 0) - nowMs < leaseMs / 2;
  return isRenewed ? nowMs + leaseMs : task.due_at_ms;
}

/**
 * Applies a report with `token`; undefined if it is no longer accepted. `busyUntilMs`: the run has abandoned its code,
 * which may be at work until then.
 */
export function report<State extends TaskState>(
  claimed: State,
  token: number,
  outcome: Outcome,
  inputs: RuleInputs,
  busyUntilMs = 0,
): Transition<State> | undefined {
  if (!mayReport(claimed, token)) return undefined;
  // A runner that could not be reached may have opened its claim even so.
  const task = outcome.kind === "not-begun" ? claimed : { ...claimed, busy_until_ms: Math.ceil(busyUntilMs) };
  // A cancel is final, even if the code finished before it learned of it.
  if (task.status === "cancelling") return finish(task, "cancelled", inputs);
  switch (outcome.kind) {
    case "succeeded":
      return finish({ ...task, result: outcome.result }, "succeeded", inputs);
    case "failed":
      return fail(task, outcome, inputs);
    case "handed-over":
      return transition(requeue(task, outcome.notBeforeMs, inputs.nowMs), { reason: "handed-over" });
    case "crashed":
      return crash(task, inputs);
    case "not-begun":
      return transition(requeue(task, inputs.nowMs + RUNNER_RETRY_MS, inputs.nowMs), { reason: "not-begun" });
  }
}

/**
 * A pause lets runs end: what is handed over, and not to a later time, is the same run, and goes on in the next one. Applied
 * to a transition of a task whose type is paused.
 */
export function goesOn<State extends TaskState>({ task, event }: Transition<State>): Transition<State> {
  const isSameRun = task.status === "queued" && event.data.reason === "handed-over";
  return { task: isSameRun ? { ...task, passes_pause: Math.max(1, task.passes_pause) } : task, event };
}

/** Acts on a task that is due; "remove" if it has been kept long enough, undefined if it is not due. */
export function tick<State extends TaskState>(
  task: State,
  inputs: RuleInputs,
): Transition<State> | "remove" | undefined {
  const { status } = task;
  if (isFinal(status)) return keptUntilMs(task, status, inputs) <= inputs.nowMs ? "remove" : undefined;
  if (task.due_at_ms === null || task.due_at_ms > inputs.nowMs) return undefined;
  if (task.status === "cancelling") return finish(task, "cancelled", inputs);
  if (task.status === "running") return crash(task, inputs);
  // A version after this one, which has been rolled back, may have left what only that can handle.
  if (task.status !== "scheduled") throw new Error(`A task with the status "${task.status}" is due.`);
  if (task.busy_until_ms > inputs.nowMs) return transition({ ...task, due_at_ms: task.busy_until_ms });
  // Queued as of its due time: having waited until then must not put it behind others.
  return transition(enqueue(task, task.due_at_ms));
}

/**
 * Applies that the code of an ended claim has been stopped. Queues a task that has waited for that alone; undefined for
 * any other, which only ceases to be busy.
 */
export function stopped<State extends TaskState>(
  task: State,
  token: number,
  nowMs: number,
): Transition<State> | undefined {
  const isWaiting =
    task.token === token && task.status === "scheduled" && task.due_at_ms === task.busy_until_ms;
  return isWaiting ? transition(enqueue({ ...task, busy_until_ms: 0 }, nowMs)) : undefined;
}

/** Queues a task that was parked: something that it waited for has come. */
export function wake<State extends TaskState>(task: State, nowMs: number): Transition<State> {
  const more = { reason: "woken" };
  if (task.busy_until_ms > nowMs) return transition({ ...task, due_at_ms: task.busy_until_ms }, more);
  return transition(enqueue(task, nowMs), more);
}

/** Cancels a waiting task, and asks a running one to stop. Undefined if the task has already succeeded or failed. */
export function cancel<State extends TaskState>(
  task: State,
  inputs: RuleInputs,
): Transition<State> | "already" | undefined {
  if (task.status === "cancelled" || task.status === "cancelling") return "already";
  if (isFinal(task.status)) return undefined;
  if (task.status === "running")
    return transition({ ...task, status: "cancelling", due_at_ms: inputs.nowMs + CANCEL_GRACE_MS });
  return finish(task, "cancelled", inputs);
}

/** Cancels a task that has not begun, for another that takes its place. */
export function replace<State extends TaskState>(
  task: State,
  by: string,
  inputs: RuleInputs,
): Transition<State> {
  const error = {
    name: "Replaced",
    message: `The task ${by} was submitted with the same key, and replaces this one.`,
  };
  return finish(task, "cancelled", inputs, error);
}

/**
 * Begins another life of a task that failed or was cancelled; undefined for any other, and for one that failed without ever
 * having started. Recorded steps are kept.
 */
export function retry<State extends TaskState>(task: State, nowMs: number): Transition<State> | undefined {
  if (task.status !== "failed" && task.status !== "cancelled") return undefined;
  if (task.status === "failed" && task.started_at_ms === null) return undefined;
  const notEnded = { finished_at_ms: null, error: null };
  const life = { ...task, ...notEnded, attempt: 0, crashes: 0, has_new_step: 0, started_at_ms: null };
  return transition({ ...requeue(life, task.run_at_ms, nowMs), ...NEW_ATTEMPT });
}

/** The next claim begins a new attempt, with its full time. */
const NEW_ATTEMPT = { is_resuming: 0, attempt_started_at_ms: null, spent_ms: 0 };

function fail<State extends TaskState>(
  task: State,
  { error, isFinal: isLast, notBeforeMs = 0 }: Extract<Outcome, { kind: "failed" }>,
  inputs: RuleInputs,
): Transition<State> {
  if (isLast || task.attempt > inputs.retry.retries) return finish(task, "failed", inputs, error);
  const delayMs = retryDelayMs(inputs.retry, task.attempt, inputs.random);
  const runAtMs = Math.max(inputs.nowMs + delayMs, notBeforeMs);
  const again = { ...requeue(task, runAtMs, inputs.nowMs), ...NEW_ATTEMPT };
  return transition({ ...again, error: JSON.stringify(error) }, { error });
}

function crash<State extends TaskState>(task: State, inputs: RuleInputs): Transition<State> {
  const crashes = task.has_new_step === 0 ? task.crashes + 1 : 1;
  const crashed = { ...task, crashes, has_new_step: 0 };
  if (crashed.crashes < MAX_CRASHES) {
    // The attempt starts over, with its full time.
    const again = { ...requeue(crashed, inputs.nowMs, inputs.nowMs), spent_ms: 0 };
    return transition(again, { reason: "crashed" });
  }
  const message = `The invocation or object that ran this task died ${MAX_CRASHES} times without getting on.`;
  return finish(crashed, "failed", inputs, { name: "Crashed", message });
}

/**
 * Takes a task from its runner, so that another can continue it, no earlier than a time and than the end of its code. The
 * attempt's clock stops.
 */
function requeue<State extends TaskState>(task: State, notBeforeMs: number, nowMs: number): State {
  const spent_ms = nowMs - (task.attempt_started_at_ms ?? nowMs);
  const pool = task.pool === "new" ? "begun" : task.pool;
  const free = { ...task, lane: null, pool, is_resuming: 1, attempt_started_at_ms: null, spent_ms };
  if (Math.max(notBeforeMs, task.busy_until_ms) <= nowMs) return enqueue(free, nowMs);
  const due_at_ms = notBeforeMs > nowMs ? Math.ceil(notBeforeMs) : task.busy_until_ms;
  return { ...free, status: "scheduled", due_at_ms };
}

function enqueue<State extends TaskState>(task: State, sinceMs: number): State {
  return { ...task, status: "queued", due_at_ms: null, rank_ms: rankOf(task.priority, sinceMs) };
}

function finish<State extends TaskState>(
  task: State,
  status: FinalStatus,
  inputs: RuleInputs,
  error?: TaskError,
): Transition<State> {
  const finished = {
    ...task,
    status,
    error: error === undefined ? null : JSON.stringify(error),
    rank_ms: null,
    lane: null,
    finished_at_ms: inputs.nowMs,
  };
  const due_at_ms = keptUntilMs(finished, status, inputs);
  return transition({ ...finished, due_at_ms }, error === undefined ? {} : { error });
}

/** When an ended task is removed: after its retention, and not before the end of its code. */
const keptUntilMs = (task: TaskState, status: FinalStatus, { nowMs, retentionMs }: RuleInputs): number =>
  Math.max((task.finished_at_ms ?? nowMs) + retentionMs[status], task.busy_until_ms);

/** The transition to this task, with a `status` event. */
function transition<State extends TaskState>(
  task: State,
  more: Record<string, unknown> = {},
): Transition<State> {
  const { status, attempt, due_at_ms } = task;
  const data: Record<string, unknown> = { status, attempt, ...more };
  if (status === "scheduled" && due_at_ms !== null) data.runAt = new Date(due_at_ms).toISOString();
  return { task, event: { name: "status", data } };
}
