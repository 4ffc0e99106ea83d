/** The pause, the ramp and the adaptive limit. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Pacer } from "../../../src/outbound/semaphore/pacer.ts";

const NOW_MS = 1.8e12;

describe("a pause", () => {
  test("lasts as long as the upstream asked, and up to a second longer, but never shorter", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 3_600_000 }),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (retryAfterMs, jitter) => {
          const pacer = new Pacer(5);
          pacer.pause(retryAfterMs, NOW_MS, jitter);
          const lastsMs = pacer.pace.pausedUntilMs - NOW_MS;
          expect(lastsMs).toBeGreaterThanOrEqual(retryAfterMs);
          expect(lastsMs).toBeLessThanOrEqual(retryAfterMs + Math.min(1000, retryAfterMs));
        },
      ),
    );
  });

  test("differs with chance, so that not everybody comes back at once", () => {
    const ends = [0, 0.5, 0.9].map((jitter) => {
      const pacer = new Pacer(5);
      pacer.pause(10_000, NOW_MS, jitter);
      return pacer.pace.pausedUntilMs - NOW_MS;
    });
    expect(ends).toEqual([10_000, 10_500, 10_900]);
  });

  test("is not cut short by a shorter one, and is prolonged by a longer one", () => {
    const pacer = new Pacer(5);
    pacer.pause(10_000, NOW_MS, 0);
    const { pace } = pacer;
    pacer.pause(1_000, NOW_MS, 0);
    expect(pacer.pace).toBe(pace);
    pacer.pause(20_000, NOW_MS, 0);
    expect(pacer.pace.pausedUntilMs).toBe(NOW_MS + 20_000);
  });

  test("is followed by a ramp", () => {
    const pacer = new Pacer(11);
    pacer.pause(10_000, NOW_MS, 0);
    const afterMs = [0, 500, 2500, 4999, 5000];
    expect(afterMs.map((ms) => pacer.rampAt(NOW_MS + 10_000 + ms))).toEqual([1, 2, 6, 10, 11]);
  });
});

describe("the ramp", () => {
  test("is not there before anything has happened", () => {
    expect(new Pacer(5).rampAt(0)).toBe(5);
  });

  test("rises from one to the limit in five seconds, never falls, and says to the millisecond when it rises", () => {
    const limits = fc.integer({ min: 1, max: 1000 });
    fc.assert(
      fc.property(
        limits,
        fc.nat({ max: 1000 }),
        fc.integer({ min: -1000, max: 6000 }),
        (limit, height, sinceMs) => {
          const pacer = new Pacer(limit);
          pacer.beginRamp(NOW_MS);
          const nowMs = NOW_MS + sinceMs;
          const ramp = pacer.rampAt(nowMs);
          expect(ramp).toBeGreaterThanOrEqual(1);
          expect(ramp).toBeLessThanOrEqual(limit);
          expect(pacer.rampAt(nowMs + 1)).toBeGreaterThanOrEqual(ramp);
          expect([pacer.rampAt(NOW_MS), pacer.rampAt(NOW_MS + 5000)]).toEqual([1, limit]);
          const atMs = pacer.rampExceedsAtMs(height, nowMs);
          if (ramp > height || height >= limit) expect(atMs).toBe(Infinity);
          else {
            expect(atMs).toBeGreaterThan(nowMs);
            expect([pacer.rampAt(atMs - 1) <= height, pacer.rampAt(atMs) > height]).toEqual([true, true]);
          }
        },
      ),
      { numRuns: 5000 },
    );
  });

  test("goes by the limit that is in force", () => {
    const pacer = new Pacer(5);
    pacer.beginRamp(NOW_MS);
    pacer.hardLimit = 21;
    expect(pacer.rampAt(NOW_MS + 2500)).toBe(11);
    expect(pacer.rampAt(NOW_MS + 5000)).toBe(21);
  });
});

describe("the adaptive limit", () => {
  /** As many good calls as it takes for a round of the limit, all of it in use. */
  const round = (pacer: Pacer) => {
    for (let left = pacer.adaptiveLimit; left > 0; left--) pacer.raise(pacer.adaptiveLimit);
  };

  test("begins at the hard limit", () => {
    expect(new Pacer(8).adaptiveLimit).toBe(8);
  });

  test("falls to seven tenths when a call was too much", () => {
    const pacer = new Pacer(100);
    pacer.lower(NOW_MS - 1, NOW_MS);
    expect(pacer.adaptiveLimit).toBe(70);
  });

  test("falls once for all the calls that were under way together", () => {
    const pacer = new Pacer(100);
    for (let call = 0; call < 10; call++) pacer.lower(NOW_MS - 10 + call, NOW_MS);
    expect(pacer.adaptiveLimit).toBe(70);
    pacer.lower(NOW_MS + 1, NOW_MS + 2);
    expect(pacer.adaptiveLimit).toBe(49);
  });

  test("rises by about one for each round of good calls", () => {
    const pacer = new Pacer(100);
    pacer.lower(NOW_MS - 1, NOW_MS);
    for (let rounds = 0; rounds < 10; rounds++) round(pacer);
    expect(pacer.adaptiveLimit).toBeGreaterThanOrEqual(78);
    expect(pacer.adaptiveLimit).toBeLessThanOrEqual(80);
  });

  test("does not rise while it is not used", () => {
    const pacer = new Pacer(100);
    pacer.lower(NOW_MS - 1, NOW_MS);
    for (let call = 0; call < 1000; call++) pacer.raise(69);
    expect(pacer.adaptiveLimit).toBe(70);
  });

  test("is kept over a restart once it has fallen", () => {
    const pacer = new Pacer(100);
    pacer.lower(NOW_MS - 1, NOW_MS);
    expect(new Pacer(100, structuredClone(pacer.pace)).adaptiveLimit).toBe(70);
  });

  test("is never below one, nor above the hard limit, whatever happens", () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant("raise" as const), inFlight: fc.nat({ max: 60 }) }),
      fc.record({ do: fc.constant("lower" as const), agoMs: fc.nat({ max: 50 }) }),
      fc.record({ do: fc.constant("limit" as const), limit: fc.integer({ min: 1, max: 50 }) }),
    );
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 50 }), fc.array(step, { maxLength: 200 }), (first, steps) => {
        const pacer = new Pacer(first);
        let [limit, nowMs] = [first, NOW_MS];
        for (const s of steps) {
          nowMs += 10;
          if (s.do === "raise") pacer.raise(s.inFlight);
          if (s.do === "lower") pacer.lower(nowMs - s.agoMs, nowMs);
          if (s.do === "limit") pacer.hardLimit = limit = s.limit;
          expect(pacer.adaptiveLimit).toBeGreaterThanOrEqual(1);
          expect(pacer.adaptiveLimit).toBeLessThanOrEqual(limit);
        }
      }),
      { numRuns: 500 },
    );
  });
});
