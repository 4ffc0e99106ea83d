import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { addressOf, MAX_ADDRESS_LENGTH, mayBePage } from "../../../src/jobs/scrape/addresses.ts";

const ORIGIN = "https://shop.example";
const BASE = `${ORIGIN}/a/b?x=1`;

test.each([
  ["/c", "/c"],
  ["c", "/a/c"],
  ["../c", "/c"],
  ["../../../c", "/c"],
  ["", "/a/b?x=1"],
  ["?y=2", "/a/b?y=2"],
  ["?", "/a/b"],
  ["#top", "/a/b?x=1"],
  ["/c#top", "/c"],
  [" /c\n", "/c"],
  ["/c/", "/c/"],
  ["//shop.example/c", "/c"],
  ["https://shop.example", "/"],
  ["HTTPS://SHOP.example:443/C", "/C"],
  ["/%7Euser/%41?q=%2f%c3%a9", "/~user/A?q=%2F%C3%A9"],
  ["/ä b", "/%C3%A4%20b"],
  ["/%2e%2e/c", "/c"],
  ["/a\\b", "/a/b"],
  ["?a\\b", "/a/b?a%5Cb"],
  ["/%", "/%"],
])("%j is %s", (reference, address) => {
  expect(addressOf(reference, BASE, ORIGIN)).toEqual({ address });
});

test.each([
  ["https://other.example/c", "foreign"],
  ["http://shop.example/c", "foreign"],
  ["https://shop.example:8443/c", "foreign"],
  ["https://user@shop.example/c", "foreign"],
  ["mailto:a@shop.example", "foreign"],
  ["javascript:void(0)", "foreign"],
  ["data:text/html,x", "foreign"],
  ["http://[", "malformed"],
  [`/${"x".repeat(MAX_ADDRESS_LENGTH)}`, "malformed"],
])("%j is %s", (reference, why) => {
  expect(addressOf(reference, BASE, ORIGIN)).toBe(why);
});

describe("any address", () => {
  const part = fc.oneof(
    fc.string(),
    fc.constantFrom("..", ".", "%2e", "%2F", "%7e", "\\", "?", "#", "%", "é", "//"),
  );
  const reference = fc.array(part, { maxLength: 8 }).map((parts) => parts.join("/"));

  test("is on the origin, is ASCII that JSON does not escape, and is its own address", () => {
    fc.assert(
      fc.property(reference, (text) => {
        const found = addressOf(text, BASE, ORIGIN);
        if (typeof found !== "object") return;
        const { address } = found;
        expect(new URL(ORIGIN + address).origin).toBe(ORIGIN);
        expect(address).toMatch(/^\/[\x21-\x7e]*$/);
        expect(JSON.stringify(address)).toBe(`"${address}"`);
        expect(address).not.toContain("#");
        expect(addressOf(ORIGIN + address, BASE, ORIGIN)).toEqual({ address });
      }),
      { numRuns: 150 },
    );
  });
});

test.each([
  ["/", true],
  ["/a.html", true],
  ["/v1.2", true],
  ["/a?file=b.pdf", true],
  ["/a.PDF", false],
  ["/a.tar.gz?x=1", false],
])("%s may be a page: %s", (address, may) => {
  expect(mayBePage(address)).toBe(may);
});
