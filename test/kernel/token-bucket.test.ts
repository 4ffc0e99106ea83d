import * as fc from "fast-check";
import { expect, test } from "vitest";
import { TokenBucket } from "../../src/kernel/token-bucket.ts";

const takes = fc.array(
  fc.record({ afterMs: fc.nat({ max: 3_000 }), count: fc.integer({ min: 1, max: 50 }) }),
  { minLength: 1, maxLength: 60 },
);
const rates = fc.oneof(fc.integer({ min: 1, max: 100 }), fc.double({ min: 0.1, max: 5, noNaN: true }));

test("in any time it gives no more than the rate, and what it held", () => {
  fc.assert(
    fc.property(rates, takes, (perSecond, all) => {
      const bucket = new TokenBucket();
      let nowMs = 1_000_000;
      const given = all.map(({ afterMs, count }) => {
        nowMs += afterMs;
        return { atMs: nowMs, given: bucket.take(count, perSecond, nowMs).given };
      });
      for (const [i, { atMs: fromMs }] of given.entries()) {
        let sum = 0;
        for (const { atMs, given: some } of given.slice(i)) {
          sum += some;
          expect(sum).toBeLessThanOrEqual(
            Math.max(1, perSecond) + ((atMs - fromMs) / 1_000) * perSecond + 1e-6,
          );
        }
      }
    }),
    { numRuns: 2_000 },
  );
});

test("whoever comes again when it says gets one, and not a millisecond earlier than a rounding", () => {
  fc.assert(
    fc.property(rates, takes, (perSecond, all) => {
      const bucket = new TokenBucket();
      let nowMs = 1_000_000;
      for (const { afterMs, count } of all) {
        nowMs += afterMs;
        const { given, retryAfterMs } = bucket.take(count, perSecond, nowMs);
        if (given === count) continue;
        expect(retryAfterMs).toBeGreaterThan(0);
        nowMs += retryAfterMs;
        expect(bucket.take(1, perSecond, nowMs).given).toBe(1);
      }
    }),
    { numRuns: 1_000 },
  );
});

test("a clock that goes back gives nothing twice", () => {
  const bucket = new TokenBucket();
  expect(bucket.take(10, 5, 10_000).given).toBe(5);
  expect(bucket.take(10, 5, 4_000).given).toBe(0);
  expect(bucket.take(10, 5, 10_000).given).toBe(0);
  expect(bucket.take(10, 5, 10_400).given).toBe(2);
});
