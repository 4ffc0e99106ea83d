import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Packer, Unpacker } from "../../../../src/jobs/data/sketches/packing.ts";
import { QuantileSketch, quantilesOf } from "../../../../src/jobs/data/sketches/quantiles.ts";

const SHARES = [0, 0.01, 0.25, 0.5, 0.75, 0.99, 1];
/** Below this, numbers count as 0. */
const TINY = 2 ** -1022;

const anyNumber = fc.double({ noNaN: true, noDefaultInfinity: true });
const numbers = fc.array(
  fc.oneof(anyNumber, fc.double({ min: -1000, max: 1000, noNaN: true }), fc.integer({ min: -50, max: 50 })),
  { minLength: 1, maxLength: 300 },
);
const maxBins = fc.constantFrom(4, 16, 32, 128, 2048);

function sketchOf(values: readonly number[], bins: number): QuantileSketch {
  const sketch = new QuantileSketch(bins);
  for (const value of values) sketch.add(value, 1);
  return sketch;
}

function pack(sketch: QuantileSketch): Uint8Array {
  const packer = new Packer();
  sketch.pack(packer);
  return packer.finish().slice();
}

/** Each quantile is within the stated error of the number that it estimates. */
function check(sketch: QuantileSketch, values: readonly number[]): void {
  const sorted = values.map((value) => (Math.abs(value) < TINY ? 0 : value)).toSorted((a, b) => a - b);
  const estimates = quantilesOf(sketch.bins(), SHARES);
  for (const [i, share] of SHARES.entries()) {
    const truth = sorted[Math.floor(share * (sorted.length - 1))] ?? Number.NaN;
    const off = Math.abs((estimates[i] ?? Number.NaN) / 4 - truth / 4);
    expect(off).toBeLessThanOrEqual(Math.abs(truth / 4) * sketch.relativeError * (1 + 1e-9));
  }
}

describe("the quantile sketch", () => {
  test("keeps its stated relative error for all numbers, with any number of bins", () => {
    fc.assert(
      fc.property(numbers, maxBins, (values, bins) => {
        const sketch = sketchOf(values, bins);
        expect(sketch.bins().length).toBeLessThanOrEqual(bins + 1);
        expect(sketch.count).toBe(values.length);
        check(sketch, values);
      }),
    );
  });

  test("of two parts, merged, keeps it too", () => {
    fc.assert(
      fc.property(numbers, numbers, maxBins, maxBins, (one, two, first, second) => {
        const merged = sketchOf(one, first);
        merged.merge(sketchOf(two, second));
        expect(merged.count).toBe(one.length + two.length);
        check(merged, [...one, ...two]);
      }),
    );
  });

  test("with fewer bins keeps it too", () => {
    fc.assert(
      fc.property(numbers, maxBins, (values, bins) => {
        const sketch = sketchOf(values, 2048);
        sketch.lowerMaxBins(bins);
        expect(sketch.bins().length).toBeLessThanOrEqual(bins + 1);
        check(sketch, values);
      }),
    );
  });

  test("is unpacked as it was packed", () => {
    fc.assert(
      fc.property(numbers, maxBins, (values, bins) => {
        const packed = pack(sketchOf(values, bins));
        const sketch = QuantileSketch.unpack(new Unpacker(packed));
        expect(pack(sketch)).toEqual(packed);
        check(sketch, values);
      }),
    );
  });

  test("has an error of less than 1 % over fifteen orders of magnitude", () => {
    const values = Array.from({ length: 2_000 }, (_, i) => 10 ** ((i % 15) - 5) * (1 + (i % 7)));
    expect(sketchOf(values, 2048).relativeError).toBe(1 / 129);
  });
});
