/**
 * In which order calls requested a permit, and in which they got it, as the semaphore itself logs it (worker.ts).
 *
 * The promise is about callers that wait at the same time. A crash drops all of them from the queue, and one that
 * comes back after the grace period may find that others have passed it. So there are two measures:
 *
 *     passed      among calls that first requested, and were first granted, a permit in the same life of the object: by
 *                 how many calls of another isolate that requested theirs later, and have a lower fence. The setting
 *                 `max_passes` limits it.
 *     overtaken   among all calls, over all lives: a later request has a lower fence. Reported, not judged.
 */
import { z } from "zod";

const linePrefix = '{"chaos":';
const eventSchema = z.object({
  chaos: z.discriminatedUnion("did", [
    z.object({
      did: z.literal("requested"),
      leaseId: z.string(),
      isolate: z.string(),
      turn: z.number(),
      life: z.number(),
      semaphore: z.string(),
    }),
    z.object({
      did: z.literal("granted"),
      leaseId: z.string(),
      fence: z.number(),
      life: z.number(),
      semaphore: z.string(),
      isHandedOn: z.boolean().default(false),
    }),
  ]),
});

interface Place {
  turn: number;
  isolate: string;
  life: number;
  granted?: { fence: number; life: number };
}

export interface OrderCount {
  /** How many were granted a permit. */
  granted: number;
  /** How many of them in the life of the object in which they had first requested it. */
  grantedInOneLife: number;
  /** By how many calls of another isolate one of these was passed, at most. */
  mostPassed: number;
  handedOn: number;
  overtaken: number;
  /** How many others overtook one call, at most. */
  maxOvertakers: number;
  lives: number;
}

export class Order {
  readonly #semaphore: string;
  readonly #places = new Map<string, Place>();
  #lives = 0;
  #handedOn = 0;

  /** That of the calls which asked this object. Between shards, there is no order. */
  constructor(semaphore: string) {
    this.#semaphore = semaphore;
  }

  /** Reads a line of the log. Lines about other things are ignored. */
  readonly observe = (line: string): void => {
    if (!line.startsWith(linePrefix)) return;
    const { chaos: event } = eventSchema.parse(JSON.parse(line));
    if (event.semaphore !== this.#semaphore) return;
    this.#lives = Math.max(this.#lives, event.life);
    const place = this.#places.get(event.leaseId);
    if (event.did === "requested" && !place)
      this.#places.set(event.leaseId, { turn: event.turn, isolate: event.isolate, life: event.life });
    if (event.did === "granted" && event.isHandedOn) this.#handedOn++;
    if (event.did === "granted" && place) place.granted ??= { fence: event.fence, life: event.life };
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
      mostPassed: Math.max(0, ...inOneLife.flatMap(countPasses)),
      handedOn: this.#handedOn,
      overtaken: timesOvertaken.filter(Boolean).length,
      maxOvertakers: Math.max(0, ...timesOvertaken),
      lives: this.#lives,
    };
  }
}

/** For each call, in the order of the requests, how many later ones of another isolate were granted before it. */
const countPasses = (calls: (Place & { grant: { fence: number } })[]): number[] =>
  calls.map(
    ({ isolate, grant }, place) =>
      calls.slice(place + 1).filter((later) => later.isolate !== isolate && later.grant.fence < grant.fence)
        .length,
  );

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
