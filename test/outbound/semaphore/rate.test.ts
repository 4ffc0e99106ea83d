/** The rate is never exceeded over any time, and no call waits longer than it must. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { dueAfterCall, rateAllowsAt } from "../../../src/outbound/semaphore/rate.ts";
import type { Rate } from "../../../src/outbound/settings.ts";

const EPSILON = 1e-6;
const rates = fc.record({
  perSecond: fc.oneof(fc.integer({ min: 1, max: 2000 }), fc.double({ min: 0.01, max: 2000, noNaN: true })),
  burst: fc.integer({ min: 1, max: 50 }),
});
/** A time like today's, at which fractions of a millisecond are already coarse. */
const START_MS = 1.8e12;

/** The calls that the rate allows, of calls at these times. */
function allowed(rate: Rate, timesMs: number[]): number[] {
  let dueAtMs = 0;
  return timesMs.filter((nowMs) => {
    if (rateAllowsAt(rate, dueAtMs) > nowMs) return false;
    dueAtMs = dueAfterCall(rate, dueAtMs, nowMs);
    return true;
  });
}

describe("a burst of 3 at 10 a second", () => {
  const rate: Rate = { perSecond: 10, burst: 3 };

  test("allows three calls at once, then one every 100 ms", () => {
    const everyMs = [...Array(501).keys()].map((ms) => START_MS + ms);
    const atOnce = [START_MS, START_MS, ...everyMs];
    expect(allowed(rate, atOnce).map((ms) => ms - START_MS)).toEqual([0, 0, 0, 100, 200, 300, 400, 500]);
  });

  test("allows a whole burst again after a rest, but no more", () => {
    const times = [0, 0, 0, 0, 60_000, 60_000, 60_000, 60_000].map((ms) => START_MS + ms);
    expect(allowed(rate, times).map((ms) => ms - START_MS)).toEqual([0, 0, 0, 60_000, 60_000, 60_000]);
  });
});

test("over any time t, at most burst + t × rate calls are allowed", () => {
  fc.assert(
    fc.property(rates, fc.array(fc.nat({ max: 300 }), { maxLength: 200 }), (rate, gapsMs) => {
      let atMs = START_MS;
      const calls = allowed(
        rate,
        gapsMs.map((gapMs) => (atMs += gapMs)),
      );
      for (const [i, fromMs] of calls.entries()) {
        for (const [j, toMs] of calls.entries()) {
          if (j < i) continue;
          const max = rate.burst + ((toMs - fromMs) * rate.perSecond) / 1000;
          expect(j - i + 1).toBeLessThanOrEqual(max * (1 + EPSILON) + EPSILON);
        }
      }
    }),
    { numRuns: 300 },
  );
});

test("a caller that calls as soon as it may makes n calls in the time that n - burst take at the rate", () => {
  fc.assert(
    fc.property(rates, fc.integer({ min: 1, max: 200 }), (rate, calls) => {
      let [dueAtMs, nowMs] = [0, START_MS];
      for (let call = 0; call < calls; call++) {
        nowMs = Math.max(nowMs, rateAllowsAt(rate, dueAtMs));
        dueAtMs = dueAfterCall(rate, dueAtMs, nowMs);
      }
      const idealMs = (Math.max(0, calls - rate.burst) * 1000) / rate.perSecond;
      expect(Math.abs(nowMs - START_MS - idealMs)).toBeLessThan(1);
    }),
    { numRuns: 1000 },
  );
});
