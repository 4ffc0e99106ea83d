/** The dates of versions: whatever happens in a second, no version is mistaken for another. */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { evaluatePreconditions, NO_PRECONDITIONS } from "../../../src/files/store/preconditions.ts";
import { dateOf, lastModified, type PreviousVersion } from "../../../src/files/store/version-date.ts";

const S = Date.UTC(2030, 0, 1);

test.each<[string, number, PreviousVersion | undefined, number]>([
  ["the first one", S + 300, undefined, S],
  ["one that replaces another", S + 300, { datedAtMs: S - 5000, endedAtMs: S + 300 }, S + 1000],
  ["one that replaces another of its second", S + 300, { datedAtMs: S, endedAtMs: S + 300 }, S + 1000],
  ["the next, too", S + 301, { datedAtMs: S + 1000, endedAtMs: S + 301 }, S + 1000],
  [
    "one after another that was removed in this second",
    S + 300,
    { datedAtMs: S, endedAtMs: S + 1 },
    S + 1000,
  ],
  ["one after another that was removed before", S + 300, { datedAtMs: S, endedAtMs: S - 1 }, S],
  ["one that is written when the clock was set back", S, { datedAtMs: S + 60_000, endedAtMs: S }, S + 61_000],
])("%s", (_name, nowMs, previous, date) => {
  expect(dateOf(nowMs, previous)).toBe(date);
});

test("Last-Modified is the date, but never in the future", () => {
  expect([S - 1, S, S + 999, S + 1000, S + 5000].map((nowMs) => lastModified(S + 1000, nowMs))).toEqual([
    S - 1000,
    S,
    S,
    S + 1000,
    S + 1000,
  ]);
});

type Step = { do: "put" | "remove" | "read"; afterMs: number };

const step: fc.Arbitrary<Step> = fc.record({
  do: fc.constantFrom("put", "put", "remove", "read", "read"),
  afterMs: fc.oneof(fc.nat(5), fc.nat(400), fc.nat(2000)),
});

test("a date that a client has, from Last-Modified or from its clock, never matches a version that came later", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30, size: "max" }), (steps) => {
      let nowMs = S;
      let version = 0;
      let current: { version: number; datedAtMs: number } | undefined;
      let ended: PreviousVersion | undefined;
      const had: { version: number; dateMs: number }[] = [];
      for (const { do: action, afterMs } of steps) {
        nowMs += afterMs;
        if (action !== "read" && current) ended = { datedAtMs: current.datedAtMs, endedAtMs: nowMs };
        if (action === "remove") current = undefined;
        if (action === "put") current = { version: ++version, datedAtMs: dateOf(nowMs, ended) };
        if (!current) continue;
        const validators = { etag: '"x"', datedAtMs: current.datedAtMs };
        for (const { version: other, dateMs } of had) {
          if (other === current.version) continue;
          const date = new Date(dateMs).toUTCString();
          const since = { ...NO_PRECONDITIONS, ifModifiedSince: date };
          expect(evaluatePreconditions(since, validators, true)).toBe("proceed");
          const unmodified = { ...NO_PRECONDITIONS, ifUnmodifiedSince: date };
          expect(evaluatePreconditions(unmodified, validators, false)).toBe("failed");
        }
        const sentMs = lastModified(current.datedAtMs, nowMs);
        expect(sentMs).toBeLessThanOrEqual(nowMs);
        had.push({ version: current.version, dateMs: sentMs }, { version: current.version, dateMs: nowMs });
        // Once its second is over, a client that has it need not get it again.
        if (nowMs >= current.datedAtMs) expect(sentMs).toBe(current.datedAtMs);
      }
    }),
    { numRuns: 150 },
  );
});
