import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DistinctSketch } from "../../../../src/jobs/data/sketches/distinct.ts";
import { Packer, Unpacker } from "../../../../src/jobs/data/sketches/packing.ts";

/** Two independent hashes of a number (splitmix32), as a column makes them of bytes. */
function hash(value: number, seed: number): number {
  let bits = (Math.imul(value, 0x9e3779b9) + seed) | 0;
  bits = Math.imul(bits ^ (bits >>> 16), 0x21f0aaad);
  bits = Math.imul(bits ^ (bits >>> 15), 0x735a2d97);
  return bits ^ (bits >>> 15);
}

function sketchOf(values: Iterable<number>, precision = 10): DistinctSketch {
  const sketch = new DistinctSketch(precision);
  for (const value of values) sketch.add(hash(value, 1), hash(value, 77));
  return sketch;
}

function pack(sketch: DistinctSketch): Uint8Array {
  const packer = new Packer();
  sketch.pack(packer);
  return packer.finish().slice();
}

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);
const values = fc.array(fc.integer({ min: 0, max: 5_000 }), { maxLength: 2_000 });
const precisions = fc.integer({ min: 4, max: 13 });

describe("HyperLogLog", () => {
  test.each([0, 1, 10, 1_000, 5_000, 100_000])(
    "estimates %d different values within four standard errors",
    (count) => {
      for (const precision of [4, 8, 10, 13]) {
        const sketch = sketchOf(range(0, count), precision);
        const allowed = Math.max(4 * sketch.relativeError * count, 0.5);
        expect(Math.abs(sketch.estimate() - count)).toBeLessThanOrEqual(allowed);
      }
    },
  );

  test("depends neither on the order of values nor on how often they come", () => {
    fc.assert(
      fc.property(values, precisions, (all, precision) => {
        const again = [...all, ...all].toReversed();
        expect(pack(sketchOf(again, precision))).toEqual(pack(sketchOf(all, precision)));
      }),
      { numRuns: 30 },
    );
  });

  test("of two parts, merged, is that of the whole, at the lower precision", () => {
    fc.assert(
      fc.property(values, values, precisions, precisions, (one, two, first, second) => {
        const merged = sketchOf(one, first);
        merged.merge(sketchOf(two, second));
        expect(pack(merged)).toEqual(pack(sketchOf([...one, ...two], Math.min(first, second))));
      }),
      { numRuns: 30 },
    );
  });

  test("is unpacked as it was packed, in at most six bits a register", () => {
    fc.assert(
      fc.property(values, precisions, (all, precision) => {
        const packed = pack(sketchOf(all, precision));
        expect(packed.length).toBeLessThanOrEqual(2 ** precision * 0.75 + 4);
        expect(pack(DistinctSketch.unpack(new Unpacker(packed)))).toEqual(packed);
      }),
      { numRuns: 30 },
    );
  });
});
