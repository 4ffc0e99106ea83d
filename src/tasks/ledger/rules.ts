/**
 * The life of a task, as rules without clock, storage or network.
 *
 *     scheduled ──its time──▶ queued ──claim──▶ running ──report──▶ succeeded | failed
 *         ▲                     ▲                │  │
 *         └──fails, may retry───┼────────────────┘  └──cancel──▶ cancelling ──report, or in 10 s──▶ cancelled
 *                               └──crash, hand-over
 *
 * Whoever runs a task holds a claim: a token and a lease, renewed by heartbeats. Only the claim with the task's latest
 * token may report, and only while the task is running. A claim whose lease is over has crashed: its task is queued
 * again under the same attempt, since it is the machine that failed; but not more than `MOST_CRASHES` times.
 *
 * `due_at_ms` is when the ledger has to look at a task by itself: when it is to be queued, its lease is over, or it is
 * to be removed. What is queued has none: it waits for room.
 */
import type { Lane, RetryPolicy } from "../types/define.ts";
import { backoffMs } from "./backoff.ts";
import { rankOf } from "./rank.ts";

export const TASK_STATUSES = [
  "scheduled",
  "queued",
  "running",
  "cancelling",
  "succeeded",
  "failed",
  "cancelled",
] as const;
export type TaskStatus = (typeof TASK_STATUSES)[number];

export const FINAL_STATUSES = ["succeeded", "failed", "cancelled"] as const;
export type FinalStatus = (typeof FINAL_STATUSES)[number];

/** How long a claim lives without a heartbeat. */
export const LEASE_MS = 15_000;
/** Three missed heartbeats end a claim. */
export const HEARTBEAT_MS = LEASE_MS / 3;
/** How long the code of a cancelled task may take to end, before its claim is withdrawn. */
export const CANCEL_GRACE_MS = 10_000;
/** A task that takes its machine with it is not run for ever. */
export const MOST_CRASHES = 5;
/** The pause after a runner could not be reached. */
export const RELEASE_PAUSE_MS = 1_000;

export interface TaskError {
  name: string;
  message: string;
}

/** What a task is, as its row has it; `result` and `error` are JSON text, times are ms since the epoch. */
export type TaskState = {
  status: TaskStatus;
  priority: number;
  /** While it is queued: its place in the line. */
  rank_ms: number | null;
  /** How often it has been claimed, and so the fencing token of the latest claim. */
  token: number;
  /** Of this life; a retry by hand begins another. */
  attempt: number;
  crashes: number;
  /** 1: the next claim goes on with the attempt that there is. */
  is_resuming: number;
  /** Of the claim that there is. */
  lane: Lane | null;
  due_at_ms: number | null;
  /** As it was submitted: it does not begin before. */
  run_at_ms: number;
  started_at_ms: number | null;
  /** Of the attempt that is running, as if it had never waited. */
  attempt_started_at_ms: number | null;
  /** What the attempt has had of its time, while it waits to go on. */
  spent_ms: number;
  finished_at_ms: number | null;
  result: string | null;
  error: string | null;
};

/** How a run went, as whoever held the claim reports it. */
export type Outcome =
  | { kind: "succeeded"; result: string }
  /** `notBeforeMs`: what was given up may be at work until then. */
  | { kind: "failed"; error: TaskError; isFinal: boolean; notBeforeMs?: number }
  /** It is to go on in another run, not before a time. */
  | { kind: "handed-over"; notBeforeMs: number }
  /** Whoever ran it has died. */
  | { kind: "crashed" }
  /** Nobody could be found to run it. */
  | { kind: "not-begun" };

/** What those who watch are told: a name, and what there is to say. */
export interface TaskEvent {
  name: "status" | "progress" | "step";
  data: Record<string, unknown>;
}

/** The task after a rule was applied, and what happened. */
export interface Change<State extends TaskState = TaskState> {
  task: State;
  event: TaskEvent;
}

