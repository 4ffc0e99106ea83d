/** Whose turn it is: rounds among keys, and lines merged by rank. */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { byRank, inRounds, mergeLines } from "../../../src/tasks/ledger/turns.ts";

const lines = fc
  .array(fc.nat(8), { maxLength: 12 })
  .map((lengths) => lengths.map((length, line) => Array.from({ length }, (_, n) => ({ line, n }))));

test("each line has one of its tasks in each round, in the order of the line, and all come", () => {
  fc.assert(
    fc.property(lines, fc.nat(60), (given, max) => {
      const taken = inRounds(given, max);
      expect(taken).toEqual(
        given
          .flat()
          .toSorted((a, b) => a.n - b.n || a.line - b.line)
          .slice(0, max),
      );
    }),
    { numRuns: 300 },
  );
});

const task = fc.record({ id: fc.string({ minLength: 1, maxLength: 3 }), rank_ms: fc.nat(20) });

test("merged lines keep their own order, and a sorted one stands where its tasks do", () => {
  fc.assert(
    fc.property(fc.array(fc.uniqueArray(task, { selector: ({ id }) => id }), { maxLength: 6 }), (given) => {
      const unique = given.map((line, i) => line.map(({ id, rank_ms }) => ({ id: `${id}-${i}`, rank_ms })));
      const merged = mergeLines(unique);
      for (const line of unique) expect(merged.filter((one) => line.includes(one))).toEqual(line);
      const sorted = unique.map((line) => line.toSorted(byRank));
      expect(mergeLines(sorted)).toEqual(sorted.flat().toSorted(byRank));
    }),
    { numRuns: 300 },
  );
});

test("no task waits behind another line's that is younger than the best of its own line from there on", () => {
  fc.assert(
    fc.property(fc.array(fc.uniqueArray(task, { selector: ({ id }) => id }), { maxLength: 5 }), (given) => {
      const unique = given.map((line, i) =>
        line.map(({ id, rank_ms }) => ({ id: `${id}-${i}`, rank_ms, i })),
      );
      const merged = mergeLines(unique);
      for (const [at, one] of merged.entries()) {
        const behind = merged.slice(at).filter(({ i }) => i === one.i);
        const best = behind.toSorted(byRank)[0] ?? one;
        for (const before of merged.slice(0, at)) {
          if (before.i === one.i) continue;
          // Whatever goes first is, or makes way for, something at least as old.
          const cause =
            unique[before.i]?.slice(unique[before.i]?.indexOf(before)).toSorted(byRank)[0] ?? before;
          expect(byRank(cause, best)).toBeLessThanOrEqual(0);
        }
      }
    }),
    { numRuns: 200 },
  );
});
