/** How many tasks of a ledger were created in a time: for reports. */
import type { TaskStatus } from "./task-state.ts";

/** How many tasks of a type and status were created in an hour, numbered from 0. */
export type TaskCount = {
  type: string;
  status: TaskStatus;
  hour: number;
  count: number;
  /** How many of them have begun and ended, and how long these took together, with their waits between attempts. */
  timed: number;
  duration_ms: number;
};

/**
 * Counts the tasks that were created from one time to another (ms since the epoch). No index has all tasks in the order of
 * their creation, since each would cost at every task: so this looks at every row, which is right for once a day.
 */
export function countByHour(sql: SqlStorage, fromMs: number, untilMs: number): TaskCount[] {
  return sql
    .exec<TaskCount>(
      // Numbers are bound as REAL, whose division has fractions.
      `SELECT type, status, CAST((created_at_ms - ?1) / 3600000 AS INTEGER) AS hour, count(*) AS count,
         count(finished_at_ms - started_at_ms) AS timed,
         coalesce(sum(finished_at_ms - started_at_ms), 0) AS duration_ms
       FROM task WHERE created_at_ms >= ?1 AND created_at_ms < ?2 GROUP BY type, status, hour`,
      fromMs,
      untilMs,
    )
    .toArray();
}
