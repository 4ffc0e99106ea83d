import { describe, expect, test } from "vitest";
import { Columns } from "../../../src/jobs/data/columns.ts";
import { ValueAdder } from "../../../src/jobs/data/values.ts";
import { analyzeBytes, checkpointKeeper } from "../../support/analysis.ts";

const MIB = 1024 * 1024;

/** Values of every kind and size: what makes the state of a column as large as it can be. */
function fill(columns: Columns, rows: number): void {
  const values = new ValueAdder([]);
  for (const [place, column] of columns.columns.entries())
    for (let row = 0; row < rows; row++) {
      const n = place * 31 + row * 7919;
      values.add(column, Math.sin(n) * 10 ** ((n % 600) - 300));
      values.add(column, `text of a value that is much longer than what is kept of it ${n}`);
      values.add(column, new Date(1e12 + n));
    }
}

describe("the checkpoint of many columns", () => {
  test.each([1, 24, 200, 600, 10_000])("of %d columns has less than 1 MiB of text", (count) => {
    const columns = new Columns(Array.from({ length: count }, (_, i) => `c${i}`));
    fill(columns, Math.max(3, Math.ceil(6_000 / count)));
    const text = Buffer.from(columns.pack()).toString("base64");
    expect(text.length).toBeLessThan(MIB - 50_000);
  });

  test("that come with the rows, with their names, has less too, and each row that has no room is malformed", async () => {
    const line = (i: number) =>
      JSON.stringify(
        Object.fromEntries(Array.from({ length: 100 }, (_, n) => [`c${i * 100 + n}`, n + i / 7])),
      );
    const lines = Array.from({ length: 120 }, (_, i) => line(i)).join("\n");
    const { kept, save } = checkpointKeeper();
    const result = await analyzeBytes(lines, { checkpointBytes: 20_000, save });
    expect(result).toMatchObject({
      rows: 120,
      columnCount: 10_000,
      malformed: { count: 20, reasons: { too_many_columns: 20 } },
    });
    for (const checkpoint of kept) expect(JSON.stringify(checkpoint).length).toBeLessThan(MIB);
    expect(await analyzeBytes(lines, { checkpointBytes: 20_000, from: kept.at(-1) })).toEqual(result);
  });
});

describe("the precision", () => {
  test("falls with the number of columns, and each result says what it is", async () => {
    const wide = (columns: number) => {
      const row = (n: number) => Array.from({ length: columns }, (_, i) => n * 1.5 + i).join();
      return analyzeBytes(
        `${Array.from({ length: columns }, (_, i) => `c${i}`).join()}\n${row(1)}\n${row(2)}\n`,
      );
    };
    const [few, many, most] = [await wide(10), await wide(500), await wide(2_500)];
    expect([few, many, most].map(({ precision }) => precision.distinctError)).toEqual([0.0115, 0.065, null]);
    expect(few.columns[0]?.numbers?.quantiles).toMatchObject({ p50: 1.5, p99: 1.5 });
    expect(most.columns[0]?.numbers).toMatchObject({ quantiles: null, mean: 2.25, min: 1.5, max: 3 });
    expect(most.columns[0]).toMatchObject({ distinct: 2, frequent: [] });
  });
});
