/** How tasks of each type have ended lately. */
import { expect, test } from "vitest";
import { histogram, TypeHistory } from "../../../../src/dashboard/page/lib/type-figures.ts";
import type { TaskLine } from "../../../../src/dashboard/page/lib/types.ts";

const T0 = Date.UTC(2026, 0, 1);
const time = (ms: number | null) => (ms === null ? null : new Date(T0 + ms).toISOString());

const task = (id: string, type: string, startedMs: number | null, endedMs: number | null): TaskLine => ({
  id,
  type,
  status: endedMs === null ? "running" : "succeeded",
  priority: 0,
  attempt: 1,
  crashes: 0,
  progress: null,
  createdAt: String(time(0)),
  runAt: null,
  startedAt: time(startedMs),
  finishedAt: time(endedMs),
  error: null,
});

test("a task counts once when it has ended, by its type", () => {
  const history = new TypeHistory(T0);
  history.add([task("a", "y", 20, null)]);
  expect(history.figures(T0 + 100)).toEqual([]);
  for (let n = 0; n < 2; n++) history.add([task("a", "y", 20, 70), task("b", "x", 5, 5)]);
  expect(history.figures(T0 + 100)).toMatchObject([
    { type: "x", count: 1, waits: [5], runs: [0] },
    { type: "y", count: 1, waits: [20], runs: [50] },
  ]);
});

test("a task that was cancelled before it began says nothing of waits", () => {
  const history = new TypeHistory(T0);
  history.add([task("a", "x", null, 9)]);
  expect(history.figures(T0 + 100)).toEqual([]);
});

test("the sparkline has what ended in each five seconds, and does not claim to know what was before", () => {
  const history = new TypeHistory(T0);
  history.add([task("old", "x", 0, -60_000), task("a", "x", 0, 7_000), task("b", "x", 0, 8_000)]);
  const [figures] = history.figures(T0 + 11_000);
  expect(figures?.endedPerSecond.slice(-4)).toEqual([undefined, 0, 0.4, 0]);
});

test("only so many are kept, the latest", () => {
  const history = new TypeHistory(T0);
  history.add(Array.from({ length: 6_000 }, (_, n) => task(`t${n}`, n < 1_000 ? "early" : "late", 0, n)));
  expect(history.figures(T0).map(({ type, count }) => [type, count])).toEqual([["late", 5_000]]);
});

test("a histogram has each value once, a bound in the bucket below it", () => {
  expect(histogram([0, 10, 11, 1_000, 60_001, 600_000, 600_001, 9e9])).toEqual([2, 1, 1, 0, 0, 2, 2]);
});
