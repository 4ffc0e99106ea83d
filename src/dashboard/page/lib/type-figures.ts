/**
 * How tasks of each type have ended lately, from those that this page has read or was told of since it was opened: how many,
 * how long they waited to begin, and how long they took.
 */
import { BUCKETS, type Series, WINDOW_MS } from "./rates.ts";
import type { TaskLine } from "./types.ts";

/** Those that ended first go first. */
const MAX_KEPT = 5_000;
const BUCKET_MS = WINDOW_MS / BUCKETS;

interface Ended {
  type: string;
  endedAtMs: number;
  waitMs: number;
  runMs: number;
}

export interface TypeFigures {
  type: string;
  count: number;
  endedPerSecond: Series;
  waits: readonly number[];
  runs: readonly number[];
}

/** The upper bounds of a histogram, in ms, and what they are called. The last bucket has none. */
export const BOUNDS = [
  [10, "10 ms"],
  [100, "100 ms"],
  [1_000, "1 s"],
  [10_000, "10 s"],
  [60_000, "1 min"],
  [600_000, "10 min"],
] as const;

export class TypeHistory {
  /** By the id of the task. A retry by hand has it end once more. */
  readonly #ended = new Map<string, Ended>();
  readonly #openedAtMs: number;

  constructor(openedAtMs: number) {
    this.#openedAtMs = openedAtMs;
  }

  add(tasks: readonly TaskLine[]): void {
    for (const { id, type, createdAt, startedAt, finishedAt } of tasks) {
      if (startedAt === null || finishedAt === null) continue;
      const startedAtMs = Date.parse(startedAt);
      const endedAtMs = Date.parse(finishedAt);
      const waitMs = Math.max(0, startedAtMs - Date.parse(createdAt));
      this.#ended.delete(id);
      this.#ended.set(id, { type, endedAtMs, waitMs, runMs: Math.max(0, endedAtMs - startedAtMs) });
    }
    for (const id of this.#ended.keys()) {
      if (this.#ended.size <= MAX_KEPT) break;
      this.#ended.delete(id);
    }
  }

  /** The types in the order of their names. */
  figures(nowMs: number): TypeFigures[] {
    const byType = Map.groupBy(this.#ended.values(), ({ type }) => type);
    return [...byType]
      .map(([type, ended]) => ({
        type,
        count: ended.length,
        endedPerSecond: this.#series(ended, nowMs),
        waits: ended.map(({ waitMs }) => waitMs),
        runs: ended.map(({ runMs }) => runMs),
      }))
      .toSorted((a, b) => a.type.localeCompare(b.type));
  }

  /** What ended before the page was opened is not known to be all. */
  #series(ended: readonly Ended[], nowMs: number): Series {
    const endMs = Math.ceil(nowMs / BUCKET_MS) * BUCKET_MS;
    return Array.from({ length: BUCKETS }, (_, i) => {
      const fromMs = endMs - (BUCKETS - i) * BUCKET_MS;
      if (fromMs + BUCKET_MS <= this.#openedAtMs) return undefined;
      const inside = ended.filter(({ endedAtMs }) => endedAtMs >= fromMs && endedAtMs < fromMs + BUCKET_MS);
      return (inside.length / BUCKET_MS) * 1_000;
    });
  }
}

/** How many of the values are in each bucket, as `BOUNDS` has them, and the last for what is beyond. */
export function histogram(valuesMs: readonly number[]): number[] {
  const counts = Array.from({ length: BOUNDS.length + 1 }, () => 0);
  for (const value of valuesMs) {
    const bucket = BOUNDS.findIndex(([bound]) => value <= bound);
    const at = bucket === -1 ? BOUNDS.length : bucket;
    counts[at] = (counts[at] ?? 0) + 1;
  }
  return counts;
}
