/** What the ledger knows about a task, and what can happen to one. `rules.ts` says how the two change each other. */
import type { Lane } from "../types/define.ts";

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

export function isFinal(status: TaskStatus): status is FinalStatus {
  return FINAL_STATUSES.some((final) => final === status);
}

/**
 * Which tasks have runners kept for them, so that none of these waits behind any number of long tasks: callbacks, ticks
 * of schedules, and tasks that have begun before (retries, hand-overs). `new`: all others.
 */
export const POOLS = ["new", "begun", "tick", "callback"] as const;
export type Pool = (typeof POOLS)[number];

export interface TaskError {
  name: string;
  message: string;
}

/** The state of a task, as its row holds it: `result` and `error` are JSON text, times are ms since the epoch. */
export type TaskState = {
  status: TaskStatus;
  priority: number;
  /** While the task is queued: its place in the queue. */
  rank_ms: number | null;
  /** How often the task has been claimed, and so the fencing token of the latest claim. */
  token: number;
  /** Counted within this life; a retry by hand begins another life. */
  attempt: number;
  crashes: number;
  /** 1 if a step has been recorded since the last crash. */
  has_new_step: number;
  /** 1: the next claim continues the current attempt. */
  is_resuming: number;
  /** The lane of the current claim. */
  lane: Lane | null;
  pool: Pool;
  /**
   * Until then, code of the latest claim may be at work, unless the claim has ended together with its code. No other
   * claim begins before that.
   */
  busy_until_ms: number;
  due_at_ms: number | null;
  /** Whether it begins while its type is paused. 0: it waits; 1: its next run begins, since it continues; 2: it always does. */
  passes_pause: number;
  /** As submitted: the task starts no earlier. */
  run_at_ms: number;
  started_at_ms: number | null;
  /** When the current attempt started, as if it had never waited. */
  attempt_started_at_ms: number | null;
  /** The time that the attempt has used so far, while it waits to continue. */
  spent_ms: number;
  finished_at_ms: number | null;
  result: string | null;
  error: string | null;
};

/** How a run went, as the holder of the claim reports it. */
export type Outcome =
  | { kind: "succeeded"; result: string }
  /** Another attempt begins no earlier than `notBeforeMs`, if that is given. */
  | { kind: "failed"; error: TaskError; isFinal: boolean; notBeforeMs?: number }
  /**
   * The task must continue in another run, no earlier than `notBeforeMs`, or as soon as one of the `waits` has ended, given
   * by their keys.
   */
  | { kind: "handed-over"; notBeforeMs: number; waits?: string[] }
  /** Whatever ran the task died. */
  | { kind: "crashed" }
  /** No runner could be reached. */
  | { kind: "not-begun" };

/** An entry in a task's history. */
export interface TaskEvent {
  name: "status" | "progress" | "step" | "signal";
  data: Record<string, unknown>;
}
