/**
 * A task's place in the line, as one number: lower is sooner. Priority is a head start, so that whoever waits is passed
 * only by those who come soon after, and nobody starves.
 */

/** What one step of priority is worth: a task with priority 2 passes those that came up to two minutes before. */
export const PRIORITY_HEAD_START_MS = 60_000;
export const HIGHEST_PRIORITY = 9;

export function rankOf(priority: number, queuedAtMs: number): number {
  return queuedAtMs - priority * PRIORITY_HEAD_START_MS;
}

/** Since when a task has been in the line that has this rank. */
export function queuedSinceMs(priority: number, rankMs: number): number {
  return rankMs + priority * PRIORITY_HEAD_START_MS;
}
