/** The rate: never more than it says over any time, and never less than it could be. */

import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { dueAfterCall, rateAllowsAt } from "../../../src/outbound/semaphore/rate.ts";
import { type Rate } from "../../../src/outbound/upstreams.ts";

const LITTLE = 1e-6;
const rates = fc.record({
  perSecond: fc.oneof(fc.integer({ min: 1, max: 2000 }), fc.double({ min: 0.01, max: 2000, noNaN: true })),
  burst: fc.integer({ min: 1, max: 50 }),
});
/** A start like today's, where fractions of a millisecond are already coarse. */
const START_MS = 1.8e12;

/** Of calls that come at these times, those that go: the ones that find the rate in their favour. */
function passing(rate: Rate, timesMs: number[]): number[] {
  let dueAtMs = 0;
  return timesMs.filter((nowMs) => {
    if (rateAllowsAt(rate, dueAtMs) > nowMs) return false;
    dueAtMs = dueAfterCall(rate, dueAtMs, nowMs);
    return true;
  });
}

describe("a burst of 3 at 10 a second", () => {
  const rate: Rate = { perSecond: 10, burst: 3 };

  test("lets three calls go at once, and then one every 100 ms", () => {
    const everyMs = [...Array(501).keys()].map((ms) => START_MS + ms);
    const atOnce = [START_MS, START_MS, ...everyMs];
    expect(passing(rate, atOnce).map((ms) => ms - START_MS)).toEqual([0, 0, 0, 100, 200, 300, 400, 500]);
  });

  test("is there again after a rest, but not saved up beyond", () => {
    const times = [0, 0, 0, 0, 60_000, 60_000, 60_000, 60_000].map((ms) => START_MS + ms);
    expect(passing(rate, times).map((ms) => ms - START_MS)).toEqual([0, 0, 0, 60_000, 60_000, 60_000]);
  });
});

test("over any time t, no more than burst + t × rate calls go", () => {
  fc.assert(
    fc.property(rates, fc.array(fc.nat({ max: 300 }), { maxLength: 200 }), (rate, gapsMs) => {
      let atMs = START_MS;
      const gone = passing(
        rate,
        gapsMs.map((gapMs) => (atMs += gapMs)),
      );
      for (const [i, fromMs] of gone.entries()) {
        for (const [j, toMs] of gone.entries()) {
          if (j < i) continue;
          const most = rate.burst + ((toMs - fromMs) * rate.perSecond) / 1000;
          expect(j - i + 1).toBeLessThanOrEqual(most * (1 + LITTLE) + LITTLE);
        }
      }
    }),
    { numRuns: 300 },
  );
});

test("whoever goes as soon as allowed makes n calls in the time that n - burst take at the rate", () => {
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
