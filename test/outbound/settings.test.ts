/** How the limits of an upstream are divided among its shards. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type Configured,
  type Override,
  partOf,
  settingsOf,
  whyIndivisible,
} from "../../src/outbound/settings.ts";

const CONFIGURED: Configured = {
  shards: 1,
  concurrency: 5,
  rate: undefined,
  adaptive: false,
  maxWaiters: 1000,
  maxWaitMs: 30_000,
  maxPasses: undefined,
  maxPassMs: 1000,
};

const shards = fc.integer({ min: 1, max: 64 });
const whole = fc.nat(100_000);
const rate = fc.option(
  fc.record({
    perSecond: fc.double({ min: 0.000_01, max: 100_000, noNaN: true }),
    burst: fc.integer({ min: 1, max: 100_000 }),
  }),
  { nil: undefined },
);
const limits = fc.record({ concurrency: fc.integer({ min: 1, max: 64_000 }), rate });

const each = (configured: Configured, override: Override = {}) =>
  Array.from({ length: configured.shards }, (_, shard) => settingsOf(configured, override, shard));
const sum = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0);
const TINY = 1 + 1e-12;

test("the parts of a number sum to it, and differ by at most one, the larger ones first", () => {
  fc.assert(
    fc.property(whole, shards, (number, count) => {
      const parts = Array.from({ length: count }, (_, shard) => partOf(number, shard, count));
      expect(sum(parts)).toBe(number);
      expect((parts[0] ?? 0) - (parts.at(-1) ?? 0)).toBeLessThanOrEqual(1);
      expect(parts).toEqual(parts.toSorted((a, b) => b - a));
    }),
  );
});

test("one shard has everything", () => {
  fc.assert(
    fc.property(limits, limits, whole, (configured, override, maxWaiters) => {
      const [only] = each({ ...CONFIGURED, ...configured, maxWaiters }, override);
      expect(only).toMatchObject({ concurrency: override.concurrency, maxWaiters });
      expect(only?.rate).toEqual(override.rate ?? configured.rate);
    }),
  );
});

describe("the shards together", () => {
  test("have exactly the permits and the places in the queue of the upstream, and no more of its rate", () => {
    fc.assert(
      fc.property(limits, shards, whole, (configured, count, maxWaiters) => {
        fc.pre(whyIndivisible(configured, count) === undefined);
        const all = each({ ...CONFIGURED, ...configured, shards: count, maxWaiters });
        expect(sum(all.map(({ concurrency }) => concurrency))).toBe(configured.concurrency);
        expect(sum(all.map((one) => one.maxWaiters))).toBe(maxWaiters);
        if (count <= configured.concurrency)
          expect(all.every(({ concurrency }) => concurrency >= 1)).toBe(true);
        const limit = configured.rate;
        expect(all.every((one) => (one.rate === undefined) === (limit === undefined))).toBe(true);
        if (!limit) return;
        expect(sum(all.map((one) => one.rate?.burst ?? 0))).toBe(limit.burst);
        expect(all.every((one) => (one.rate?.burst ?? 0) >= 1)).toBe(true);
        expect(sum(all.map((one) => one.rate?.perSecond ?? 0))).toBeLessThanOrEqual(limit.perSecond * TINY);
      }),
    );
  });

  test("have no more than the larger of two limits while a change is on its way to them", () => {
    const reached = fc.array(fc.boolean(), { minLength: 64, maxLength: 64 });
    fc.assert(
      fc.property(limits, limits, shards, reached, (before, after, count, hasIt) => {
        const configured = { ...CONFIGURED, ...before, shards: count };
        const parts = hasIt
          .slice(0, count)
          .map((has, shard) => settingsOf(configured, has ? after : {}, shard));
        const larger = Math.max(before.concurrency, after.concurrency);
        expect(sum(parts.map(({ concurrency }) => concurrency))).toBeLessThanOrEqual(larger);
        const rates = [before.rate, after.rate ?? before.rate];
        if (rates.includes(undefined)) return;
        const max = (of: "burst" | "perSecond") => Math.max(...rates.map((one) => one?.[of] ?? 0));
        const total = (of: "burst" | "perSecond") => sum(parts.map((one) => one.rate?.[of] ?? 0));
        expect(total("burst")).toBeLessThanOrEqual(max("burst"));
        expect(total("perSecond")).toBeLessThanOrEqual(max("perSecond") * TINY);
      }),
    );
  });
});

describe("no permits are", () => {
  const FOUR = { ...CONFIGURED, shards: 4, concurrency: 8 };
  const permits = (configured: Configured, override?: Override) =>
    each(configured, override).map(({ concurrency }) => concurrency);

  test("at the shards beyond a limit that an operator has lowered below their number", () => {
    expect([permits(FOUR), permits(FOUR, { concurrency: 2 })]).toEqual([
      [2, 2, 2, 2],
      [1, 1, 0, 0],
    ]);
  });

  test("at the shards beyond the burst, which is left from a time when there were fewer", () => {
    expect(permits(FOUR, { rate: { perSecond: 10, burst: 3 } })).toEqual([2, 2, 2, 0]);
  });

  test("at an object that is no shard any longer", () => {
    expect(settingsOf(FOUR, {}, undefined)).toMatchObject({ concurrency: 0, maxWaiters: 0 });
  });
});
