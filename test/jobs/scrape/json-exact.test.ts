import { expect, test } from "vitest";
import { parseExactly } from "../../../src/jobs/scrape/json-exact.ts";

test.each([
  "1",
  "0.1",
  "1e300",
  "12345678901234567890",
  "1.0",
  "[1.10,2]",
  '{"a":{"b":9007199254740993}}',
  '"1e5 \\u0000"',
  "null",
])("%s is written as it was read", (text) => {
  expect(JSON.stringify(parseExactly(text))).toBe(text);
});

test("ordinary numbers are numbers", () => {
  expect(parseExactly('{"a": 1, "b": 12345678901234567890, "c": 2.5}')).toMatchObject({ a: 1, c: 2.5 });
});

test("what is no JSON throws", () => {
  expect(() => parseExactly("{")).toThrow(SyntaxError);
  expect(() => parseExactly("1234567890123456789,")).toThrow(SyntaxError);
});
