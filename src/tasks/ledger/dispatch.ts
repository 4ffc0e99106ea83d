/**
 * Whose turn it is. Each type has a line of its own, in the order of rank; whoever has the lowest rank of all that
 * there is room for is next, so that a type at its cap holds up no other.
 */

import { findTaskType } from "../types/registry.ts";
import type { TaskRow } from "./schema.ts";
import type { TaskTable } from "./task-table.ts";

/** How many tasks one shard has in runners at once. */
export const MOST_RUNNERS = 100;

/** Whether a task with this rank may begin without queueing: there is room, and it is nobody else's turn. */
export function isFree(book: TaskTable, type: string, rankMs: number): boolean {
  const cap = findTaskType(type)?.concurrency;
  if (cap === undefined) return true;
  const [head] = book.line(type, 1);
  return (head?.rank_ms == null || rankMs < head.rank_ms) && book.countRunning(type) < cap;
}

/** The tasks to give to runners now, at most `most`. Each must be claimed before this is asked again. */
export function nextToDispatch(book: TaskTable, most = MOST_RUNNERS): TaskRow[] {
  const free = Math.min(most, MOST_RUNNERS - book.countLong());
  if (free <= 0) return [];
  const lines = book.waitingTypes().flatMap((type) => book.line(type, Math.min(free, roomOf(book, type))));
  return lines.toSorted(byRank).slice(0, free);
}

function roomOf(book: TaskTable, type: string): number {
  const cap = findTaskType(type)?.concurrency;
  return cap === undefined ? MOST_RUNNERS : Math.max(0, cap - book.countRunning(type));
}

const byRank = (a: TaskRow, b: TaskRow) => (a.rank_ms ?? 0) - (b.rank_ms ?? 0) || (a.id < b.id ? -1 : 1);
