/**
 * Dispatch: which queued tasks run next. Each type has a queue of its own, ordered by rank. Among the types that have
 * a free slot, the task with the lowest rank is next. So a type at its concurrency limit never holds up another type.
 *
 * A shard has a number of runners for everyone, and some more that are kept for each of the pools `begun`, `tick` and
 * `callback`. So however many long tasks occupy the others, a callback, a retry or a tick of a schedule finds a runner.
 */

import { findTaskType } from "../types/registry.ts";
import type { TaskRow } from "./schema.ts";
import type { TaskQueries } from "./task-queries.ts";
import { POOLS, type Pool } from "./task-state.ts";

/** How many tasks of one shard may be in runners at once, besides those in runners that are kept for their pool. */
export const MAX_RUNNERS = 100;
/** How many runners of a shard are kept for each pool. */
export const KEPT_RUNNERS: Readonly<Record<Pool, number>> = { new: 0, begun: 10, tick: 10, callback: 10 };

/** Whether a task with this rank may start without queueing: there is a free slot, and no other task is before it. */
export function canStartNow(queries: TaskQueries, type: string, rankMs: number): boolean {
  const cap = findTaskType(type)?.concurrency;
  if (cap === undefined) return true;
  const heads = POOLS.flatMap((pool) => queries.queued(type, pool, 1));
  return (
    heads.every(({ rank_ms }) => rank_ms === null || rankMs < rank_ms) && queries.countRunning(type) < cap
  );
}

/** The tasks to give to runners now, at most `max`. The caller must claim each of them before it calls this again. */
export function nextToDispatch(queries: TaskQueries, max = Number.POSITIVE_INFINITY): TaskRow[] {
  const runners = new FreeRunners(queries.countRunners());
  const pools = POOLS.filter((pool) => runners.free(pool) > 0);
  if (pools.length === 0) return [];
  const slots = new Map(queries.queuedTypes().map((type) => [type, freeSlots(queries, type)]));
  const heads = [...slots].flatMap(([type, free]) =>
    pools.flatMap((pool) => queries.queued(type, pool, Math.min(max, free, runners.free(pool)))),
  );
  const next: TaskRow[] = [];
  for (const task of heads.toSorted(byRank)) {
    const free = slots.get(task.type) ?? 0;
    if (next.length >= max || free <= 0 || runners.free(task.pool) <= 0) continue;
    slots.set(task.type, free - 1);
    runners.take(task.pool);
    next.push(task);
  }
  return next;
}

/** The runners of a shard that are free, given how many tasks of each pool are in runners. */
class FreeRunners {
  readonly #taken: Record<Pool, number>;

  constructor(taken: Record<Pool, number>) {
    this.#taken = { ...taken };
  }

  /** How many more tasks of a pool may be in runners. */
  free(pool: Pool): number {
    const ofAll = MAX_RUNNERS - POOLS.reduce((sum, other) => sum + this.#beyondKept(other), 0);
    return Math.max(0, ofAll) + Math.max(0, KEPT_RUNNERS[pool] - this.#taken[pool]);
  }

  take(pool: Pool): void {
    this.#taken[pool]++;
  }

  /** How many tasks of a pool are in runners for everyone. */
  #beyondKept(pool: Pool): number {
    return Math.max(0, this.#taken[pool] - KEPT_RUNNERS[pool]);
  }
}

function freeSlots(queries: TaskQueries, type: string): number {
  const cap = findTaskType(type)?.concurrency;
  return cap === undefined ? Number.POSITIVE_INFINITY : Math.max(0, cap - queries.countRunning(type));
}

const byRank = (a: TaskRow, b: TaskRow) => (a.rank_ms ?? 0) - (b.rank_ms ?? 0) || (a.id < b.id ? -1 : 1);
