/** `Prefer: wait=N` (RFC 7240): how long a caller is willing to wait. */
import { expect, test } from "vitest";
import { parseWait } from "../../../src/tasks/http/idempotency.ts";

test.each([
  [undefined, undefined],
  ["wait=2", 2],
  ["wait=0", 0],
  ["wait=60", 60],
  ["wait=61", 60],
  ["wait=999999999", 60],
  ["wait=9999999999", 60],
  [`wait=${"9".repeat(400)}`, 60],
  ['wait="2"', 2],
  ["WAIT = 2", 2],
  ["respond-async, wait=2", 2],
  ["wait=2, respond-async", 2],
  ["wait=2; foo=bar", 2],
  ["handling=lenient,wait=2,return=minimal", 2],
  ["", undefined],
  ["wait", undefined],
  ["wait=", undefined],
  ["wait=-1", undefined],
  ["wait=1.5", undefined],
  ["wait=2s", undefined],
  ["wait=soon", undefined],
  ["await=2", undefined],
  ["wait-not=2", undefined],
  ["return=wait", undefined],
  // A parameter of another preference, and quoted text.
  ["foo; wait=5", undefined],
  ["foo;wait=5, wait=2", 2],
  ['foo="wait=5"', undefined],
  ['foo="bar, wait=5"', undefined],
  ['foo="bar, wait=5, baz"', undefined],
  ['foo="wait=9", wait=2', 2],
  ['wait="2", foo="wait=9"', 2],
  ['foo="a, b";c="d", wait=2', 2],
  ['foo="", wait=2', 2],
  ['wait=""', undefined],
  ['wait="soon"', undefined],
  ['"wait=5"', undefined],
  // Within quotes, a backslash escapes the next character (RFC 9110 §5.6.4).
  ['foo="a \\", wait=9, \\" b"', undefined],
  ['foo="\\"", wait=2', 2],
  ['wait=1"2"', undefined],
  ['wait="2', undefined],
  ['wait=2"', undefined],
])("Prefer: %s waits %s seconds", (header, seconds) => {
  expect(parseWait(header)).toBe(seconds);
});
