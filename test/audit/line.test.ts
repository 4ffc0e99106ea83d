import * as fc from "fast-check";
import { expect, test } from "vitest";
import { firstKeyAt, newKey, timeOf } from "../../src/audit/line.ts";

test("a key has the time at which it was made, and keys are in that order", () => {
  const beforeMs = Date.now();
  const keys = Array.from({ length: 1_000 }, newKey);
  expect(keys).toEqual(keys.toSorted());
  expect(new Set(keys).size).toBe(1_000);
  for (const key of keys) expect(timeOf(key)).toBeGreaterThanOrEqual(beforeMs);
  expect(keys.every((key) => key >= firstKeyAt(beforeMs))).toBe(true);
});

test("the first key of a time stands before those of that time, and after those of any earlier time", () => {
  const time = fc.integer({ min: 0, max: 2 ** 48 - 1 });
  fc.assert(
    fc.property(time, time, (a, b) => {
      const key = `${firstKeyAt(a)}-7000-8000-000000000000`;
      expect(timeOf(key)).toBe(a);
      expect(key >= firstKeyAt(b)).toBe(a >= b);
    }),
  );
});