/** What the rules must be told from outside. */
export interface Terms {
  nowMs: number;
  /** From 0 to 1. */
  random: number;
  retry: RetryPolicy;
  /** How long a task is kept that has ended. */
  retentionMs: Readonly<Record<FinalStatus, number>>;
}

export function isFinal(status: TaskStatus): status is FinalStatus {
  return FINAL_STATUSES.some((final) => final === status);
}

/** A new task, and that it is there. `lane`: whoever submits it begins to run it at once. */
export function submit(priority: number, runAtMs: number, lane: Lane | null, nowMs: number): Change {
  const task: TaskState = {
    status: "queued",
    priority,
    rank_ms: rankOf(priority, nowMs),
    token: 0,
    attempt: 0,
    crashes: 0,
    is_resuming: 0,
    lane: null,
    due_at_ms: null,
    run_at_ms: runAtMs,
    started_at_ms: null,
    attempt_started_at_ms: null,
    spent_ms: 0,
    finished_at_ms: null,
    result: null,
    error: null,
  };
  if (runAtMs > nowMs) return changed({ ...task, status: "scheduled", rank_ms: null, due_at_ms: runAtMs });
  return lane === null ? changed(task) : claim(task, lane, nowMs);
}

/** Gives a queued task to somebody who will run it. */
export function claim<State extends TaskState>(task: State, lane: Lane, nowMs: number): Change<State> {
  return changed({
    ...task,
    status: "running",
    rank_ms: null,
    token: task.token + 1,
    attempt: task.attempt + (task.is_resuming === 0 ? 1 : 0),
    is_resuming: 0,
    lane,
    due_at_ms: nowMs + LEASE_MS,
    started_at_ms: task.started_at_ms ?? nowMs,
    attempt_started_at_ms: nowMs - task.spent_ms,
  });
}

/** Whether a report with `token` still counts. */
export function mayReport(task: TaskState, token: number): boolean {
  return task.token === token && (task.status === "running" || task.status === "cancelling");
}

/** When the lease ends that a heartbeat renews; one of a task that is being cancelled is not renewed. */
export function renewed(task: TaskState, nowMs: number): number | null {
  return task.status === "running" ? nowMs + LEASE_MS : task.due_at_ms;
}

/** What a report with `token` does; undefined if it does not count any more. */
export function report<State extends TaskState>(
  task: State,
  token: number,
  outcome: Outcome,
  terms: Terms,
): Change<State> | undefined {
  if (!mayReport(task, token)) return undefined;
  // Cancelled is cancelled, also for code that got to its end before it heard of it.
  if (task.status === "cancelling") return end(task, "cancelled", terms);
  switch (outcome.kind) {
    case "succeeded":
      return end({ ...task, result: outcome.result }, "succeeded", terms);
    case "failed":
      return fail(task, outcome, terms);
    case "handed-over":
      return changed(goOn(task, outcome.notBeforeMs, terms.nowMs), { reason: "handed-over" });
    case "crashed":
      return crash(task, terms);
    case "not-begun":
      return changed(goOn(task, terms.nowMs + RELEASE_PAUSE_MS, terms.nowMs), { reason: "not-begun" });
  }
}

/** What time does to a task that is due; "remove" if it has been kept long enough, undefined if it is not due. */
export function tick<State extends TaskState>(
  task: State,
  terms: Terms,
): Change<State> | "remove" | undefined {
  if (task.due_at_ms === null || task.due_at_ms > terms.nowMs) return undefined;
  if (isFinal(task.status)) return "remove";
  if (task.status === "cancelling") return end(task, "cancelled", terms);
  if (task.status === "running") return crash(task, terms);
  // In the line as of its time: having waited for it is no reason to be served later.
  return changed(enqueue(task, task.due_at_ms));
}

