/**
 * Dispatch: which queued tasks run next. Each type has a queue of its own, ordered by rank; in a type that limits each key
 * by itself, each key has one, and they take turns (`turns.ts`). Among the types that have a free slot, the task with the
 * lowest rank is next. So a type, or a key, at its limit never holds up another.
 *
 * A shard has a number of runners for everyone, and some more that are kept for each of the pools `begun`, `tick` and
 * `callback`. So however many long tasks occupy the others, a callback, a retry or a tick of a schedule finds a runner.
 *
 * Nothing of a paused type begins but what passes the pause. At most so many keys are looked at as have tasks running, and
 * as tasks are taken, however long the queues are.
 */

import type { DispatchTable } from "./dispatch-table.ts";
import type { Limits } from "./limits.ts";
import { queuedSinceMs } from "./rank.ts";
import { dueAfter, rateAllows, rateAllowsAt } from "./rate.ts";
import type { TaskRow } from "./schema.ts";
import type { TaskQueries } from "./task-queries.ts";
import { POOLS, type Pool } from "./task-state.ts";
import { byRank, inRounds, mergeLines } from "./turns.ts";

/** How many tasks of one shard may be in runners at once, besides those in runners that are kept for their pool. */
export const MAX_RUNNERS = 100;
/** How many runners of a shard are kept for each pool. */
export const KEPT_RUNNERS: Readonly<Record<Pool, number>> = { new: 0, begun: 10, tick: 10, callback: 10 };

/** What a task that would start at once says about itself. */
export interface Starting {
  type: string;
  key: string | null;
  rankMs: number;
  passesPause: boolean;
}

export class Dispatch {
  readonly #queries: TaskQueries;
  readonly #table: DispatchTable;
  readonly #limitsOf: (type: string) => Limits;

  /** `limitsOf`: what is in force on this shard. */
  constructor(queries: TaskQueries, table: DispatchTable, limitsOf: (type: string) => Limits) {
    this.#queries = queries;
    this.#table = table;
    this.#limitsOf = limitsOf;
  }

  /** Whether a task may start without queueing: nothing holds it back, and no other task is before it. */
  canStartNow(task: Starting, nowMs: number): boolean {
    const { type, key, rankMs, passesPause } = task;
    const limits = this.#limitsOf(type);
    const { concurrency, rate } = limits;
    if (limits.isPaused && !passesPause) return false;
    if (concurrency === undefined && !rate) return true;
    if (this.#begins(type, limits, nowMs) <= 0) return false;
    if (limits.isPerKey && this.#freeOfKey(type, key, limits) <= 0) return false;
    return this.#before(task, limits).every(({ rank_ms }) => rank_ms === null || rankMs < rank_ms);
  }

  /** The heads of the queues that a task would pass. */
  #before({ type, key }: Starting, { isPaused, isPerKey, rate }: Limits): TaskRow[] {
    if (isPaused) return this.#table.passing(type, 1);
    // Of a rate, whatever waits has its part first, of whatever key.
    if (isPerKey && !rate)
      return key === null ? [] : POOLS.flatMap((pool) => this.#table.queued(type, key, pool, 1));
    return POOLS.flatMap((pool) => this.#queries.queued(type, pool, 1));
  }

  /** The tasks to give to runners now, at most `max`. The caller must claim each of them before it calls this again. */
  next(nowMs: number, max = Number.POSITIVE_INFINITY): TaskRow[] {
    const runners = new FreeRunners(this.#queries.countRunners());
    const pools = POOLS.filter((pool) => runners.free(pool) > 0);
    if (pools.length === 0) return [];
    const free = new Map<string, number>();
    const lines = this.#queries.queuedTypes().map((type) => {
      const limits = this.#limitsOf(type);
      const begins = this.#begins(type, limits, nowMs);
      free.set(type, begins);
      const room = Math.min(max, begins, runners.total);
      const take = (pool: Pool) => Math.min(room, runners.free(pool));
      return room > 0 ? this.#line(type, limits, pools, take, room) : [];
    });
    const next: TaskRow[] = [];
    for (const task of mergeLines(lines)) {
      const slots = free.get(task.type) ?? 0;
      if (next.length >= max || slots <= 0 || runners.free(task.pool) <= 0) continue;
      free.set(task.type, slots - 1);
      runners.take(task.pool);
      next.push(task);
    }
    return next;
  }

  /** Records that these tasks have been claimed, in the order in which `next` returned them. */
  noteDispatched(tasks: readonly TaskRow[], nowMs: number): void {
    for (const [type, begun] of Map.groupBy(tasks, (task) => task.type)) {
      const last = this.#limitsOf(type).isPerKey ? begun.at(-1)?.concurrency_key : null;
      this.noteBegun(type, begun.length, nowMs, last ?? null);
    }
  }

  /** Records that so many tasks of a type have begun, and whose turn it was last, if they took turns. */
  noteBegun(type: string, count: number, nowMs: number, lastKey: string | null = null): void {
    const { rate } = this.#limitsOf(type);
    if (!rate && lastKey === null) return;
    const { last_key, next_due_ms } = this.#table.progressOf(type);
    this.#table.saveProgress(type, {
      last_key: lastKey ?? last_key,
      next_due_ms: rate ? dueAfter(rate, next_due_ms, nowMs, count) : next_due_ms,
    });
  }

