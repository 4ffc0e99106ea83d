import { describe, expect, test } from "vitest";
import { parseExactly } from "../../../src/jobs/scrape/json-exact.ts";
import { headerLine, toRows } from "../../../src/jobs/scrape/rows.ts";

describe("NDJSON", () => {
  test("has an item a line, with its numbers as they were written", () => {
    const items = parseExactly(
      '[{"id": 12345678901234567890, "x": 1.50, "y": 1E3, "s": "a\\nb"}, 2, null, [3.0]]',
    );
    const { text } = toRows("ndjson", items as unknown[], undefined);
    expect(text).toBe('{"id":12345678901234567890,"x":1.50,"y":1E3,"s":"a\\nb"}\n2\nnull\n[3.0]\n');
  });
});

describe("CSV", () => {
  test("has the members of all items of the first page as its columns", () => {
    const items = [{ a: 1 }, { b: "x", a: null }, "loose"];
    expect(toRows("csv", items, undefined)).toEqual({
      text: "1,,\r\n,x,\r\n,,loose\r\n",
      columns: ["a", "b", "value"],
      unknown: [],
    });
  });

  test("keeps to columns that are settled, and names what they leave out", () => {
    expect(toRows("csv", [{ c: 1, a: 2, d: 3 }], ["a", "b"])).toEqual({
      text: "2,\r\n",
      columns: ["a", "b"],
      unknown: ["c", "d"],
    });
  });

  test.each<[unknown, string]>([
    ["plain", "plain"],
    ["a,b", '"a,b"'],
    ['say "hi"', '"say ""hi"""'],
    ["two\nlines", '"two\nlines"'],
    ["two\rlines", '"two\rlines"'],
    [" padded ", '" padded "'],
    [true, "true"],
    [0, "0"],
    [parseExactly("12345678901234567890"), "12345678901234567890"],
    [{ a: [1] }, '"{""a"":[1]}"'],
    [[1, 2], '"[1,2]"'],
    [null, ""],
    [undefined, ""],
  ])("writes %j as %s", (value, cell) => {
    expect(toRows("csv", [{ value }], ["value"]).text).toBe(`${cell}\r\n`);
  });

  test("has the names of columns in its first line, quoted like cells", () => {
    expect(headerLine(["a", 'b"', "c,d"])).toBe('a,"b""","c,d"\r\n');
  });

  test("takes no member from a prototype", () => {
    expect(toRows("csv", [JSON.parse('{"__proto__": "x"}')], ["__proto__", "toString"]).text).toBe("x,\r\n");
  });
});
