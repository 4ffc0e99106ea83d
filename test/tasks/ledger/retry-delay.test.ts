import * as fc from "fast-check";
import { expect, test } from "vitest";
import { retryDelayMs } from "../../../src/tasks/ledger/retry-delay.ts";

const policy = fc
  .record({
    retries: fc.nat(20),
    minDelayMs: fc.integer({ min: 0, max: 10_000 }),
    more: fc.nat(1_000_000),
    factor: fc.double({ min: 1, max: 10, noNaN: true }),
  })
  .map(({ more, ...rest }) => ({ ...rest, maxDelayMs: rest.minDelayMs + more }));
const random = fc.double({ min: 0, max: 1, noNaN: true });

test("a retry delay is between half of the full delay and all of it, in whole milliseconds, and never shrinks", () => {
  const property = fc.property(policy, fc.integer({ min: 1, max: 100 }), random, (retry, attempt, chance) => {
    const delayMs = retryDelayMs(retry, attempt, chance);
    const fullMs = retryDelayMs(retry, attempt, 0);
    expect(Number.isSafeInteger(delayMs)).toBe(true);
    expect(delayMs).toBeGreaterThanOrEqual(Math.floor(fullMs / 2));
    expect(delayMs).toBeLessThanOrEqual(fullMs);
    expect(fullMs).toBeGreaterThanOrEqual(retry.minDelayMs);
    expect(fullMs).toBeLessThanOrEqual(retry.maxDelayMs);
    expect(retryDelayMs(retry, attempt + 1, chance)).toBeGreaterThanOrEqual(delayMs);
  });
  fc.assert(property, { numRuns: 1_000 });
  const usual = { retries: 9, minDelayMs: 1_000, maxDelayMs: 60_000, factor: 2 };
  expect([1, 2, 3, 9].map((attempt) => retryDelayMs(usual, attempt, 0))).toEqual([1e3, 2e3, 4e3, 6e4]);
});
