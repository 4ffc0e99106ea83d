import { assert, json, property } from "fast-check";
import { expect, test } from "vitest";
import { sortedJson } from "../../../../src/dashboard/page/lib/sorted-json.ts";

test("members are sorted by name, at every depth", () => {
  expect(sortedJson({ b: [{ z: 1, a: 2 }], a: null })).toBe(
    '{\n  "a": null,\n  "b": [\n    {\n      "a": 2,\n      "z": 1\n    }\n  ]\n}',
  );
  expect(sortedJson(undefined)).toBe("null");
});

test.each([0.1, 1e21, 9007199254740991, 5e-324, 123456789.123])("%d is written exactly", (number) => {
  expect(sortedJson({ number })).toContain(`"number": ${number}\n`);
});

test("the text is the same value", () => {
  assert(
    property(json(), (text) => {
      expect(JSON.parse(sortedJson(JSON.parse(text)))).toEqual(JSON.parse(text));
    }),
  );
});
