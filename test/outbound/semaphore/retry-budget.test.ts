/** The retry budget: a tenth of the calls, plus a reserve of ten. */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { RetryBudget } from "../../../src/outbound/semaphore/retry-budget.ts";

const spendAll = (budget: RetryBudget): number => {
  let spent = 0;
  while (budget.spend()) spent++;
  return spent;
};

test("it begins with a reserve of ten, and no more", () => {
  const budget = new RetryBudget();
  expect(budget.left).toBe(10);
  expect(spendAll(budget)).toBe(10);
  expect(budget.left).toBe(0);
});

test("ten calls pay for one retry; nine do not", () => {
  const budget = new RetryBudget();
  spendAll(budget);
  for (let call = 0; call < 9; call++) budget.earn();
  expect(budget.spend()).toBe(false);
  budget.earn();
  expect(budget.left).toBe(1);
  expect([budget.spend(), budget.spend()]).toEqual([true, false]);
});

test("many calls save up no more than the reserve", () => {
  const budget = new RetryBudget();
  for (let call = 0; call < 10_000; call++) budget.earn();
  expect(spendAll(budget)).toBe(10);
});

test("what is kept over a restart is what there was when a call last ended, or a retry was paid for", () => {
  const budget = new RetryBudget();
  budget.spend();
  budget.earn();
  expect(budget.kept).toBe(90);
  budget.keep();
  expect(budget.kept).toBe(91);
  const restarted = new RetryBudget(budget.kept);
  expect([restarted.left, spendAll(restarted)]).toEqual([9, 9]);
});

test("when every call fails and wants a retry, exactly a tenth of the calls gets one", () => {
  const budget = new RetryBudget();
  spendAll(budget);
  let retries = 0;
  for (let call = 0; call < 1000; call++) {
    budget.earn();
    retries += spendAll(budget);
  }
  expect(retries).toBe(100);
});

test("over any stretch of any history, retries are at most a tenth of the calls plus the reserve", () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom("call", "retry"), { maxLength: 500 }), (history) => {
      const budget = new RetryBudget();
      let worst = 0; // the most of retries minus a tenth of the calls, over all stretches that end here
      for (const step of history) {
        if (step === "call") {
          budget.earn();
          worst = Math.max(0, worst - 0.1);
        } else if (budget.spend()) worst += 1;
        expect(worst).toBeLessThanOrEqual(10 + 1e-6);
        expect(budget.left).toBeGreaterThanOrEqual(0);
      }
    }),
    { numRuns: 1000 },
  );
});
