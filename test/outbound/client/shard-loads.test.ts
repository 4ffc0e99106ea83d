/** Which shard a call goes to: the rule, and how well it spreads the calls of several isolates over the shards. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { NO_PERMITS_MS, ShardLoads } from "../../../src/outbound/client/shard-loads.ts";
import { Random } from "../../chaos/random.ts";

/** Draws these, one after the other. */
const drawing = (...numbers: number[]) => {
  const left = [...numbers];
  return () => left.shift() ?? 0;
};
const FIRST_TWO = [0, 0] as const; // shard 0, and of the rest the first: shard 1
const loads = (...permits: number[]) => new ShardLoads(permits);
const begin = (all: ShardLoads, shard: number, calls: number) => {
  for (let i = 0; i < calls; i++) all.begin(shard);
};
const hear = (all: ShardLoads, shard: number, permits: number, calls: number, nowMs = 0) =>
  all.hear(shard, all.send(shard), { permits, calls }, nowMs);

describe("of two shards, a call goes", () => {
  test("to the one that was drawn first, if there is no difference", () => {
    expect(loads(5, 5).choose(0, drawing(0, 0))).toBe(0);
    expect(loads(5, 5).choose(0, drawing(0.5, 0))).toBe(1);
  });

  test("to the one where fewer calls are under way, those that wait included, until they end", () => {
    const all = loads(10, 10);
    begin(all, 0, 3);
    begin(all, 1, 2);
    expect(all.choose(0, drawing(...FIRST_TWO))).toBe(1);
    all.end(0);
    all.end(0);
    expect(all.choose(0, drawing(0.5, 0))).toBe(0);
  });

  test("to the one with fewer calls for each permit, as configured and as it said last", () => {
    const all = loads(4, 2);
    begin(all, 0, 2);
    begin(all, 1, 2);
    expect(all.choose(0, drawing(0.9, 0))).toBe(0);
    hear(all, 0, 1, 4);
    expect(all.choose(0, drawing(...FIRST_TWO))).toBe(1);
  });

  test("by chance, if all that differs is that one has a permit more", () => {
    const all = loads(251, 250);
    for (const calls of [0, 1]) {
      expect(all.choose(0, drawing(...FIRST_TWO))).toBe(0);
      expect(all.choose(0, drawing(0.9, 0))).toBe(1);
      begin(all, 0, calls + 1);
      begin(all, 1, calls + 1);
    }
  });

  test("by no calls whose invocations have died", () => {
    const all = loads(10, 10);
    begin(all, 0, 100);
    begin(all, 1, 2);
    expect(all.choose(0, drawing(...FIRST_TWO))).toBe(1);
    hear(all, 0, 10, 1);
    expect(all.choose(0, drawing(0.5, 0))).toBe(0);
  });

  test("by those that have begun while the answer was on its way", () => {
    const all = loads(10, 10);
    begin(all, 0, 1);
    const sent = all.send(0);
    begin(all, 0, 2);
    all.hear(0, sent, { permits: 10, calls: 1 }, 0);
    expect(all.send(0)).toBe(3);
  });

  test("to the other, while one does not respond, however busy that is", () => {
    const all = loads(10, 10);
    begin(all, 1, 50);
    all.avoid(0, 1_000);
    expect(all.choose(999, drawing(...FIRST_TWO))).toBe(1);
    expect(all.choose(1_000, drawing(...FIRST_TWO))).toBe(0);
  });
});

describe("a shard without permits", () => {
  test("is passed over, and so are those after it, for a while", () => {
    const all = loads(1, 1, 1, 1);
    hear(all, 2, 0, 0);
    for (let i = 0; i < 100; i++) expect(all.choose(1, Math.random)).toBeLessThan(2);
    expect(all.choose(NO_PERMITS_MS, drawing(0.99, 0))).toBe(3);
  });

  test("is one of the others again when one after it says that it has some", () => {
    const all = loads(1, 1, 1, 1);
    hear(all, 1, 0, 0);
    hear(all, 2, 1, 1, 2);
    expect([0, 1, 2, 3].map((shard) => all.mayHavePermits(shard, 3))).toEqual([true, true, true, false]);
  });
});

