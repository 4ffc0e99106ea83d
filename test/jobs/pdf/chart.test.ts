import { describe, expect, test } from "vitest";
import { shortNumber, ticksFor } from "../../../src/jobs/pdf/chart.ts";

describe("ticks", () => {
  test.each<[number[], boolean, number[]]>([
    [[3, 97], true, [0, 20, 40, 60, 80, 100]],
    [[-20, 200], true, [-50, 0, 50, 100, 150, 200]],
    [[101, 109], false, [100, 102, 104, 106, 108, 110]],
    [[0.1, 0.3], true, [0, 0.1, 0.2, 0.3]],
    [[5, 5], false, [0, 1, 2, 3, 4, 5]],
    [[0], true, [0, 0.2, 0.4, 0.6, 0.8, 1]],
    [[], false, [0, 0.2, 0.4, 0.6, 0.8, 1]],
  ])("for %j", (values, withZero, expected) => expect(ticksFor(values, withZero)).toEqual(expected));

  test("enclose the values, however large or small these are", () => {
    for (const values of [
      [1e-300, 2e-300],
      [-1e308, 1e308],
      [1e15, 1e15 + 4],
      [-3, -1],
      [0.1 + 0.2, 0.3],
    ]) {
      const ticks = ticksFor(values, false);
      expect(ticks.length).toBeGreaterThanOrEqual(2);
      expect(ticks.length).toBeLessThanOrEqual(20);
      expect(ticks.every(Number.isFinite)).toBe(true);
    }
  });
});

test("numbers are short", () => {
  expect([0, 0.5, 999, 1_000, 34_500, 1_234_567, -2e9, 3e12, 1e20, 1e-7].map(shortNumber)).toEqual([
    "0",
    "0.5",
    "999",
    "1 k",
    "34.5 k",
    "1.235 M",
    "-2 G",
    "3 T",
    "1.0e+20",
    "1.0e-7",
  ]);
});
