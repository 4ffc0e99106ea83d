/** The least pace of a client. */
import { describe, expect, test } from "vitest";
import { Pace } from "../../../src/outbound/client/pace.ts";

/** Waits in ms, and what came after each. The result says after which of them the pace was kept. */
function pace(...steps: [waitedMs: number, bytes: number][]): boolean[] {
  const measured = new Pace({ minBytesPerSecond: 1000, windowMs: 1000 });
  return steps.map(([waitedMs, bytes]) => measured.isKept(bytes, waitedMs));
}

describe("the least pace", () => {
  test("is judged after a whole window of waiting, not before", () => {
    expect(pace([999, 0], [1, 0])).toEqual([true, false]);
  });

  test("is kept by as many bytes as the window asks for", () => {
    expect(pace([500, 0], [500, 1000])).toEqual([true, true]);
    expect(pace([500, 0], [500, 999])).toEqual([true, false]);
  });

  test("is judged anew in each window: what came before does not help", () => {
    expect(pace([1000, 1_000_000], [1000, 0])).toEqual([true, false]);
  });

  test("asks for more if a wait was longer than the window", () => {
    expect(pace([5000, 4999])).toEqual([false]);
    expect(pace([5000, 5000])).toEqual([true]);
  });

  test("does not care about a body that nobody waits for", () => {
    const unwaited = Array.from({ length: 1000 }, (): [number, number] => [0, 0]);
    expect(pace(...unwaited)).not.toContain(false);
  });
});
