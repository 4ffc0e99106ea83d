import zlib from "node:zlib";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DamagedError } from "../../../src/jobs/process/huffman.ts";
import { Inflater, type InflateState } from "../../../src/jobs/process/inflate.ts";

/** Inflates in chunks; from time to time the state goes through JSON into a new inflater. */
function inflate(data: Uint8Array, chunkBytes = data.length, keepEvery = Number.POSITIVE_INFINITY) {
  let inflater = new Inflater();
  let offset = 0;
  let base = 0;
  const out: Uint8Array[] = [];
  let pieces = 0;
  while (!inflater.isDone && offset < data.length) {
    const chunk = data.subarray(offset, offset + chunkBytes);
    offset += chunk.length;
    for (const piece of inflater.push(chunk)) {
      out.push(Uint8Array.from(piece));
      if (++pieces % keepEvery !== 0) continue;
      base += inflater.consumed;
      inflater = new Inflater(JSON.parse(JSON.stringify(inflater.save())) as InflateState);
      offset = base;
      break;
    }
  }
  return { bytes: Buffer.concat(out), isDone: inflater.isDone, consumed: base + inflater.consumed };
}

const { Z_DEFAULT_STRATEGY, Z_FIXED, Z_HUFFMAN_ONLY, Z_RLE } = zlib.constants;
/** Text, noise and runs: all kinds of blocks, and matches over the whole window. */
function sample(seed: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0, state = seed; i < length; i++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    const isNoise = (i >> 12) % 3 === seed % 3;
    bytes[i] = isNoise
      ? state >>> 24
      : i > 31_000 && state % 8 > 1
        ? (bytes[i - 31_000] ?? 0)
        : 97 + (state >>> 28);
  }
  return bytes;
}

describe("inflates what zlib has deflated", () => {
  test("at every level and strategy, however it is divided, and from a kept state", () => {
    for (const strategy of [Z_DEFAULT_STRATEGY, Z_FIXED, Z_HUFFMAN_ONLY, Z_RLE])
      for (const level of [0, 1, 6, 9]) {
        const bytes = sample(level + strategy, 60_000);
        const data = zlib.deflateRawSync(bytes, { level, strategy });
        for (const chunk of [data.length, 999])
          expect(inflate(data, chunk, 2)).toEqual({
            bytes: Buffer.from(bytes),
            isDone: true,
            consumed: data.length,
          });
      }
  });

  test("whatever the bytes, byte by byte, with each symbol's state kept", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.integer({ min: 0, max: 9 }), (bytes, level) => {
        const data = zlib.deflateRawSync(bytes, { level });
        expect(inflate(data, 1, 1).bytes).toEqual(Buffer.from(bytes));
      }),
      { numRuns: 40 },
    );
  });

  test("a long file, in pieces of bounded size", () => {
    const data = zlib.deflateRawSync(new Uint8Array(3_000_000));
    const inflater = new Inflater();
    let total = 0;
    for (const piece of inflater.push(data)) {
      expect(piece.length).toBeLessThanOrEqual(128 * 1024);
      total += piece.length;
    }
    expect([total, inflater.isDone]).toEqual([3_000_000, true]);
    expect(JSON.stringify(inflater.save()).length).toBeLessThan(50_000);
  });

  test("and says where the data ended", () => {
    const data = zlib.deflateRawSync(Buffer.from("hello"));
    const result = inflate(Buffer.concat([data, Buffer.from("what follows")]));
    expect(result).toMatchObject({ bytes: Buffer.from("hello"), consumed: data.length });
  });
});

describe("refuses what is no DEFLATE data", () => {
  const stored = (length: number, check: number) => [1, length, 0, check, 255];
  test.each([
    ["a block of an unknown type", [7], "unknown type"],
    ["a stored block whose lengths differ", stored(1, 0), "length of a stored block"],
    ["a distance before the beginning", [0x03 | 0x00, 0x02, 0], "before the beginning"],
    ["more codes than there are", [0xfd, 0xff, 0xff], "too many codes"],
    ["lengths that repeat before there is one", [0x05, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0], "repeat too often"],
  ])("%s", (_, bytes, message) => {
    expect(() => inflate(Uint8Array.from(bytes))).toThrow(DamagedError);
    expect(() => inflate(Uint8Array.from(bytes))).toThrow(new RegExp(message));
  });

  test("and agrees with zlib on damaged data: neither accepts what the other refuses", () => {
    const data = zlib.deflateRawSync(sample(1, 4_000), { level: 9 });
    fc.assert(
      fc.property(fc.nat(data.length - 1), fc.integer({ min: 1, max: 255 }), (index, change) => {
        const damaged = Uint8Array.from(data);
        damaged[index] = (damaged[index] ?? 0) ^ change;
        let expected: Buffer | undefined;
        try {
          expected = zlib.inflateRawSync(damaged);
        } catch {}
        let result: Buffer | undefined;
        try {
          const { isDone, bytes } = inflate(damaged);
          if (isDone) result = bytes;
        } catch (error) {
          expect(error).toBeInstanceOf(DamagedError);
        }
        expect(result).toEqual(expected);
      }),
      { numRuns: 300 },
    );
  });

  test("data that ends too early is not done", () => {
    const data = zlib.deflateRawSync(sample(2, 10_000));
    for (const length of [0, 1, 100, data.length - 1])
      expect(inflate(data.subarray(0, length)).isDone).toBe(false);
  });
});
