/** The three forms of a date in HTTP (RFC 9110 §5.6.7). */
import { describe, expect, test } from "vitest";
import { parseHttpDate } from "../../src/kernel/http-date.ts";

const NOW_MS = Date.parse("2026-11-26T12:00:00Z");

describe("a date", () => {
  test.each([
    ["Sun, 06 Nov 1994 08:49:37 GMT", "1994-11-06T08:49:37Z"],
    ["Sunday, 06-Nov-94 08:49:37 GMT", "1994-11-06T08:49:37Z"],
    ["Sun Nov  6 08:49:37 1994", "1994-11-06T08:49:37Z"],
    ["Wed Nov 16 08:49:37 1994", "1994-11-16T08:49:37Z"],
    ["  Thu, 26 Nov 2026 12:00:30 GMT ", "2026-11-26T12:00:30Z"],
    ["Tuesday, 01-Jan-30 00:00:00 GMT", "2030-01-01T00:00:00Z"],
    ["Tuesday, 01-Jan-76 00:00:00 GMT", "2076-01-01T00:00:00Z"],
    ["Saturday, 01-Jan-77 00:00:00 GMT", "1977-01-01T00:00:00Z"],
    // Fifty years ahead to the second, and a second more.
    ["Thursday, 26-Nov-76 12:00:00 GMT", "2076-11-26T12:00:00Z"],
    ["Friday, 26-Nov-76 12:00:01 GMT", "1976-11-26T12:00:01Z"],
    ["Thu, 29 Feb 2024 00:00:00 GMT", "2024-02-29T00:00:00Z"],
    ["Sat, 31 Dec 2016 23:59:60 GMT", "2017-01-01T00:00:00Z"],
  ])("%s is read", (text, expected) => {
    expect(parseHttpDate(text, NOW_MS)).toBe(Date.parse(expected));
  });

  test.each([
    "",
    "0",
    "-1",
    "now",
    "GMT",
    "2026-11-26",
    "2026-11-26T12:00:00Z",
    "26 Nov 2026 12:00:30 GMT",
    "Thu, 26 Nov 2026 12:00:30",
    "Thu, 26 Nov 2026 12:00:30 UTC",
    "Thu, 26 Nov 2026 12:00:30 +0000",
    "Thu, 26 nov 2026 12:00:30 GMT",
    "Thu, 26 Nov 2026 24:00:00 GMT",
    "Thu, 26 Nov 2026 12:60:00 GMT",
    "Fri, 30 Feb 2024 00:00:00 GMT",
    "Sun Nov 6 08:49:37 1994",
    "Thu, 26 Nov 2026 12:00:30 GMT, Thu, 26 Nov 2026 12:00:31 GMT",
  ])("%s is not", (text) => {
    expect(parseHttpDate(text, NOW_MS)).toBeUndefined();
  });
});