/** Ends a task that waits, and asks one that runs to end. Undefined if it has ended otherwise. */
export function cancel<State extends TaskState>(
  task: State,
  terms: Terms,
): Change<State> | "already" | undefined {
  if (task.status === "cancelled" || task.status === "cancelling") return "already";
  if (isFinal(task.status)) return undefined;
  if (task.status === "running")
    return changed({ ...task, status: "cancelling", due_at_ms: terms.nowMs + CANCEL_GRACE_MS });
  return end(task, "cancelled", terms);
}

/** Begins another life of a task that failed or was cancelled; undefined for any other. Its steps stay recorded. */
export function retry<State extends TaskState>(task: State, nowMs: number): Change<State> | undefined {
  if (task.status !== "failed" && task.status !== "cancelled") return undefined;
  const ended = { finished_at_ms: null, error: null };
  const life = { ...task, ...ended, attempt: 0, crashes: 0, started_at_ms: null };
  return changed({ ...goOn(life, task.run_at_ms, nowMs), ...FRESH_ATTEMPT });
}

/** Of a task whose next claim begins an attempt, with all of its time. */
const FRESH_ATTEMPT = { is_resuming: 0, attempt_started_at_ms: null, spent_ms: 0 };

function fail<State extends TaskState>(
  task: State,
  { error, isFinal: isLast, notBeforeMs = 0 }: Extract<Outcome, { kind: "failed" }>,
  terms: Terms,
): Change<State> {
  if (isLast || task.attempt > terms.retry.retries) return end(task, "failed", terms, error);
  const runAtMs = Math.max(notBeforeMs, terms.nowMs + backoffMs(terms.retry, task.attempt, terms.random));
  const again = { ...goOn(task, runAtMs, terms.nowMs), ...FRESH_ATTEMPT };
  return changed({ ...again, error: JSON.stringify(error) }, { error });
}

function crash<State extends TaskState>(task: State, terms: Terms): Change<State> {
  const crashed = { ...task, crashes: task.crashes + 1 };
  if (crashed.crashes < MOST_CRASHES) {
    // The attempt begins again, with all of its time.
    const again = { ...goOn(crashed, terms.nowMs, terms.nowMs), spent_ms: 0 };
    return changed(again, { reason: "crashed" });
  }
  const message = `Whatever ran this task died ${MOST_CRASHES} times.`;
  return end(crashed, "failed", terms, { name: "Crashed", message });
}

/** Takes a task from whoever runs it, for another to go on with, not before a time. Until then no time is spent. */
function goOn<State extends TaskState>(task: State, notBeforeMs: number, nowMs: number): State {
  const spent_ms = nowMs - (task.attempt_started_at_ms ?? nowMs);
  const free = { ...task, lane: null, is_resuming: 1, attempt_started_at_ms: null, spent_ms };
  if (notBeforeMs <= nowMs) return enqueue(free, nowMs);
  return { ...free, status: "scheduled", due_at_ms: Math.ceil(notBeforeMs) };
}

function enqueue<State extends TaskState>(task: State, sinceMs: number): State {
  return { ...task, status: "queued", due_at_ms: null, rank_ms: rankOf(task.priority, sinceMs) };
}

function end<State extends TaskState>(
  task: State,
  status: FinalStatus,
  terms: Terms,
  error?: TaskError,
): Change<State> {
  const ended = {
    ...task,
    status,
    error: error === undefined ? null : JSON.stringify(error),
    rank_ms: null,
    lane: null,
    finished_at_ms: terms.nowMs,
    due_at_ms: terms.nowMs + terms.retentionMs[status],
  };
  return changed(ended, error === undefined ? {} : { error });
}

/** Says what the task has become. */
function changed<State extends TaskState>(task: State, more: Record<string, unknown> = {}): Change<State> {
  const { status, attempt, due_at_ms } = task;
  const data: Record<string, unknown> = { status, attempt, ...more };
  if (status === "scheduled" && due_at_ms !== null) data.runAt = new Date(due_at_ms).toISOString();
  return { task, event: { name: "status", data } };
}
