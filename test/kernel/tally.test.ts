/** Tallies: their keys, and in which bucket a duration is. */
import { expect, test } from "vitest";
import { addTallies, BOUNDS_S, durationKeys } from "../../src/kernel/tally.ts";

test.each([
  [-5, "0", 0],
  [0, "0", 0],
  [10, "0", 0.01],
  [10.1, "1", 0.0101],
  [7_200_000, String(BOUNDS_S.length - 1), 7_200],
  [7_200_001, String(BOUNDS_S.length), 7_200.001],
])("%d ms are in bucket %s, as %d seconds", (ms, bucket, seconds) => {
  expect(durationKeys("wait|a", ms)).toEqual([
    [`wait|a|${bucket}`, 1],
    ["wait|a|sum", seconds],
  ]);
});

test("tallies are added key by key", () => {
  expect(addTallies([{ a: 1, b: 2 }, { b: 3 }, {}])).toEqual({ a: 1, b: 5 });
});
