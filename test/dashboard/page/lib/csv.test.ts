import { array, assert, property, string } from "fast-check";
import { expect, test } from "vitest";
import { parseCsv } from "../../../../src/dashboard/page/lib/csv.ts";

test.each([
  [
    "a,b\n1,2\n",
    [
      ["a", "b"],
      ["1", "2"],
    ],
  ],
  [
    '"a, ""b""","c\nd"\r\n,',
    [
      ['a, "b"', "c\nd"],
      ["", ""],
    ],
  ],
  [
    "a;b,c;d\n1;2;3",
    [
      ["a", "b,c", "d"],
      ["1", "2", "3"],
    ],
  ],
  [
    "a\tb\n1\t2",
    [
      ["a", "b"],
      ["1", "2"],
    ],
  ],
  [
    "\ufeffa,b\n\n1,2",
    [
      ["a", "b"],
      ["1", "2"],
    ],
  ],
  ["", []],
])("%j has rows", (text, rows) => {
  expect(parseCsv(text)).toEqual(rows);
});

test("what was written is read", () => {
  const cell = string({ minLength: 1 }).map((text) => text.replace(/^\ufeff/, "x"));
  assert(
    property(array(array(cell, { minLength: 2, maxLength: 2 }), { minLength: 1 }), (rows) => {
      const head = [["a", "b"], ...rows];
      const text = head.map((row) => row.map((one) => `"${one.replaceAll('"', '""')}"`).join(",")).join("\n");
      expect(parseCsv(text)).toEqual(head);
    }),
  );
});