  /** Since when a queued task could have begun, as far as its type's rate is concerned. */
  waitsSinceMs({ type, priority, rank_ms }: TaskRow, nowMs: number): number {
    return Math.max(queuedSinceMs(priority, rank_ms ?? nowMs), this.#openSinceMs(type));
  }

  /** Whether there is a queued task that no pause holds back. */
  hasQueued(): boolean {
    return this.#queries.queuedTypes().some((type) => !this.#isHeld(type));
  }

  /** When the next task may begin that only the rate of its type holds back; null if there is none. */
  rateOpensAtMs(nowMs: number): number | null {
    const times = this.#queries
      .queuedTypes()
      .filter((type) => !this.#isHeld(type))
      .map((type) => this.#openSinceMs(type))
      .filter((openAtMs) => openAtMs > nowMs);
    return times.length === 0 ? null : Math.min(...times);
  }

  /** Whether a pause holds back all queued tasks of a type. */
  #isHeld(type: string): boolean {
    return this.#limitsOf(type).isPaused && this.#table.passing(type, 1).length === 0;
  }

  /** Since when the rate of a type has let its next task begin; 0 if it has none. */
  #openSinceMs(type: string): number {
    const { rate } = this.#limitsOf(type);
    return rate ? Math.ceil(rateAllowsAt(rate, this.#table.progressOf(type).next_due_ms)) : 0;
  }

  /** How many tasks of a type may begin, whatever their keys. */
  #begins(type: string, { concurrency, isPerKey, rate }: Limits, nowMs: number): number {
    const byRate = rate
      ? rateAllows(rate, this.#table.progressOf(type).next_due_ms, nowMs)
      : Number.POSITIVE_INFINITY;
    if (concurrency === undefined || isPerKey || byRate === 0) return byRate;
    return Math.min(byRate, Math.max(0, concurrency - this.#queries.countRunning(type)));
  }

  /** The first tasks of a type that may begin, in their order: at most `room`, and of each pool at most `take`. */
  #line(type: string, limits: Limits, pools: Pool[], take: (pool: Pool) => number, room: number): TaskRow[] {
    if (limits.isPaused) return this.#passing(type, limits);
    if (!limits.isPerKey)
      return pools.flatMap((pool) => this.#queries.queued(type, pool, take(pool))).toSorted(byRank);
    return inRounds(this.#linesOfKeys(type, limits, pools, room), room);
  }

  #passing(type: string, limits: Limits): TaskRow[] {
    const tasks = this.#table.passing(type, MAX_RUNNERS);
    if (!limits.isPerKey) return tasks;
    const lines = Map.groupBy(tasks, ({ concurrency_key }) => concurrency_key ?? null);
    return [...lines]
      .flatMap(([key, line]) => line.slice(0, Math.max(0, this.#freeOfKey(type, key, limits))))
      .toSorted(byRank);
  }

  /** How many tasks of a key may begin. Those without a key count together. */
  #freeOfKey(type: string, key: string | null, { concurrency = 0 }: Limits): number {
    const running =
      key === null
        ? this.#queries.countRunning(type) - this.#table.countRunning(type)
        : this.#table.countRunning(type, key);
    return concurrency - running;
  }

  /** The first tasks of each key whose turn it is, until `room` keys have one. */
  #linesOfKeys(type: string, limits: Limits, pools: Pool[], room: number): TaskRow[][] {
    const lines: { head: TaskRow; free: number; more: (limit: number) => TaskRow[] }[] = [];
    const add = (key: string | null, more: (limit: number) => TaskRow[]) => {
      const [head] = more(1);
      const free = head ? this.#freeOfKey(type, key, limits) : 0;
      if (head && free > 0) lines.push({ head, free, more });
    };
    add(null, (limit) => this.#withoutKey(type, pools, limit));
    for (const key of this.#table.keysAfter(type, this.#table.progressOf(type).last_key)) {
      if (lines.length >= room) break;
      add(key, (limit) =>
        pools.flatMap((pool) => this.#table.queued(type, key, pool, limit)).toSorted(byRank),
      );
    }
    // Each key has at least one of them, so none can have more than this.
    const depth = room - lines.length + 1;
    return lines.map(({ head, free, more }) => {
      const limit = Math.min(free, depth);
      return limit > 1 ? more(limit).slice(0, limit) : [head];
    });
  }

  /**
   * Tasks that were written before their type had keys share a turn. No index has them, but they are the oldest: so they are
   * found at the head of the type's queue, or get there.
   */
  #withoutKey(type: string, pools: Pool[], limit: number): TaskRow[] {
    return pools
      .flatMap((pool) => {
        const first = this.#queries.queued(type, pool, limit);
        const end = first.findIndex(({ concurrency_key }) => typeof concurrency_key === "string");
        return end === -1 ? first : first.slice(0, end);
      })
      .toSorted(byRank);
  }
}

/** The runners of a shard that are free, given how many tasks of each pool are in runners. */
class FreeRunners {
  readonly #taken: Record<Pool, number>;

  constructor(taken: Record<Pool, number>) {
    this.#taken = { ...taken };
  }

  /** How many more tasks of a pool may be in runners. */
  free(pool: Pool): number {
    return this.#ofAll() + this.#kept(pool);
  }

  /** How many more tasks of all pools. */
  get total(): number {
    return this.#ofAll() + POOLS.reduce((sum, pool) => sum + this.#kept(pool), 0);
  }

  take(pool: Pool): void {
    this.#taken[pool]++;
  }

  /** Those for everyone. */
  #ofAll(): number {
    return Math.max(0, MAX_RUNNERS - POOLS.reduce((sum, pool) => sum + this.#beyondKept(pool), 0));
  }

  #kept(pool: Pool): number {
    return Math.max(0, KEPT_RUNNERS[pool] - this.#taken[pool]);
  }

  /** How many tasks of a pool are in runners for everyone. */
  #beyondKept(pool: Pool): number {
    return Math.max(0, this.#taken[pool] - KEPT_RUNNERS[pool]);
  }
}
