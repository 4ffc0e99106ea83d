import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type AppendRequest,
  admit,
  concludeAppend,
  expiryOf,
  hasAllBytes,
  hasExpired,
  isCompleting,
  MAX_IDLE_MS,
  MAX_LIFETIME_MS,
  type Progress,
  pinnedUntilMs,
} from "../../../src/files/resumable/append-rules.ts";

const MAX_UNKNOWN = 1000;
const state: Progress = { phase: "receiving", kind: "whole", offset: 3, length: 10, endsAtLength: true };
const addition: AppendRequest = { offset: 3, length: null, contentLength: null, isLast: false };
const unknown = { length: null };

describe("an append", () => {
  test.each<[string, Partial<Progress>, Partial<AppendRequest>, ReturnType<typeof admit>]>([
    ["at the offset", {}, {}, { length: 10 }],
    ["up to the end", {}, { contentLength: 7 }, { length: 10 }],
    ["beyond the end", {}, { contentLength: 8 }, { rejection: "beyond-length" }],
    ["of no bytes", {}, { contentLength: 0 }, { length: 10 }],
    ["before the offset", {}, { offset: 2 }, { rejection: "offset-mismatch" }],
    ["after the offset", {}, { offset: 4 }, { rejection: "offset-mismatch" }],
    ["that repeats the length", {}, { length: 10 }, { length: 10 }],
    ["that announces another length", {}, { length: 11 }, { rejection: "length-conflict" }],
    ["that is the last and reaches the end", {}, { isLast: true, contentLength: 7 }, { length: 10 }],
    [
      "that is the last and does not reach the end",
      {},
      { isLast: true, contentLength: 6 },
      { rejection: "length-conflict" },
    ],
    ["that is the last, of unknown size", {}, { isLast: true }, { length: 10 }],
    ["to an upload of unknown length", unknown, { contentLength: 7 }, { length: null }],
    ["that announces the length", unknown, { length: 5 }, { length: 5 }],
    ["that announces the current offset as the length", unknown, { length: 3 }, { length: 3 }],
    ["that announces less than has arrived", unknown, { length: 2 }, { rejection: "length-conflict" }],
    [
      "that is the last and so determines the length",
      unknown,
      { isLast: true, contentLength: 4 },
      { length: 7 },
    ],
    [
      "that announces two lengths",
      unknown,
      { isLast: true, contentLength: 4, length: 8 },
      { rejection: "length-conflict" },
    ],
    [
      "that announces a length and exceeds it",
      unknown,
      { length: 5, contentLength: 3 },
      { rejection: "beyond-length" },
    ],
    ["that announces the maximum", unknown, { length: 1000 }, { length: 1000 }],
    ["that announces more than the maximum", unknown, { length: 1001 }, { rejection: "too-large" }],
    ["that brings the maximum", unknown, { contentLength: 997 }, { length: null }],
    ["that brings more than the maximum", unknown, { contentLength: 998 }, { rejection: "too-large" }],
    [
      "to an upload whose length was known to be large",
      { length: 5000 },
      { contentLength: 4000 },
      { length: 5000 },
    ],
    ["to an upload that is completing", { phase: "completing" }, {}, { rejection: "complete" }],
    ["to an upload that is publishing", { phase: "publishing" }, {}, { rejection: "complete" }],
    ["to an upload that is complete", { phase: "complete" }, {}, { rejection: "complete" }],
    ["to a partial upload", { kind: "partial" }, {}, { length: 10 }],
    ["to a final upload", { kind: "final" }, {}, { rejection: "final" }],
    ["to a final upload that is complete", { kind: "final", phase: "complete" }, {}, { rejection: "final" }],
  ])("%s", (_name, inState, inRequest, outcome) => {
    expect(admit({ ...state, ...inState }, { ...addition, ...inRequest }, MAX_UNKNOWN)).toEqual(outcome);
  });

  const size = fc.option(fc.nat(20), { nil: null });
  const anyState = fc.record({
    phase: fc.constantFrom(
      "receiving" as const,
      "completing" as const,
      "publishing" as const,
      "complete" as const,
    ),
    kind: fc.constantFrom("whole" as const, "partial" as const, "final" as const),
    offset: fc.nat(10),
    length: size,
    endsAtLength: fc.boolean(),
  });
  const anyAddition = fc.record({
    offset: fc.nat(10),
    length: size,
    contentLength: size,
    isLast: fc.boolean(),
  });

  test("that is admitted is at the offset of an upload that is receiving, and exceeds no length", () => {
    fc.assert(
      fc.property(anyState, anyAddition, fc.nat(25), (before, added, max) => {
        const outcome = admit(before, added, max);
        if ("rejection" in outcome) return;
        expect([before.phase, before.offset]).toEqual(["receiving", added.offset]);
        const { length } = outcome;
        for (const announced of [before.length, added.length])
          if (announced !== null) expect(length).toBe(announced);
        const end = added.offset + (added.contentLength ?? 0);
        if (length !== null) expect(end).toBeLessThanOrEqual(length);
        if (before.length === null)
          expect(Math.max(end, length ?? 0)).toBeLessThanOrEqual(Math.max(max, before.offset));
        if (added.isLast && added.contentLength !== null) expect(length).toBe(end);
      }),
      { numRuns: 5000 },
    );
  });

  test("that is admitted once is admitted again as long as no bytes arrive", () => {
    fc.assert(
      fc.property(anyState, anyAddition, fc.nat(25), (before, added, max) => {
        const outcome = admit(before, added, max);
        if ("rejection" in outcome) return;
        expect(admit({ ...before, length: outcome.length }, added, max)).toEqual(outcome);
      }),
      { numRuns: 2000 },
    );
  });
});

