import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { contentRange, parseRange } from "../../../src/files/download/parse-range.ts";

const SIZES = [0, 1, 2, 9, 10];
const POSITIONS = [0, 1, 2, 8, 9, 10, 11, 99];

/** The bytes of a file of this size that are in a range, counted one by one. */
function bytesIn(size: number, isIn: (position: number) => boolean) {
  const all = Array.from({ length: size }, (_, i) => i).filter(isIn);
  return all[0] === undefined ? "unsatisfiable" : { offset: all[0], length: all.length };
}

describe.each(SIZES)("of a file of %i bytes", (size) => {
  test.each(POSITIONS)("bytes=%i- is that byte and all that follow", (first) => {
    expect(parseRange(`bytes=${first}-`, size)).toEqual(bytesIn(size, (i) => i >= first));
  });

  test.each(POSITIONS.flatMap((first) => POSITIONS.map((last) => [first, last] as const)))(
    "bytes=%i-%i is these and the ones between, as far as they are there",
    (first, last) => {
      const right = last < first ? undefined : bytesIn(size, (i) => i >= first && i <= last);
      expect(parseRange(`bytes=${first}-${last}`, size)).toEqual(right);
    },
  );

  test("bytes=-n is the last n bytes, or all", () => {
    for (const length of POSITIONS.filter((n) => n > 0)) {
      // §14.1.2: the whole of what is shorter than the suffix; a Content-Range cannot describe zero bytes.
      const right = size === 0 ? undefined : bytesIn(size, (i) => i >= size - length);
      expect(parseRange(`bytes=-${length}`, size)).toEqual(right);
    }
  });

  test("bytes=-0 is unsatisfiable", () => {
    expect(parseRange("bytes=-0", size)).toBe("unsatisfiable");
  });
});

test.each([
  [null],
  [""],
  ["bytes"],
  ["bytes="],
  ["bytes=-"],
  ["bytes=a-b"],
  ["bytes=1"],
  ["bytes=1-2-3"],
  ["bytes=+1-2"],
  ["bytes=1.5-2"],
  ["bytes=0x1-2"],
  ["bytes=1 -2"],
  ["bytes=1- 2"],
  ["bytes 1-2"],
  ["byte=1-2"],
  ["items=1-2"],
  ["bytes=1-2;"],
  ["bytes=２-3"],
  // Several: the whole file, as §14.2 allows.
  ["bytes=0-1,3-4"],
  ["bytes=0-1, 3-4"],
  ["bytes=0-0,-1"],
  ["bytes=99-,0-1"],
])("%j is ignored", (header) => {
  expect(parseRange(header, 10)).toBeUndefined();
});

test.each([
  ["bytes=1-2", { offset: 1, length: 2 }],
  ["Bytes=1-2", { offset: 1, length: 2 }],
  ["bytes=\t 1-2 ", { offset: 1, length: 2 }],
  ["bytes=001-002", { offset: 1, length: 2 }],
  [`bytes=1-${"9".repeat(400)}`, { offset: 1, length: 9 }],
  [`bytes=-${"9".repeat(400)}`, { offset: 0, length: 10 }],
  [`bytes=${"9".repeat(400)}-`, "unsatisfiable"],
])("%.30s is read as %o", (header, range) => {
  expect(parseRange(header, 10)).toEqual(range);
});

test("whatever is requested, the result lies inside the file, and Content-Range says so", () => {
  const number = fc.oneof(fc.nat(30), fc.maxSafeNat(), fc.constant(""));
  fc.assert(
    fc.property(number, number, fc.nat(20), (first, last, size) => {
      const range = parseRange(`bytes=${first}-${last}`, size);
      if (range === undefined || range === "unsatisfiable") return;
      expect(range.length).toBeGreaterThan(0);
      expect(range.offset).toBeGreaterThanOrEqual(0);
      expect(range.offset + range.length).toBeLessThanOrEqual(size);
      expect(contentRange(range, size)).toBe(
        `bytes ${range.offset}-${range.offset + range.length - 1}/${size}`,
      );
    }),
    { numRuns: 2000 },
  );
});
