/** The pause, the ramp and the adaptive limit. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Throttle } from "../../../src/outbound/semaphore/throttle.ts";

const NOW_MS = 1.8e12;

describe("a pause", () => {
  test("lasts as long as the upstream asked, up to a second longer, but never shorter", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 3_600_000 }),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (retryAfterMs, jitter) => {
          const throttle = new Throttle(5);
          throttle.pause(retryAfterMs, NOW_MS, jitter);
          const lastsMs = throttle.state.pausedUntilMs - NOW_MS;
          expect(lastsMs).toBeGreaterThanOrEqual(retryAfterMs);
          expect(lastsMs).toBeLessThanOrEqual(retryAfterMs + Math.min(1000, retryAfterMs));
        },
      ),
    );
  });

  test("has jitter, so that not everybody resumes at once", () => {
    const ends = [0, 0.5, 0.9].map((jitter) => {
      const throttle = new Throttle(5);
      throttle.pause(10_000, NOW_MS, jitter);
      return throttle.state.pausedUntilMs - NOW_MS;
    });
    expect(ends).toEqual([10_000, 10_500, 10_900]);
  });

  test("is not shortened by a shorter one, but is extended by a longer one", () => {
    const throttle = new Throttle(5);
    throttle.pause(10_000, NOW_MS, 0);
    const { state } = throttle;
    throttle.pause(1_000, NOW_MS, 0);
    expect(throttle.state).toBe(state);
    throttle.pause(20_000, NOW_MS, 0);
    expect(throttle.state.pausedUntilMs).toBe(NOW_MS + 20_000);
  });

  test("is followed by a ramp", () => {
    const throttle = new Throttle(11);
    throttle.pause(10_000, NOW_MS, 0);
    const afterMs = [0, 500, 2500, 4999, 5000];
    expect(afterMs.map((ms) => throttle.rampAt(NOW_MS + 10_000 + ms))).toEqual([1, 2, 6, 10, 11]);
  });
});

describe("the ramp", () => {
  test("does not apply before anything has happened", () => {
    expect(new Throttle(5).rampAt(0)).toBe(5);
  });

  test("rises from one to the limit in five seconds, never falls, and knows to the millisecond when it rises", () => {
    const limits = fc.integer({ min: 1, max: 1000 });
    fc.assert(
      fc.property(
        limits,
        fc.nat({ max: 1000 }),
        fc.integer({ min: -1000, max: 6000 }),
        (limit, calls, sinceMs) => {
          const throttle = new Throttle(limit);
          throttle.beginRamp(NOW_MS);
          const nowMs = NOW_MS + sinceMs;
          const ramp = throttle.rampAt(nowMs);
          expect(ramp).toBeGreaterThanOrEqual(1);
          expect(ramp).toBeLessThanOrEqual(limit);
          expect(throttle.rampAt(nowMs + 1)).toBeGreaterThanOrEqual(ramp);
          expect([throttle.rampAt(NOW_MS), throttle.rampAt(NOW_MS + 5000)]).toEqual([1, limit]);
          const atMs = throttle.rampExceedsAtMs(calls, nowMs);
          if (ramp > calls || calls >= limit) expect(atMs).toBe(Infinity);
          else {
            expect(atMs).toBeGreaterThan(nowMs);
            expect([throttle.rampAt(atMs - 1) <= calls, throttle.rampAt(atMs) > calls]).toEqual([true, true]);
          }
        },
      ),
      { numRuns: 5000 },
    );
  });

  test("follows the limit in force", () => {
    const throttle = new Throttle(5);
    throttle.beginRamp(NOW_MS);
    throttle.hardLimit = 21;
    expect(throttle.rampAt(NOW_MS + 2500)).toBe(11);
    expect(throttle.rampAt(NOW_MS + 5000)).toBe(21);
  });
});

describe("the adaptive limit", () => {
  /** One round: as many good calls as the limit allows, with all of it in use. */
  const round = (throttle: Throttle) => {
    for (let left = throttle.adaptiveLimit; left > 0; left--) throttle.increase(throttle.adaptiveLimit);
  };

  test("begins at the hard limit", () => {
    expect(new Throttle(8).adaptiveLimit).toBe(8);
  });

  test("falls to seven tenths when a call was too much", () => {
    const throttle = new Throttle(100);
    throttle.decrease(NOW_MS - 1, NOW_MS);
    expect(throttle.adaptiveLimit).toBe(70);
  });

  test("falls once for all calls that were in flight together", () => {
    const throttle = new Throttle(100);
    for (let call = 0; call < 10; call++) throttle.decrease(NOW_MS - 10 + call, NOW_MS);
    expect(throttle.adaptiveLimit).toBe(70);
    throttle.decrease(NOW_MS + 1, NOW_MS + 2);
    expect(throttle.adaptiveLimit).toBe(49);
  });

  test("rises by about one for each round of good calls", () => {
    const throttle = new Throttle(100);
    throttle.decrease(NOW_MS - 1, NOW_MS);
    for (let rounds = 0; rounds < 10; rounds++) round(throttle);
    expect(throttle.adaptiveLimit).toBeGreaterThanOrEqual(78);
    expect(throttle.adaptiveLimit).toBeLessThanOrEqual(80);
  });

  test("does not rise while it is not fully used", () => {
    const throttle = new Throttle(100);
    throttle.decrease(NOW_MS - 1, NOW_MS);
    for (let call = 0; call < 1000; call++) throttle.increase(69);
    expect(throttle.adaptiveLimit).toBe(70);
  });

  test("survives a restart once it has fallen", () => {
    const throttle = new Throttle(100);
    throttle.decrease(NOW_MS - 1, NOW_MS);
    expect(new Throttle(100, structuredClone(throttle.state)).adaptiveLimit).toBe(70);
  });

  test("survives a restart as it has risen since, by whole calls", () => {
    const throttle = new Throttle(100);
    throttle.decrease(NOW_MS - 1, NOW_MS);
    const states = new Set([throttle.state]);
    for (let rounds = 0; rounds < 5; rounds++) {
      round(throttle);
      states.add(throttle.state);
      expect(new Throttle(100, structuredClone(throttle.state)).adaptiveLimit).toBe(throttle.adaptiveLimit);
    }
    expect(states.size).toBeLessThanOrEqual(6);
  });

  test("is never below one nor above the hard limit", () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant("increase" as const), inFlight: fc.nat({ max: 60 }) }),
      fc.record({ do: fc.constant("decrease" as const), agoMs: fc.nat({ max: 50 }) }),
      fc.record({ do: fc.constant("limit" as const), limit: fc.integer({ min: 1, max: 50 }) }),
    );
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 50 }), fc.array(step, { maxLength: 200 }), (first, steps) => {
        const throttle = new Throttle(first);
        let [limit, nowMs] = [first, NOW_MS];
        for (const s of steps) {
          nowMs += 10;
          if (s.do === "increase") throttle.increase(s.inFlight);
          if (s.do === "decrease") throttle.decrease(nowMs - s.agoMs, nowMs);
          if (s.do === "limit") throttle.hardLimit = limit = s.limit;
          expect(throttle.adaptiveLimit).toBeGreaterThanOrEqual(1);
          expect(throttle.adaptiveLimit).toBeLessThanOrEqual(limit);
        }
      }),
      { numRuns: 500 },
    );
  });
});
