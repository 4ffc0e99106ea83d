/**
 * The life of a task, as rules without clock, storage or network.
 *
 *     running ──finish──▶ succeeded | failed
 *        │                     ▲
 *        └──lease over──▶ lost ┘   (a report that comes late after all still counts)
 *
 * Whoever runs a task holds a claim: a token and a lease, renewed by heartbeats. Only the claim with the task's
 * latest token may report. A claim whose lease is over belongs to a Worker that died, or is frozen.
 */

export const TASK_STATUSES = ["running", "succeeded", "failed", "lost"] as const;
export type TaskStatus = (typeof TASK_STATUSES)[number];

/** How long a claim lives without a heartbeat. */
export const LEASE_MS = 15_000;
/** Three missed heartbeats end a claim. */
export const HEARTBEAT_MS = LEASE_MS / 3;

/** How a task ended, as its runner reports it: `result` is JSON text. */
export type Outcome = { status: "succeeded"; result: string } | { status: "failed"; error: TaskError };

export interface TaskError {
  name: string;
  message: string;
}

/** The part of a task, as its row has it, that the rules look at. */
export interface TaskState {
  status: TaskStatus;
  token: number;
  lease_ends_at_ms: number;
}

/** The status as of `nowMs`: a lease that is over shows at once, before anything has swept the ledger. */
export function statusAt(task: TaskState, nowMs: number): TaskStatus {
  return task.status === "running" && task.lease_ends_at_ms <= nowMs ? "lost" : task.status;
}

/** Whether a report with `token` still counts: the task has not ended, and nobody has claimed it since. */
export function mayReport(task: TaskState, token: number): boolean {
  return task.token === token && (task.status === "running" || task.status === "lost");
}
