/** How fast tasks of a type may begin. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { dueAfter, rateAllows, rateAllowsAt } from "../../../src/tasks/ledger/rate.ts";
import { T0 } from "../../support/ledgers.ts";

const rate = fc.record({
  perSecond: fc.constantFrom(0.01, 0.3, 1, 7, 50, 1_000),
  burst: fc.integer({ min: 1, max: 40 }),
});

/** Begins as many as are allowed and asked for, whenever somebody asks. Returns when each began. */
function begin(
  of: { perSecond: number; burst: number },
  asks: { afterMs: number; wanted: number }[],
): number[] {
  const begun: number[] = [];
  let [nowMs, dueMs] = [T0, 0];
  for (const { afterMs, wanted } of asks) {
    nowMs += afterMs;
    const count = Math.min(wanted, rateAllows(of, dueMs, nowMs));
    begun.push(...Array<number>(count).fill(nowMs));
    if (count > 0) dueMs = dueAfter(of, dueMs, nowMs, count);
  }
  return begun;
}

const asks = fc.array(fc.record({ afterMs: fc.nat(3_000), wanted: fc.nat(12) }), { maxLength: 15 });

describe("a rate", () => {
  test("lets at most burst + t × perSecond begin over any time t", () => {
    fc.assert(
      fc.property(rate, asks, (of, all) => {
        const begun = begin(of, all);
        const excess = begun.flatMap((fromMs, from) =>
          begun.slice(from).map((toMs, n) => n + 1 - of.burst - ((toMs - fromMs) / 1000) * of.perSecond),
        );
        expect(Math.max(0, ...excess)).toBeLessThanOrEqual(1e-3);
      }),
      { numRuns: 300 },
    );
  });

  test("lets one begin as soon as it says that it will, and none before", () => {
    fc.assert(
      fc.property(rate, fc.integer({ min: 1, max: 40 }), (of, wanted) => {
        const count = Math.min(wanted, rateAllows(of, 0, T0));
        expect(count).toBe(Math.min(wanted, of.burst));
        const dueMs = dueAfter(of, 0, T0, count);
        const openMs = Math.ceil(rateAllowsAt(of, dueMs));
        expect(rateAllows(of, dueMs, openMs)).toBeGreaterThanOrEqual(1);
        expect(rateAllows(of, dueMs, openMs - 1 - 1e-3)).toBe(
          count < of.burst ? rateAllows(of, dueMs, openMs - 1) : 0,
        );
      }),
      { numRuns: 300 },
    );
  });

  test("after a rest, the whole burst may begin", () => {
    expect(
      rateAllows({ perSecond: 1, burst: 5 }, dueAfter({ perSecond: 1, burst: 5 }, 0, T0, 5), T0 + 5_000),
    ).toBe(5);
  });
});
