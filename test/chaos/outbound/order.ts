/**
 * In which order calls requested a permit, and in which they got it, as the semaphore itself logs it (worker.ts).
 *
 * The promise is about callers that wait at the same time. A crash drops all of them from the queue, and one that
 * comes back after the grace period may find that others have passed it. So there are two measures:
 *
 *     passed      among calls that first requested, and were first granted, a permit in the same life of the object: by
 *                 how many calls of another isolate that requested theirs later, and have a lower fence. The setting
 *                 `max_passes` limits it. Only those without a key count that take one permit: the others take turns.
 *     turns       the same, of calls with a limit key that had to wait: from when it was the first of its key, how often
 *                 each other key had its turn before it.
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
      key: z.string().optional(),
      weight: z.number(),
      after: z.number().optional(),
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
  key?: string | undefined;
  weight: number;
  /** The highest fence when it had to wait. */
  after?: number | undefined;
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
  /** How often one key had its turn before another had one, at most; and how many calls were looked at. */
  mostTurns: number;
  inTurns: number;
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
    if (event.did === "requested" && !place) {
      const { turn, isolate, key, weight, after, life } = event;
      this.#places.set(event.leaseId, { turn, isolate, key, weight, after, life });
    }
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
    const turns = inOneLife.flatMap(countTurns);
    const timesOvertaken = countOvertakers(granted.map(({ grant }) => grant.fence));
    return {
      granted: granted.length,
      grantedInOneLife: inOneLife.reduce((sum, calls) => sum + calls.length, 0),
      mostPassed: Math.max(0, ...inOneLife.flatMap((calls) => countPasses(calls.filter(isPlain)))),
      mostTurns: Math.max(0, ...turns),
      inTurns: turns.length,
      handedOn: this.#handedOn,
      overtaken: timesOvertaken.filter(Boolean).length,
      maxOvertakers: Math.max(0, ...timesOvertaken),
      lives: this.#lives,
    };
  }
}

type Granted = Place & { grant: { fence: number } };

const isPlain = ({ key, weight }: Place) => key === undefined && weight === 1;

/** For each call with a key that had to wait, how often any other key had its turn meanwhile. */
const countTurns = (calls: Granted[]): number[] =>
  calls.flatMap(({ key, after, grant: { fence } }) => {
    if (key === undefined || after === undefined) return [];
    const before = calls.filter((other) => other.grant.fence < fence);
    const own = before.filter((other) => other.key === key).map((other) => other.grant.fence);
    const since = Math.max(after, ...own);
    const turns = before.filter((other) => other.grant.fence > since && other.key !== undefined);
    const counts = Map.groupBy(turns, (other) => other.key);
    return Math.max(0, ...[...counts.values()].map(({ length }) => length));
  });

/** For each call, in the order of the requests, how many later ones of another isolate were granted before it. */
const countPasses = (calls: Granted[]): number[] =>
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
