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
} from "../../../src/files/resumable/rules.ts";

const MAX_UNKNOWN = 1000;
const state: Progress = { phase: "receiving", kind: "whole", offset: 3, length: 10, endsAtLength: true };
const addition: AppendRequest = { offset: 3, length: null, contentLength: null, isLast: false };
const unknown = { length: null };

describe("an addition", () => {
  test.each<[string, Partial<Progress>, Partial<AppendRequest>, ReturnType<typeof admit>]>([
    ["at the offset", {}, {}, { length: 10 }],
    ["up to the end", {}, { contentLength: 7 }, { length: 10 }],
    ["beyond the end", {}, { contentLength: 8 }, { rejection: "beyond-length" }],
    ["of nothing", {}, { contentLength: 0 }, { length: 10 }],
    ["before the offset", {}, { offset: 2 }, { rejection: "offset-mismatch" }],
    ["after the offset", {}, { offset: 4 }, { rejection: "offset-mismatch" }],
    ["that repeats the length", {}, { length: 10 }, { length: 10 }],
    ["that says another length", {}, { length: 11 }, { rejection: "length-conflict" }],
    ["that is the last, and reaches the end", {}, { isLast: true, contentLength: 7 }, { length: 10 }],
    [
      "that is the last, and does not",
      {},
      { isLast: true, contentLength: 6 },
      { rejection: "length-conflict" },
    ],
    ["that is the last, of who knows how much", {}, { isLast: true }, { length: 10 }],
    ["to one of unknown length", unknown, { contentLength: 7 }, { length: null }],
    ["that says the length at last", unknown, { length: 5 }, { length: 5 }],
    ["that says the length there is", unknown, { length: 3 }, { length: 3 }],
    ["that says less than there is", unknown, { length: 2 }, { rejection: "length-conflict" }],
    ["that is the last, and so says the length", unknown, { isLast: true, contentLength: 4 }, { length: 7 }],
    [
      "that says two lengths",
      unknown,
      { isLast: true, contentLength: 4, length: 8 },
      { rejection: "length-conflict" },
    ],
    [
      "that says a length, and goes beyond",
      unknown,
      { length: 5, contentLength: 3 },
      { rejection: "beyond-length" },
    ],
    ["that says the most there can be", unknown, { length: 1000 }, { length: 1000 }],
    ["that says more than there can be", unknown, { length: 1001 }, { rejection: "too-large" }],
    ["that brings the most there can be", unknown, { contentLength: 997 }, { length: null }],
    ["that brings more than there can be", unknown, { contentLength: 998 }, { rejection: "too-large" }],
    ["to one that was known to be long", { length: 5000 }, { contentLength: 4000 }, { length: 5000 }],
    ["to one that is being sealed", { phase: "completing" }, {}, { rejection: "complete" }],
    ["to one that is being published", { phase: "publishing" }, {}, { rejection: "complete" }],
    ["to one that is complete", { phase: "complete" }, {}, { rejection: "complete" }],
    ["to a piece", { kind: "partial" }, {}, { length: 10 }],
    ["to one made of pieces", { kind: "final" }, {}, { rejection: "final" }],
    ["to one made of pieces, complete", { kind: "final", phase: "complete" }, {}, { rejection: "final" }],
  ])("%s", (_name, inState, inAddition, outcome) => {
    expect(admit({ ...state, ...inState }, { ...addition, ...inAddition }, MAX_UNKNOWN)).toEqual(outcome);
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

  test("that is admitted is at the offset of one that still receives, and goes beyond no length", () => {
    fc.assert(
      fc.property(anyState, anyAddition, fc.nat(25), (before, added, max) => {
        const outcome = admit(before, added, max);
        if ("rejection" in outcome) return;
        expect([before.phase, before.offset]).toEqual(["receiving", added.offset]);
        const { length } = outcome;
        for (const said of [before.length, added.length]) if (said !== null) expect(length).toBe(said);
        const end = added.offset + (added.contentLength ?? 0);
        if (length !== null) expect(end).toBeLessThanOrEqual(length);
        if (before.length === null)
          expect(Math.max(end, length ?? 0)).toBeLessThanOrEqual(Math.max(max, before.offset));
        if (added.isLast && added.contentLength !== null) expect(length).toBe(end);
      }),
      { numRuns: 5000 },
    );
  });

  test("that is admitted once is admitted again, as long as nothing has come", () => {
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

describe("what has come, when its body", () => {
  const sealed = { isKept: true, phase: "completing" };
  const more = { isKept: true, phase: "receiving" };

  test.each<[string, Partial<Progress>, Parameters<typeof concludeAppend>[1], boolean, object]>([
    ["has ended before the length", {}, "ended", false, { ...more, length: 10 }],
    ["has ended at the length", { offset: 10 }, "ended", false, { ...sealed, length: 10 }],
    ["has ended, and was the last", { length: null }, "ended", true, { ...sealed, length: 3 }],
    ["was the last, up to the length", { offset: 10 }, "ended", true, { ...sealed, length: 10 }],
    ["was the last, and too short", {}, "ended", true, { ...more, length: 10, rejection: "length-conflict" }],
    [
      "goes beyond the length",
      { offset: 10 },
      "overflow",
      false,
      { isKept: false, phase: "receiving", length: 10, rejection: "beyond-length" },
    ],
    [
      "goes beyond what may be",
      { length: null },
      "overflow",
      true,
      { isKept: false, phase: "receiving", length: null, rejection: "too-large" },
    ],
    ["has broken off", {}, "interrupted", false, { ...more, length: 10, rejection: "interrupted" }],
    [
      "has broken off, and was to be the last",
      { length: null },
      "interrupted",
      true,
      { ...more, length: null, rejection: "interrupted" },
    ],
    [
      "has broken off after the last byte",
      { offset: 10 },
      "interrupted",
      false,
      { ...sealed, length: 10, rejection: "interrupted" },
    ],
    ["was stopped by another", {}, "preempted", false, { ...more, length: 10, rejection: "preempted" }],
    [
      "has ended at the length, where a word is needed",
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
  ["has come to its length", { offset: 10 }, true],
  ["has not", { offset: 9 }, false],
  ["has no bytes, and is to have none", { offset: 0, length: 0 }, true],
  ["has no length yet", { offset: 0, length: null }, false],
  ["needs the client's word", { offset: 10, endsAtLength: false }, false],
])("whether nothing more can come to one that %s", (_name, progress, expected) => {
  expect(hasAllBytes({ ...state, ...progress })).toBe(expected);
});

describe("the expiry", () => {
  test.each([
    ["a day after it began", 0, MAX_IDLE_MS],
    ["a day after the last byte", 1000, MAX_IDLE_MS + 1000],
    ["never later than six days after it began", 5 * MAX_IDLE_MS + 1, MAX_LIFETIME_MS],
    ["nor when it is active after that", 7 * MAX_IDLE_MS, MAX_LIFETIME_MS],
  ])("is %s", (_name, nowMs, expiresAtMs) => {
    expect([MAX_IDLE_MS, MAX_LIFETIME_MS]).toEqual([86_400_000, 6 * 86_400_000]);
    expect(expiryOf(0, nowMs)).toBe(expiresAtMs);
  });

  test("moves only forward, and stays before R2 gives up the multipart upload", () => {
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
  const life = { createdAtMs: 0, expiresAtMs: MAX_IDLE_MS, pins: {} };

  test.each<[string, Partial<Progress>, boolean]>([
    ["that receives", {}, false],
    ["whose last byte came, and was not answered", { offset: 10 }, true],
    ["that needs the client's word", { offset: 10, endsAtLength: false }, false],
    ["that is sealed", { phase: "completing" }, true],
    ["that is published", { phase: "publishing" }, true],
    ["that is complete", { phase: "complete", offset: 10 }, false],
    ["that is ended", { phase: "ended", offset: 10 }, false],
  ])("%s: whether it is on its way to a file", (_name, progress, expected) => {
    expect(isCompleting({ ...state, ...progress })).toBe(expected);
    // What is on its way is not given up with those that are idle.
    expect(hasExpired({ ...state, ...life, ...progress }, MAX_IDLE_MS)).toBe(!expected);
    expect(hasExpired({ ...state, ...life, ...progress }, MAX_IDLE_MS - 1)).toBe(false);
    expect(hasExpired({ ...state, ...life, ...progress }, MAX_LIFETIME_MS)).toBe(true);
  });

  test.each([
    [{}, 0],
    [{ a: 5 }, 5],
    [{ a: 5, b: 7, c: 6 }, 7],
  ])("pinned by %o, it is pinned until %i", (pins, until) => {
    expect(pinnedUntilMs({ pins })).toBe(until);
  });
});
