/**
 * Counts by name: what objects count, and what `GET /metrics` adds up.
 *
 * A key is a name and the values of its labels, joined by `|`, which none of them has: `refusals|queue-full`. So tallies of
 * several objects are added key by key, whatever is in them. A histogram is a key for each bucket, `wait|greet|3`, and one
 * for the sum, `wait|greet|sum`.
 */
export type Tally = Readonly<Record<string, number>>;

/** What an object reports. `counts` only grow, and are added up over objects; `gauges` say how things are now. */
export interface Figures {
  counts: Tally;
  gauges: Tally;
}

/** The upper bounds of the buckets of every histogram, inclusive, in seconds. One more bucket has what is above. */
export const BOUNDS_S = [0.01, 0.025, 0.1, 0.25, 1, 2.5, 10, 30, 60, 300, 1800, 7200] as const;

export const keyOf = (...parts: string[]): string => parts.join("|");

/** The bucket that a duration is in, from 0. */
export function bucketOf(ms: number): number {
  const found = BOUNDS_S.findIndex((bound) => ms / 1000 <= bound);
  return found < 0 ? BOUNDS_S.length : found;
}

/** The keys of a histogram under which a duration is counted, each with what is added to it. */
export function durationKeys(name: string, ms: number): [key: string, by: number][] {
  return [
    [keyOf(name, String(bucketOf(ms))), 1],
    [keyOf(name, "sum"), Math.max(0, ms) / 1000],
  ];
}

/** The sum of tallies, key by key. */
export function addTallies(tallies: readonly Tally[]): Tally {
  const sum: Record<string, number> = {};
  for (const tally of tallies)
    for (const [key, value] of Object.entries(tally)) sum[key] = (sum[key] ?? 0) + value;
  return sum;
}