test("a choice is never one that was tried, always one that exists, and never the worse of the two that were drawn", () => {
  const shards = fc.array(
    fc.record({ permits: fc.integer({ min: 1, max: 9 }), calls: fc.nat(20), isTried: fc.boolean() }),
    { minLength: 1, maxLength: 64 },
  );
  const draw = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
  fc.assert(
    fc.property(shards, draw, draw, (each, one, other) => {
      const all = loads(...each.map(({ permits }) => permits));
      for (const [shard, { calls }] of each.entries()) begin(all, shard, calls);
      const tried = new Set([...each.keys()].filter((shard) => each[shard]?.isTried));
      const left = [...each.keys()].filter((shard) => !tried.has(shard));
      const chosen = all.choose(1, drawing(one, other), tried);
      expect(chosen === undefined).toBe(left.length === 0);
      if (chosen === undefined) return;
      // Without calls, the one that was drawn first is chosen.
      const idle = () => loads(...each.map(({ permits }) => permits));
      const first = idle().choose(1, drawing(one, other), tried) ?? -1;
      const second = idle().choose(1, drawing(other), new Set([...tried, first])) ?? first;
      expect(left).toEqual(expect.arrayContaining([first, second]));
      const { calls = 0, permits = 1 } = each[second] ?? {};
      const ofFirst = (each[first]?.calls ?? 0) / (each[first]?.permits ?? 1);
      expect(chosen).toBe((calls + 1) / permits <= ofFirst ? second : first);
    }),
    { numRuns: 5_000 },
  );
});

const SHARDS = 8;
const HOLD_MS = 100;
/** So many that another seed says nearly the same. */
const CALLS = 40_000;

/**
 * A fleet, in steps of 1 ms: calls come at random to isolates, and hold a permit for 100 ms on average. Returns how many of
 * a hundred calls found all permits of their shard held.
 */
function waitsOfAHundred(
  pick: "better of two" | "one at random",
  { isolates, permits, utilisation }: { isolates: number; permits: number; utilisation: number },
): number {
  const random = new Random(7, pick);
  const next = () => random.next();
  const views = Array.from({ length: isolates }, () =>
    loads(...Array.from({ length: SHARDS }, () => permits)),
  );
  const held = Array.from({ length: SHARDS }, () => 0);
  const ends = new Map<number, (() => void)[]>();
  let [made, waited] = [0, 0];
  for (let nowMs = 0; made < CALLS; nowMs++) {
    for (const end of ends.get(nowMs) ?? []) end();
    for (let left = poisson((utilisation * SHARDS * permits) / HOLD_MS, next); left > 0; left--) {
      const view = views[random.between(0, isolates - 1)];
      const shard = pick === "better of two" ? view?.choose(nowMs, next) : random.between(0, SHARDS - 1);
      if (!view || shard === undefined) throw new Error("There is no shard.");
      made++;
      view.begin(shard);
      held[shard] = (held[shard] ?? 0) + 1;
      if (held[shard] > permits) waited++;
      const endsAtMs = nowMs + Math.ceil(-HOLD_MS * Math.log(1 - next()));
      const end = () => {
        held[shard] = (held[shard] ?? 0) - 1;
        view.end(shard);
      };
      ends.set(endsAtMs, [...(ends.get(endsAtMs) ?? []), end]);
    }
  }
  return (100 * waited) / made;
}

/** How many come in a step, if the mean is this (Knuth). */
function poisson(mean: number, next: () => number): number {
  let [count, product] = [0, next()];
  for (; product > Math.exp(-mean); count++) product *= next();
  return count;
}

test.each([
  { isolates: 1, permits: 25, utilisation: 0.8 },
  { isolates: 10, permits: 25, utilisation: 0.8 },
  { isolates: 10, permits: 250, utilisation: 0.9 },
  { isolates: 50, permits: 250, utilisation: 0.9 },
])("%j: far fewer calls wait without need than with one shard at random", (fleet) => {
  const blind = waitsOfAHundred("one at random", fleet);
  expect(blind).toBeGreaterThan(2);
  expect(waitsOfAHundred("better of two", fleet)).toBeLessThan(blind / 2);
});

test("shards are drawn as often as they have permits", () => {
  const all = loads(2, 2, 1, 1);
  const random = new Random(1, "draws");
  const counts = [0, 0, 0, 0];
  for (let i = 0; i < 6_000; i++) {
    const shard = all.choose(0, () => random.next()) ?? 0;
    counts[shard] = (counts[shard] ?? 0) + 1;
  }
  for (const [shard, count] of counts.entries())
    expect(count / (shard < 2 ? 2_000 : 1_000)).toBeCloseTo(1, 0.9);
});

test("more isolates than calls: no worse than one shard at random", () => {
  const fleet = { isolates: 2_000, permits: 25, utilisation: 0.8 };
  const blind = waitsOfAHundred("one at random", fleet);
  expect(waitsOfAHundred("better of two", fleet)).toBeLessThan(blind * 1.1);
});
