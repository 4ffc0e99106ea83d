/**
 * A task's place in its queue, as one number: the lowest goes first. Priority is a head start. So only tasks that
 * arrive soon after a waiting task can pass it, and none waits forever.
 */

/** What one step of priority is worth: a task with priority 2 passes those that arrived up to two minutes earlier. */
export const PRIORITY_HEAD_START_MS = 60_000;

export function rankOf(priority: number, queuedAtMs: number): number {
  return queuedAtMs - priority * PRIORITY_HEAD_START_MS;
}

/** The inverse of `rankOf`: when a task with this rank was queued. */
export function queuedSinceMs(priority: number, rankMs: number): number {
  return rankMs + priority * PRIORITY_HEAD_START_MS;
}
