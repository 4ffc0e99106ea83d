import * as fc from "fast-check";
import { expect, test } from "vitest";
import { PRIORITY_HEAD_START_MS, queuedSinceMs, rankOf } from "../../../src/tasks/ledger/rank.ts";
import { MAX_PRIORITY } from "../../../src/tasks/types/define.ts";

test("a higher priority has a lower rank; within a priority, the earlier task does", () => {
  expect([rankOf(0, 5), rankOf(0, 6)]).toEqual([5, 6]);
  expect([rankOf(1, 5), rankOf(MAX_PRIORITY, 5)]).toEqual([5 - 60_000, 5 - 540_000]);
});

test("no task starves: a later one passes it only with a higher priority and within that head start", () => {
  const arrival = fc.record({ priority: fc.nat(9), atMs: fc.nat(20 * PRIORITY_HEAD_START_MS) });
  const property = fc.property(arrival, arrival, (first, later) => {
    fc.pre(later.atMs > first.atMs);
    const passes = rankOf(later.priority, later.atMs) < rankOf(first.priority, first.atMs);
    const headStartMs = (later.priority - first.priority) * PRIORITY_HEAD_START_MS;
    expect(passes).toBe(later.atMs - first.atMs < headStartMs);
  });
  fc.assert(property, { numRuns: 1_000 });
});

test("a rank tells since when its task has been queued", () => {
  const property = fc.property(
    fc.nat(MAX_PRIORITY),
    fc.integer({ min: 0, max: 8.64e15 }),
    (priority, atMs) => {
      expect(queuedSinceMs(priority, rankOf(priority, atMs))).toBe(atMs);
    },
  );
  fc.assert(property);
});
