import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Packer, Unpacker } from "../../../../src/jobs/data/sketches/packing.ts";
import { ValueTable } from "../../../../src/jobs/data/sketches/value-table.ts";

const TEXT_BYTES = 4;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Values are small numbers: these are their hashes. */
const hashes = (value: number) => [Math.imul(value + 1, 0x9e3779b1), value] as const;

function add(table: ValueTable, value: number): void {
  const [first, second] = hashes(value);
  if (table.count(first, second)) return;
  if (table.isFull) table.prune();
  const bytes = encoder.encode(`v${value}`);
  table.insert(first, second, bytes, 0, bytes.length);
}

function tableOf(values: readonly number[], keep: number): ValueTable {
  const table = new ValueTable(keep, TEXT_BYTES);
  for (const value of values) add(table, value);
  return table;
}

function pack(table: ValueTable): Uint8Array {
  table.prune();
  const packer = new Packer();
  table.pack(packer);
  return packer.finish().slice();
}

function countsOf(table: ValueTable): Map<string, number> {
  return new Map(
    Array.from({ length: table.size }, (_, place) => [
      decoder.decode(table.text(place).bytes),
      table.counts[place] ?? Number.NaN,
    ]),
  );
}

/** The invariant of the table, for every value there was. */
function check(table: ValueTable, values: readonly number[], keep: number): void {
  const truth = new Map<string, number>();
  for (const value of values) truth.set(`v${value}`, (truth.get(`v${value}`) ?? 0) + 1);
  const counts = countsOf(table);
  expect(table.missed * (keep + 1)).toBeLessThanOrEqual(values.length);
  for (const name of counts.keys()) expect(truth.has(name)).toBe(true);
  for (const [name, count] of truth) {
    const kept = counts.get(name) ?? 0;
    expect(kept).toBeLessThanOrEqual(count);
    expect(count).toBeLessThanOrEqual(kept + table.missed);
  }
  if (table.isComplete) expect(counts).toEqual(truth);
}

/** Some values come often, many once. */
const values = fc.array(
  fc.oneof(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 30 }), fc.integer({ min: 0, max: 999 })),
  { maxLength: 500 },
);
const keeps = fc.constantFrom(0, 1, 2, 8, 20);

describe("the table of frequent values", () => {
  test("counts each value at most as often as it came, and at most `missed` times less", () => {
    fc.assert(
      fc.property(values, keeps, (all, keep) => {
        const table = tableOf(all, keep);
        check(table, all, keep);
        table.prune();
        expect(table.size).toBeLessThanOrEqual(keep);
        check(table, all, keep);
      }),
    );
  });

  test("of two parts, merged, does so for the whole", () => {
    fc.assert(
      fc.property(values, values, keeps, (one, two, keep) => {
        const merged = tableOf(one, keep);
        merged.merge(tableOf(two, keep));
        check(merged, [...one, ...two], keep);
      }),
    );
  });

  test("that becomes smaller does so too", () => {
    fc.assert(
      fc.property(values, keeps, (all, keep) => {
        check(tableOf(all, 20).shrunk(keep, TEXT_BYTES), all, keep);
      }),
    );
  });

  test("is unpacked as it was packed", () => {
    fc.assert(
      fc.property(values, keeps, (all, keep) => {
        const packed = pack(tableOf(all, keep));
        const table = ValueTable.unpack(new Unpacker(packed), keep, TEXT_BYTES);
        expect(pack(table)).toEqual(packed);
        for (const value of all) add(table, value);
        check(table, [...all, ...all], keep);
      }),
    );
  });

  test("says where it has cut a value", () => {
    const table = new ValueTable(8, 3);
    for (const text of ["abc", "abcd"]) table.insert(text.length, 0, encoder.encode(text), 0, text.length);
    expect([table.text(0).isWhole, table.text(1).isWhole]).toEqual([true, false]);
    const again = table.shrunk(8, 3);
    expect([again.text(0).isWhole, again.text(1).isWhole]).toEqual([true, false]);
  });
});
