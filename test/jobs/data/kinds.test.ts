import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FieldReader, KINDS } from "../../../src/jobs/data/kinds.ts";

function read(text: string, decimal: "." | "," = ".", nulls: string[] = []): [string | undefined, number] {
  const reader = new FieldReader(decimal, nulls);
  const bytes = new TextEncoder().encode(`,${text},`);
  return [KINDS[reader.read(bytes, 1, bytes.length - 1)], reader.value];
}

describe("the kind of a field", () => {
  test.each<[string, string, number]>([
    ["0", "integer", 0],
    ["-12", "integer", -12],
    [" 7 ", "integer", 7],
    ["9007199254740991", "integer", 9007199254740991],
    ["123456789012345678901234567890", "integer", 1.2345678901234568e29],
    ["1,234", "integer", 1234],
    ["12,345,678", "integer", 12345678],
    ["1,234.5", "decimal", 1234.5],
    ["0.1", "decimal", 0.1],
    [".5", "decimal", 0.5],
    ["5.", "decimal", 5],
    ["-0.000001", "decimal", -0.000001],
    ["1e3", "decimal", 1000],
    ["1.5E-10", "decimal", 1.5e-10],
    ["0.1234567890123456789", "decimal", 0.12345678901234568],
    ["true", "boolean", 0],
    ["FALSE", "boolean", 0],
    ["2024-02-29", "date", Date.UTC(2024, 1, 29)],
    ["2024/02/29", "date", Date.UTC(2024, 1, 29)],
    ["29.02.2024", "date", Date.UTC(2024, 1, 29)],
    ["0099-01-01", "date", new Date("0099-01-01").getTime()],
    ["2024-01-02T03:04", "datetime", Date.UTC(2024, 0, 2, 3, 4)],
    ["2024-01-02 03:04:05.678Z", "datetime", Date.UTC(2024, 0, 2, 3, 4, 5, 678)],
    ["2024-01-02T03:04:05-05:30", "datetime", Date.UTC(2024, 0, 2, 8, 34, 5)],
    ["2024-01-02T03:04:05+0100", "datetime", Date.UTC(2024, 0, 2, 2, 4, 5)],
    ["2024-01-02T03:04:05+01", "datetime", Date.UTC(2024, 0, 2, 2, 4, 5)],
    ["", "null", 0],
    ["   ", "null", 0],
  ])("%j is %s", (text, kind, value) => {
    expect(read(text)).toEqual([kind, value]);
  });

  test.each([
    "007",
    "-007",
    "+49",
    "1e400",
    "NaN",
    "Infinity",
    "-",
    ".",
    "-.",
    "1.2.3",
    "1,23",
    "1234,567",
    ",123",
    "1,234,",
    "12e",
    "1e",
    "0x10",
    "1 000",
    "5%",
    "$5",
    "--1",
    "2023-02-29",
    "2024-13-01",
    "2024-1-1",
    "01/02/2024",
    "2024-01-02T25:00",
    "2024-01-02T03:60",
    "2024-01-02T03",
    "2024-01-02X03:04",
    "2024-01-02T03:04+1",
    "2024-01-02T03:04:05Zx",
    "32.01.2024",
    "yes",
    "tRUE",
    "NULL",
    "1".repeat(401),
  ])("%j is text", (text) => {
    expect(read(text)).toEqual(["text", 0]);
  });

  test.each<[string, string, number]>([
    ["1.234,5", "decimal", 1234.5],
    ["0,25", "decimal", 0.25],
    ["1.234", "integer", 1234],
    ["1.2", "text", 0],
    ["1,234.5", "text", 0],
    ["29.02.2024", "date", Date.UTC(2024, 1, 29)],
  ])("%j is %s where the decimal separator is a comma", (text, kind, value) => {
    expect(read(text, ",")).toEqual([kind, value]);
  });

  test("a text for no value is none only as a whole", () => {
    expect(["NULL", " NULL ", "NULLS", "NUL", "-"].map((text) => read(text, ".", ["NULL", "-"])[0])).toEqual([
      "null",
      "null",
      "text",
      "text",
      "null",
    ]);
  });

  test("every number that JavaScript writes is read as the same number", () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (value) => {
        const [kind, found] = read(String(value));
        expect([["integer", "decimal"].includes(String(kind)), found]).toEqual([true, value + 0]);
      }),
    );
  });
});
