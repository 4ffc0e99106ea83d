/** The limits in force: those of the code, an operator's changes, and the part of a shard. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { limitsAt, limitsOf, patched, whyIndivisible } from "../../../src/tasks/ledger/limits.ts";
import { defineTask } from "../../../src/tasks/types/define.ts";

const body = { input: z.object({ customer: z.string() }), run: async () => null };
const free = defineTask({ ...body, name: "limits-free" });
const two = defineTask({ ...body, name: "limits-two", concurrency: 2 });
const keyed = defineTask({
  ...body,
  name: "limits-keyed",
  concurrency: { limit: 3, key: ({ customer }) => customer },
  rate: { perSecond: 2 },
});

describe("what is in force", () => {
  test("is what the code says, unless an operator has changed it", () => {
    expect(limitsOf(two, undefined)).toEqual({
      isPaused: false,
      concurrency: 2,
      isPerKey: false,
      rate: undefined,
    });
    expect(limitsOf(keyed, undefined)).toEqual({
      isPaused: false,
      concurrency: 3,
      isPerKey: true,
      rate: { perSecond: 2, burst: 1 },
    });
    expect(limitsOf(two, { paused: true, concurrency: 7, atMs: 0 })).toMatchObject({
      isPaused: true,
      concurrency: 7,
    });
  });

  test("is nothing for a type that the code no longer has: nobody could resume it", () => {
    expect(limitsOf(undefined, { paused: true, atMs: 0 }).isPaused).toBe(false);
  });

  test("on a shard is the whole if the code limits the type, which is then on one shard", () => {
    for (const index of [0, 3])
      expect(limitsAt(() => ({ index, shards: 4 }), two, { concurrency: 9, atMs: 0 }).concurrency).toBe(9);
  });

  test("for any other type is a part: over all shards the parts are the whole, and no shard is left without", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 12 }), fc.nat(200), (shards, more) => {
        const whole = shards + more;
        const change = { concurrency: whole, rate: { perSecond: 5, burst: whole }, atMs: 0 };
        expect(whyIndivisible(free, change, shards)).toBeUndefined();
        const parts = Array.from({ length: shards }, (_, index) =>
          limitsAt(() => ({ index, shards }), free, change),
        );
        const sum = (values: number[]) => values.reduce((a, b) => a + b, 0);
        expect(sum(parts.map(({ concurrency = 0 }) => concurrency))).toBe(whole);
        expect(sum(parts.map(({ rate }) => rate?.burst ?? 0))).toBe(whole);
        expect(sum(parts.map(({ rate }) => rate?.perSecond ?? 0))).toBeCloseTo(5);
        expect(Math.min(...parts.map(({ concurrency = 0 }) => concurrency))).toBeGreaterThanOrEqual(1);
      }),
      { numRuns: 500 },
    );
  });

  test("cannot be less than the shards, and the refusal says where and why", () => {
    expect(whyIndivisible(free, { concurrency: 3 }, 4)?.at).toBe("json/concurrency");
    expect(whyIndivisible(free, { rate: { perSecond: 9, burst: 1 } }, 4)?.at).toBe("json/rate/burst");
    expect(whyIndivisible(free, { paused: true, concurrency: null, rate: null }, 4)).toBeUndefined();
    expect(whyIndivisible(two, { concurrency: 1 }, 4)).toBeUndefined();
  });
});

describe("a patch", () => {
  const rate = fc.record({ perSecond: fc.constantFrom(1, 5), burst: fc.constantFrom(1, 2) });
  const patch = fc.record(
    {
      paused: fc.constantFrom(true, false, null),
      concurrency: fc.option(fc.integer({ min: 1, max: 9 })),
      rate: fc.option(rate),
    },
    { requiredKeys: [] },
  );

  test("changes what it names, null goes back to the code, and twice is as once", () => {
    fc.assert(
      fc.property(fc.array(patch, { maxLength: 8 }), (patches) => {
        const expected: Record<string, unknown> = {};
        let change: ReturnType<typeof patched>;
        for (const one of patches) {
          Object.assign(expected, one);
          change = patched(patched(change, one, 1), one, 2);
        }
        const left = Object.fromEntries(Object.entries(expected).filter(([, value]) => value));
        expect(change).toEqual(Object.keys(left).length === 0 ? undefined : { ...left, atMs: 2 });
      }),
      { numRuns: 1_000 },
    );
  });
});
