/**
 * In which order calls asked for a permit, and in which they got it, as the semaphore itself tells (worker.ts).
 *
 * What is promised is the order of those who wait at the same time. A crash sends all of them away, and whoever is
 * slow to come back, or comes back after the grace, may find others gone ahead; so two measures:
 *
 *     broken      among calls that asked first, and were first granted, in one and the same life of the object: the order
 *                 of the fences is not the order of asking. That must never be.
 *     overtaken   among all calls, over all lives: somebody who asked later has a lower fence. Told, not judged.
 */
import { z } from "zod";

const linePrefix = '{"chaos":';
const toldSchema = z.object({
  chaos: z.discriminatedUnion("did", [
    z.object({ did: z.literal("asked"), leaseId: z.string(), turn: z.number(), life: z.number() }),
    z.object({ did: z.literal("granted"), leaseId: z.string(), fence: z.number(), life: z.number() }),
  ]),
});

interface Place {
  turn: number;
  life: number;
  granted?: { fence: number; life: number };
}

export interface OrderCount {
  /** How many were granted a permit. */
  granted: number;
  /** How many of them in the life of the object in which they had asked first. */
  grantedInOneLife: number;
  broken: number;
  overtaken: number;
  /** By how many, at most, one call was overtaken. */
  mostOvertaken: number;
  lives: number;
}

export class Order {
  readonly #places = new Map<string, Place>();
  #lives = 0;

  /** Takes note of a line from the log, if it is about this. */
  readonly observe = (line: string): void => {
    if (!line.startsWith(linePrefix)) return;
    const { chaos: told } = toldSchema.parse(JSON.parse(line));
    this.#lives = Math.max(this.#lives, told.life);
    const place = this.#places.get(told.leaseId);
    if (told.did === "asked" && !place) this.#places.set(told.leaseId, { turn: told.turn, life: told.life });
    if (told.did === "granted" && place) place.granted ??= { fence: told.fence, life: told.life };
  };

  count(): OrderCount {
    const inTurn = [...this.#places.values()].toSorted((a, b) => a.turn - b.turn);
    const granted = inTurn.flatMap(({ granted: grant, ...place }) => (grant ? [{ ...place, grant }] : []));
    const lives = Map.groupBy(
      granted.filter(({ life, grant }) => grant.life === life),
      ({ life }) => life,
    );
    const inOneLife = [...lives.values()];
    const timesOvertaken = countOvertakers(granted.map(({ grant }) => grant.fence));
    return {
      granted: granted.length,
      grantedInOneLife: inOneLife.reduce((sum, calls) => sum + calls.length, 0),
      broken: inOneLife
        .flatMap((calls) => countOvertakers(calls.map(({ grant }) => grant.fence)))
        .filter(Boolean).length,
      overtaken: timesOvertaken.filter(Boolean).length,
      mostOvertaken: Math.max(0, ...timesOvertaken),
      lives: this.#lives,
    };
  }
}

/** For each number, how many after it are lower. */
function countOvertakers(fences: number[]): number[] {
  const sorted: number[] = [];
  const counts = fences.toReversed().map((fence) => {
    let place = sorted.length;
    while (place > 0 && (sorted[place - 1] ?? 0) > fence) place--;
    sorted.splice(place, 0, fence);
    return place;
  });
  return counts.toReversed();
}
