/**
 * Whose turn it is: the pure part of dispatch.
 *
 * Tasks of a type with keys go in rounds: each key that has a task waiting and a free slot begins one, in the order of the
 * keys, and the next round begins after the key that was served last. So while a task waits at the head of its key, each
 * other key begins at most one.
 */

/** What decides the order of queued tasks. */
export interface Queued {
  id: string;
  rank_ms: number | null;
}

/** The lowest rank first, then the lowest id. */
export const byRank = (a: Queued, b: Queued): number =>
  (a.rank_ms ?? 0) - (b.rank_ms ?? 0) || (a.id < b.id ? -1 : Number(a.id > b.id));

/** The first `max` tasks of several lines, one of each line in each round. */
export function inRounds<T>(lines: readonly (readonly T[])[], max: number): T[] {
  const taken: T[] = [];
  for (let round = 0; taken.length < max; round++) {
    const before = taken.length;
    for (const line of lines) {
      const next = line[round];
      if (next !== undefined && taken.length < max) taken.push(next);
    }
    if (taken.length === before) break;
  }
  return taken;
}

/**
 * The tasks of several lines by rank, each line in its own order. A line stands where its best task would: one that must let
 * a younger task of its line go first is not held up behind other lines for that.
 */
export function mergeLines<T extends Queued>(lines: readonly (readonly T[])[]): T[] {
  const placed = lines.flatMap((line) => {
    let place: T | undefined;
    return line
      .toReversed()
      .map((task) => {
        place = place === undefined || byRank(task, place) < 0 ? task : place;
        return { task, place };
      })
      .toReversed();
  });
  return placed.toSorted((a, b) => byRank(a.place, b.place)).map(({ task }) => task);
}
