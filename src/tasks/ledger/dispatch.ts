/**
 * Dispatch: which queued tasks run next. Each type has a queue of its own, ordered by rank. Among the types that have
 * a free slot, the task with the lowest rank is next. So a type at its concurrency limit never holds up another type.
 */

import { findTaskType } from "../types/registry.ts";
import type { TaskRow } from "./schema.ts";
import type { TaskQueries } from "./task-queries.ts";

/** How many tasks of one shard may be in runners at once. */
export const MAX_RUNNERS = 100;

/** Whether a task with this rank may start without queueing: there is a free slot, and no other task is before it. */
export function canStartNow(queries: TaskQueries, type: string, rankMs: number): boolean {
  const cap = findTaskType(type)?.concurrency;
  if (cap === undefined) return true;
  const [head] = queries.queued(type, 1);
  return (head?.rank_ms == null || rankMs < head.rank_ms) && queries.countRunning(type) < cap;
}

/** The tasks to give to runners now, at most `max`. The caller must claim each of them before it calls this again. */
export function nextToDispatch(queries: TaskQueries, max = MAX_RUNNERS): TaskRow[] {
  const free = Math.min(max, MAX_RUNNERS - queries.countLongLane());
  if (free <= 0) return [];
  const heads = queries
    .queuedTypes()
    .flatMap((type) => queries.queued(type, Math.min(free, freeSlots(queries, type))));
  return heads.toSorted(byRank).slice(0, free);
}

function freeSlots(queries: TaskQueries, type: string): number {
  const cap = findTaskType(type)?.concurrency;
  return cap === undefined ? MAX_RUNNERS : Math.max(0, cap - queries.countRunning(type));
}

const byRank = (a: TaskRow, b: TaskRow) => (a.rank_ms ?? 0) - (b.rank_ms ?? 0) || (a.id < b.id ? -1 : 1);
