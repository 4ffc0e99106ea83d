import { expect, test } from "vitest";
import { durationMs } from "../../../src/tasks/types/duration.ts";

test.each([
  [0, 0],
  [1_500, 1_500],
  [-5, 0],
  ["500ms", 500],
  ["30s", 30_000],
  ["5m", 300_000],
  ["1.5h", 5_400_000],
  ["366d", 366 * 86_400_000],
])("%j is %i ms", (duration, ms) => {
  expect(durationMs(duration, "It")).toBe(ms);
});

test.each([Number.NaN, Number.POSITIVE_INFINITY, "5", "5 m", "m", "-5m", "5M", "1e3s", "", "367d"])(
  "%j is a RangeError",
  (duration) => {
    expect(() => durationMs(duration, "It")).toThrow(RangeError);
  },
);
