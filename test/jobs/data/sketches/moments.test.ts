import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Moments } from "../../../../src/jobs/data/sketches/moments.ts";
import { Packer, Unpacker } from "../../../../src/jobs/data/sketches/packing.ts";

const numbers = fc.array(fc.double({ min: -1e6, max: 1e6, noNaN: true }), { minLength: 2, maxLength: 200 });

function momentsOf(values: readonly number[]): Moments {
  const moments = new Moments();
  for (const value of values) moments.add(value, 1);
  return moments;
}

/** In two passes, as the definition says. */
function check(moments: Moments, values: readonly number[]): void {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  expect(moments.count).toBe(values.length);
  expect(moments.mean).toBeCloseTo(mean, 6);
  expect(moments.standardDeviation).toBeCloseTo(Math.sqrt(squares / (values.length - 1)), 4);
  expect([moments.min, moments.max]).toEqual([Math.min(...values), Math.max(...values)]);
}

describe("mean and standard deviation", () => {
  test("are those of the definition, also merged, weighted and unpacked", () => {
    fc.assert(
      fc.property(numbers, numbers, fc.integer({ min: 1, max: 20 }), (one, two, times) => {
        const moments = momentsOf(one);
        check(moments, one);
        moments.merge(momentsOf(two));
        moments.add(3, times);
        const packer = new Packer();
        moments.pack(packer);
        const again = Moments.unpack(new Unpacker(packer.finish()));
        expect(again).toEqual(moments);
        check(again, [...one, ...two, ...Array.from({ length: times }, () => 3)]);
      }),
    );
  });

  test("keep their digits where the numbers are large beside their differences", () => {
    const moments = momentsOf([1e9 + 4, 1e9 + 7, 1e9 + 13, 1e9 + 16]);
    expect(moments.standardDeviation ** 2).toBeCloseTo(30, 9);
  });

  test("of one number there is no deviation; of none, nothing is packed", () => {
    expect(momentsOf([5]).standardDeviation).toBeNaN();
    const empty = new Moments();
    empty.merge(new Moments());
    const packer = new Packer();
    empty.pack(packer);
    expect(packer.finish()).toEqual(new Uint8Array([0]));
    expect(Moments.unpack(new Unpacker(packer.finish())).count).toBe(0);
  });
});