describe("an append whose body", () => {
  const completing = { isKept: true, phase: "completing" };
  const more = { isKept: true, phase: "receiving" };

  test.each<[string, Partial<Progress>, Parameters<typeof concludeAppend>[1], boolean, object]>([
    ["has ended before the length", {}, "ended", false, { ...more, length: 10 }],
    ["has ended at the length", { offset: 10 }, "ended", false, { ...completing, length: 10 }],
    ["has ended and was the last", { length: null }, "ended", true, { ...completing, length: 3 }],
    ["was the last and reached the length", { offset: 10 }, "ended", true, { ...completing, length: 10 }],
    ["was the last and too short", {}, "ended", true, { ...more, length: 10, rejection: "length-conflict" }],
    [
      "exceeds the length",
      { offset: 10 },
      "overflow",
      false,
      { isKept: false, phase: "receiving", length: 10, rejection: "beyond-length" },
    ],
    [
      "exceeds the maximum",
      { length: null },
      "overflow",
      true,
      { isKept: false, phase: "receiving", length: null, rejection: "too-large" },
    ],
    ["broke off", {}, "interrupted", false, { ...more, length: 10, rejection: "interrupted" }],
    [
      "broke off and was to be the last",
      { length: null },
      "interrupted",
      true,
      { ...more, length: null, rejection: "interrupted" },
    ],
    [
      "broke off after the last byte",
      { offset: 10 },
      "interrupted",
      false,
      { ...completing, length: 10, rejection: "interrupted" },
    ],
    [
      "was stopped by another request",
      {},
      "preempted",
      false,
      { ...more, length: 10, rejection: "preempted" },
    ],
    [
      "has ended at the length, but completion must be explicit",
      { offset: 10, endsAtLength: false },
      "ended",
      false,
      { ...more, length: 10 },
    ],
  ])("%s", (_name, progress, end, isLast, outcome) => {
    expect(concludeAppend({ ...state, ...progress }, end, isLast)).toEqual(outcome);
  });
});

test.each<[string, Partial<Progress>, boolean]>([
  ["has all its bytes", { offset: 10 }, true],
  ["has not", { offset: 9 }, false],
  ["has length 0", { offset: 0, length: 0 }, true],
  ["has no length yet", { offset: 0, length: null }, false],
  ["must be completed explicitly", { offset: 10, endsAtLength: false }, false],
])("hasAllBytes, for an upload that %s", (_name, progress, expected) => {
  expect(hasAllBytes({ ...state, ...progress })).toBe(expected);
});

describe("the expiry", () => {
  test.each([
    ["a day after it began", 0, MAX_IDLE_MS],
    ["a day after the last byte", 1000, MAX_IDLE_MS + 1000],
    ["never later than six days after it began", 5 * MAX_IDLE_MS + 1, MAX_LIFETIME_MS],
    ["never later, even if it is active after that", 7 * MAX_IDLE_MS, MAX_LIFETIME_MS],
  ])("is %s", (_name, nowMs, expiresAtMs) => {
    expect([MAX_IDLE_MS, MAX_LIFETIME_MS]).toEqual([86_400_000, 6 * 86_400_000]);
    expect(expiryOf(0, nowMs)).toBe(expiresAtMs);
  });

  test("moves only forward, and is before R2 aborts the multipart upload", () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(), fc.nat(), (createdAtMs, ageMs, laterMs) => {
        const [first, then] = [ageMs, ageMs + laterMs].map((age) => expiryOf(createdAtMs, createdAtMs + age));
        expect(then).toBeGreaterThanOrEqual(Number(first));
        expect(then).toBeLessThan(createdAtMs + 7 * MAX_IDLE_MS);
      }),
    );
  });
});

describe("the life of an upload", () => {
  const life = { createdAtMs: 0, expiresAtMs: MAX_IDLE_MS };

  test.each<[string, Partial<Progress>, boolean]>([
    ["that is receiving", {}, false],
    ["whose last byte arrived but was not acknowledged", { offset: 10 }, true],
    ["that must be completed explicitly", { offset: 10, endsAtLength: false }, false],
    ["that is completing", { phase: "completing" }, true],
    ["that is publishing", { phase: "publishing" }, true],
    ["that is complete", { phase: "complete", offset: 10 }, false],
    ["that is ended", { phase: "ended", offset: 10 }, false],
  ])("an upload %s: is it completing?", (_name, progress, expected) => {
    expect(isCompleting({ ...state, ...progress })).toBe(expected);
    // An upload that is completing does not expire with the idle ones.
    expect(hasExpired({ ...state, ...life, ...progress }, MAX_IDLE_MS)).toBe(!expected);
    expect(hasExpired({ ...state, ...life, ...progress }, MAX_IDLE_MS - 1)).toBe(false);
    expect(hasExpired({ ...state, ...life, ...progress }, MAX_LIFETIME_MS)).toBe(true);
  });

  test.each([
    [{}, 0],
    [{ a: 5 }, 5],
    [{ a: 5, b: 7, c: 6 }, 7],
  ])("pinned by %o, it is pinned until %i", (pins, until) => {
    expect(pinnedUntilMs(new Map(Object.entries(pins)))).toBe(until);
  });
});
