import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Hasher, mix, PADDING_BYTES } from "../../../src/jobs/data/hashing.ts";
import { DistinctSketch } from "../../../src/jobs/data/sketches/distinct.ts";

const hasher = new Hasher();

/** Both hashes of bytes that begin at `offset`, with any others around them. */
function hash(bytes: Uint8Array, salt = 0, offset = 0, other = 0): readonly [number, number] {
  const all = new Uint8Array(offset + bytes.length + PADDING_BYTES).fill(other);
  all.set(bytes, offset);
  hasher.hash(new DataView(all.buffer), offset, offset + bytes.length, salt);
  return [hasher.first, hasher.second];
}

const hashText = (text: string) => hash(new TextEncoder().encode(text));

describe("the hashes of a value", () => {
  test("are those of its bytes, wherever they lie and whatever comes after them", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 20 }),
        fc.nat({ max: 9 }),
        fc.nat({ max: 255 }),
        (bytes, at, other) => {
          expect(hash(bytes, 0, at, other)).toEqual(hash(bytes));
        },
      ),
    );
  });

  test("tell zeros from nothing, and values of one salt from those of another", () => {
    const zeros = Array.from({ length: 9 }, (_, length) => hash(new Uint8Array(length)).join());
    expect(new Set(zeros).size).toBe(9);
    const salted = [0, 1, 2].map((salt) => hash(new Uint8Array([1, 2, 3]), salt).join());
    expect(new Set(salted).size).toBe(3);
  });

  const SETS: Record<string, (n: number) => string> = {
    numbers: String,
    "numbers with a long part in common": (n) => `https://example.com/orders/${n}?from=list`,
    "numbers at the beginning": (n) => `${n} is a number that comes before a text`,
    decimals: (n) => (n / 100).toFixed(2),
    dates: (n) => new Date(n * 3_600_000).toISOString(),
    "pairs of digits": (n) => `${n % 317}-${Math.floor(n / 317)}`,
  };

  test.each(Object.entries(SETS))("of 10,000 %s are all different, and spread evenly", (_, make) => {
    const seen = new Set<string>();
    const sketch = new DistinctSketch(13);
    for (let n = 0; n < 10_000; n++) {
      const [first, second] = hashText(make(n));
      seen.add(`${first} ${second}`);
      sketch.add(first, mix(second ^ first));
    }
    expect(seen.size).toBe(10_000);
    expect(Math.abs(sketch.estimate() / 10_000 - 1)).toBeLessThan(4 * sketch.relativeError);
  });
});
