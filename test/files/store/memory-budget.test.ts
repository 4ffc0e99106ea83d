/** Shares of an isolate's memory: never more than there is, each in its turn, none lost. */
import * as fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { MemoryBudget } from "../../../src/files/store/memory-budget.ts";

const isPending = async (promise: Promise<unknown>) =>
  (await Promise.race([promise.then(() => "there"), scheduler.wait(150).then(() => "pending")])) ===
  "pending";

test("what is there is granted at once, and what is not waits for its turn", async () => {
  const budget = new MemoryBudget(10);
  const first = await budget.take(6);
  const second = budget.take(6);
  const third = budget.take(1);
  expect(await isPending(second)).toBe(true);
  // It would fit, but the second came before.
  expect(await isPending(third)).toBe(true);
  expect(budget.takeNow(1)).toBeUndefined();
  first.release();
  (await second).release();
  (await third).release();
  expect(budget.takeNow(10)).toBeDefined();
});

test("more than the limit is granted when nobody has any", async () => {
  const budget = new MemoryBudget(10);
  const share = await budget.take(20);
  expect(budget.takeNow(1)).toBeUndefined();
  share.release();
  expect(budget.takeNow(1)).toBeDefined();
});

test("who waits too long is told to come again, and those after it have their turn", async () => {
  const budget = new MemoryBudget(10, 100);
  const first = await budget.take(9);
  await expect(budget.take(2)).rejects.toMatchObject({ kind: "uploads-busy" });
  first.release();
  expect(budget.takeNow(10)).toBeDefined();
});

test("no bytes are always there", async () => {
  const budget = new MemoryBudget(10);
  await budget.take(10);
  (await budget.take(0)).release();
});

test("who is stopped waits no longer, and those after it have their turn", async () => {
  const budget = new MemoryBudget(10);
  const first = await budget.take(10);
  const controller = new AbortController();
  const stopped = budget.take(10, controller.signal);
  const next = budget.take(10);
  controller.abort();
  (await stopped).release();
  expect(await isPending(next)).toBe(true);
  first.release();
  (await next).release();
});

describe("when the runtime ends an invocation,", () => {
  const lost = () => vi.spyOn(performance, "now").mockReturnValue(performance.now() + 60_000);

  test("its share is free again after a while", async () => {
    const budget = new MemoryBudget(10);
    const timers = vi.spyOn(globalThis, "setInterval").mockReturnValue(0 as unknown as NodeJS.Timeout);
    await budget.take(10);
    timers.mockRestore();
    expect(budget.takeNow(10)).toBeUndefined();
    lost();
    expect(budget.takeNow(10)).toBeDefined();
    vi.restoreAllMocks();
  });

  test("others keep theirs: each gives signs of life", async () => {
    const budget = new MemoryBudget(10);
    const share = await budget.take(10);
    lost();
    await scheduler.wait(2_500);
    expect(budget.takeNow(1)).toBeUndefined();
    share.release();
    vi.restoreAllMocks();
  });
});

test("whatever is asked for, no more is held than there is, and everybody has a turn", async () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 10 }), { minLength: 1, maxLength: 12 });
  await fc.assert(
    fc.asyncProperty(sizes, async (all) => {
      const budget = new MemoryBudget(10);
      let held = 0;
      await Promise.all(
        all.map(async (bytes) => {
          const share = await budget.take(bytes);
          held += bytes;
          expect(held).toBeLessThanOrEqual(10);
          await scheduler.wait(1);
          held -= bytes;
          share.release();
        }),
      );
    }),
    { numRuns: 10 },
  );
});
