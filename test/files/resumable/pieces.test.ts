import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { MAX_LIFETIME_MS, type Piece } from "../../../src/files/resumable/append-rules.ts";
import {
  awaited,
  isWaiting,
  pauseUntilAskedMs,
  toPiece,
  withPieces,
} from "../../../src/files/resumable/pieces.ts";
import { newRecord } from "../../../src/files/resumable/session-storage.ts";
import { specOf } from "../../support/uploads.ts";

const SECOND = 1000;
const MINUTE = 60 * SECOND;

const finalOf = (...sources: string[]) => newRecord(specOf({ kind: "final", sources }), 0);
const piece = (length: number | null, isComplete: boolean, expiresAtMs = MAX_LIFETIME_MS): Piece => ({
  blob: "blob",
  length,
  isComplete,
  expiresAtMs,
});

describe("a final upload", () => {
  test("waits until each of its partials is complete, in whatever order it learns that", () => {
    fc.assert(
      fc.property(
        fc.shuffledSubarray(["a", "b", "c", "d"], { minLength: 4 }),
        fc.array(fc.nat(9), { minLength: 4, maxLength: 4 }),
        (order, lengths) => {
          let record = finalOf("a", "b", "c", "d");
          for (const [i, source] of order.entries()) {
            expect([isWaiting(record), awaited(record).length]).toEqual([true, 4 - i]);
            record = withPieces(record, { [source]: piece(lengths[i] ?? 0, false) });
            expect(isWaiting(record)).toBe(true);
            record = withPieces(record, { [source]: piece(lengths[i] ?? 0, true) });
          }
          expect(isWaiting(record)).toBe(false);
          expect(record.length).toBe(lengths.reduce((sum, length) => sum + length, 0));
        },
      ),
    );
  });

  test("knows its length as soon as theirs are known, complete or not", () => {
    const one = withPieces(finalOf("a", "b"), { a: piece(3, true) });
    expect(one.length).toBeNull();
    expect(withPieces(one, { b: piece(null, false) }).length).toBeNull();
    expect(withPieces(one, { b: piece(2, false) }).length).toBe(5);
  });

  test("does not unlearn that one is complete, if older news come late", () => {
    const done = withPieces(finalOf("a"), { a: piece(3, true) });
    expect(withPieces(done, { a: piece(null, false) })).toEqual(done);
  });

  test("lives no longer than any of its partials", () => {
    const record = finalOf("a", "b");
    expect(record.expiresAtMs).toBe(MAX_LIFETIME_MS);
    expect(withPieces(record, { a: piece(1, true, 5 * MINUTE) }).expiresAtMs).toBe(5 * MINUTE);
  });
});

test.each([
  [0, 15 * SECOND],
  [20 * SECOND, 20 * SECOND],
  [5 * MINUTE, 5 * MINUTE],
  [600 * MINUTE, 10 * MINUTE],
])("at an age of %i ms it asks again after %i ms", (ageMs, pauseMs) => {
  expect(pauseUntilAskedMs({ createdAtMs: 7 }, 7 + ageMs)).toBe(pauseMs);
});

test.each([
  ["receiving", 5, 3, false, 5],
  ["receiving", null, 3, false, null],
  ["completing", 5, 5, false, 5],
  ["complete", 5, 5, true, 5],
  ["ended", 5, 5, true, 5],
] as const)("a partial upload that is %s", (phase, length, offset, isComplete, known) => {
  const record = { ...newRecord(specOf({ kind: "partial" }), 0), phase, length, offset };
  expect(toPiece(record)).toMatchObject({ length: known, isComplete, expiresAtMs: MAX_LIFETIME_MS });
});
