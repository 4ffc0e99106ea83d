import { describe, expect, test } from "vitest";
import {
  firstPage,
  memberOf,
  nextPage,
  type Pagination,
  paginationSchema,
  withParameter,
} from "../../../src/jobs/scrape/pagination.ts";

const ORIGIN = "https://api.example";
const LAST = { end: "last-page" };

/** What comes after a page of ten items. */
function after(
  pagination: object,
  more: { address?: string; value?: unknown; headers?: Record<string, string>; itemCount?: number },
) {
  const { address = "/items", value = [], headers = {}, itemCount = 10 } = more;
  const parsed: Pagination = paginationSchema.parse(pagination);
  return nextPage(parsed, { address, value, headers: new Headers(headers), itemCount }, ORIGIN);
}

describe("by link", () => {
  const by = { by: "link" };
  test.each<[string, unknown]>([
    ["</items?page=2>; rel=next", { address: "/items?page=2" }],
    ["<?page=2>; rel=next", { address: "/items?page=2" }],
    [`<${ORIGIN}/v2/items?page=2>; rel="next"`, { address: "/v2/items?page=2" }],
    ["<https://other.example/items>; rel=next", { end: "foreign" }],
    ["<http://[>; rel=next", { end: "malformed" }],
    ["</items>; rel=prev", LAST],
    ["", LAST],
  ])("%s", (link, next) => {
    expect(after(by, { headers: { link } })).toEqual(next);
  });

  test("a page without items has a next one all the same", () => {
    expect(after(by, { headers: { link: "</b>; rel=next" }, itemCount: 0 })).toEqual({ address: "/b" });
  });
});

describe("by cursor", () => {
  const by = { by: "cursor", member: "meta.next", parameter: "after" };
  const value = (next: unknown) => ({ value: { meta: { next } } });

  test.each<[string, unknown, unknown]>([
    ["text", "a b&c", { address: "/items?limit=5&after=a%20b%26c" }],
    ["a number", 7, { address: "/items?limit=5&after=7" }],
    ["zero", 0, { address: "/items?limit=5&after=0" }],
    ["null", null, LAST],
    ["nothing", undefined, LAST],
    ["empty text", "", LAST],
    ["false", false, LAST],
    ["true", true, { end: "malformed" }],
    ["an object", { a: 1 }, { end: "malformed" }],
  ])("that is %s", (_, next, expected) => {
    expect(after(by, { address: "/items?limit=5&after=old", ...value(next) })).toEqual(expected);
  });

  test("that is the address itself", () => {
    const own = { by: "cursor", member: "meta.next" };
    expect(after(own, value(`${ORIGIN}/items?p=2`))).toEqual({ address: "/items?p=2" });
    expect(after(own, value("https://other.example/"))).toEqual({ end: "foreign" });
  });

  test("in a header", () => {
    const own = { by: "cursor", header: "X-Next", parameter: "c" };
    expect(after(own, { headers: { "x-next": "z" } })).toEqual({ address: "/items?c=z" });
    expect(after(own, {})).toEqual(LAST);
  });
});

describe("by count", () => {
  test("of pages", () => {
    expect(firstPage(paginationSchema.parse({ by: "page" }), "/items?q=a%20b")).toBe("/items?q=a%20b&page=1");
    expect(firstPage(paginationSchema.parse({ by: "page", first: 0 }), "/items?page=3")).toBe(
      "/items?page=3",
    );
    expect(after({ by: "page" }, { address: "/items?q=a%20b&page=9" })).toEqual({
      address: "/items?q=a%20b&page=10",
    });
    expect(after({ by: "page" }, { address: "/items?page=9", itemCount: 0 })).toEqual(LAST);
    expect(after({ by: "page" }, { address: "/items?page=x" })).toEqual({ end: "malformed" });
  });

  test("of items", () => {
    const by = { by: "offset", parameter: "skip" };
    expect(firstPage(paginationSchema.parse(by), "/items")).toBe("/items?skip=0");
    expect(after(by, { address: "/items?skip=20", itemCount: 7 })).toEqual({ address: "/items?skip=27" });
    expect(after(by, { address: "/items?skip=20", itemCount: 0 })).toEqual(LAST);
  });
});

test.each([
  ["neither a member nor a header", { by: "cursor", parameter: "c" }],
  ["both", { by: "cursor", member: "a", header: "b" }],
  ["a header that is none", { by: "cursor", header: "a b" }],
  ["another way", { by: "guess" }],
  ["a member too many", { by: "link", member: "a" }],
  ["a page before the first", { by: "page", first: -1 }],
])("%s is no pagination", (_, value) => {
  expect(paginationSchema.safeParse(value).success).toBe(false);
});

test("a member is found by its path, and only if it is the value's own", () => {
  expect(memberOf({ a: { "0": [1] } }, "a.0")).toEqual([1]);
  expect(memberOf({ a: [{ b: 1 }] }, "a.0.b")).toBe(1);
  for (const path of ["toString", "a.constructor", "b", "a.b.c", ""])
    expect(memberOf({ a: {} }, path)).toBeUndefined();
  expect(memberOf(null, "a")).toBeUndefined();
});

test("a parameter takes the place of all of its name, and leaves the others as they are written", () => {
  expect(withParameter("/a?x=1&p=2&y=%7e&p=3&&p", "p", "4")).toBe("/a?x=1&y=%7e&p=4");
  expect(withParameter("/a", "p q", "ä")).toBe("/a?p%20q=%C3%A4");
});
