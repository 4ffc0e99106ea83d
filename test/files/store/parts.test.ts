import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  intoParts,
  MAX_LENGTH,
  MAX_PART_SIZE,
  MAX_PARTS,
  MAX_UNKNOWN_LENGTH,
  MIN_PART_SIZE,
  PartBuffer,
  partSizeFor,
} from "../../../src/files/store/parts.ts";
import { bytes, reused } from "../../support/chunks.ts";

describe("the size of parts", () => {
  test("is one that R2 accepts, lets 10,000 parts suffice, and lets two parts fit into memory", () => {
    const mib = 1024 * 1024;
    fc.assert(
      fc.property(fc.integer({ min: 0, max: MAX_LENGTH }), (length) => {
        const size = partSizeFor(length);
        expect(Math.ceil(length / size)).toBeLessThanOrEqual(MAX_PARTS);
        expect([size >= MIN_PART_SIZE, size <= MAX_PART_SIZE, size % mib]).toEqual([true, true, 0]);
      }),
    );
  });

  test.each([
    [null, MIN_PART_SIZE],
    [0, MIN_PART_SIZE],
    [MAX_UNKNOWN_LENGTH, MIN_PART_SIZE],
    [MAX_UNKNOWN_LENGTH + 1, MIN_PART_SIZE + 1024 * 1024],
    [MAX_LENGTH, MAX_PART_SIZE],
  ])("for %s bytes is %i", (length, size) => {
    expect(partSizeFor(length)).toBe(size);
  });
});

test("parts have the same bytes, and all but the last exactly the part size, however the bytes arrive", async () => {
  const chunk = fc.uint8Array({ maxLength: 20 });
  await fc.assert(
    fc.asyncProperty(fc.array(chunk), fc.integer({ min: 1, max: 16 }), async (chunks, size) => {
      const parts: { part: Uint8Array; isLast: boolean }[] = [];
      let before: Uint8Array | undefined;
      for await (const { part, isLast } of intoParts(reused(chunks), size)) {
        // Compared only now: a part must not change while it is sent and the next is filled.
        if (before) parts.push({ part: before.slice(), isLast: false });
        before = part;
        if (isLast) parts.push({ part: part.slice(), isLast });
      }
      expect(Buffer.concat(parts.map(({ part }) => part)).equals(Buffer.concat(chunks))).toBe(true);
      expect(parts.map(({ isLast }) => isLast)).toEqual([...parts.slice(1).map(() => false), true]);
      for (const { part, isLast } of parts) {
        if (isLast) expect(part.length).toBeLessThanOrEqual(size);
        else expect(part.length).toBe(size);
      }
    }),
  );
});

test("a buffer takes what it has room for, returns the rest, and grows no more than it must", () => {
  const part = new PartBuffer(6, 1);
  expect([...part.fill(bytes(1, 2, 3, 4))]).toEqual([]);
  expect([part.length, part.isFull, [...part.bytes]]).toEqual([4, false, [1, 2, 3, 4]]);
  expect([...part.fill(bytes(5, 6, 7))]).toEqual([7]);
  expect([part.length, part.isFull, [...part.bytes]]).toEqual([6, true, [1, 2, 3, 4, 5, 6]]);
  expect([...part.fill(bytes(8))]).toEqual([8]);
  expect(part.bytes.buffer.byteLength).toBe(6);
  expect(new PartBuffer(MAX_PART_SIZE).bytes.buffer.byteLength).toBe(256 * 1024);
});
