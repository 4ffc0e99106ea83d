import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { charsetOf, cleanMediaType, essenceOf, servedType } from "../../../src/files/store/media-type.ts";

const UNKNOWN = "application/octet-stream";

describe("what a client sent", () => {
  test.each([
    ["text/plain", "text/plain"],
    ["Image/SVG+XML", "image/svg+xml"],
    [" text/plain ", "text/plain"],
    ["application/vnd.a-b_c.d+json", "application/vnd.a-b_c.d+json"],
    // Parameters are kept, in one form.
    ["text/plain; charset=iso-8859-1", "text/plain; charset=iso-8859-1"],
    ["text/plain;charset=ISO-8859-1", "text/plain; charset=ISO-8859-1"],
    ["Text/HTML ; Charset=UTF-8", "text/html; charset=UTF-8"],
    ['text/plain; charset="utf-8"', "text/plain; charset=utf-8"],
    ["text/csv; header=present; charset=windows-1252", "text/csv; header=present; charset=windows-1252"],
    ['video/mp4; codecs="avc1.42E01E, mp4a.40.2"', 'video/mp4; codecs="avc1.42E01E, mp4a.40.2"'],
    ['a/b; c="\\"\\\\"', 'a/b; c="\\"\\\\"'],
    ['multipart/related; boundary=x; type="text/xml"', 'multipart/related; boundary=x; type="text/xml"'],
    // What is malformed is left out.
    ["text/plain; charset", "text/plain"],
    ["text/plain; charset=", "text/plain"],
    ["text/plain; charset=; charset=utf-16", "text/plain"],
    ['text/plain; charset="utf-8', "text/plain"],
    ["text/plain; =x; a b=c; d=\u00e9;; e=f;", "text/plain; e=f"],
    ["text/plain; charset=a; charset=b", "text/plain; charset=a"],
    ["text/plain; __proto__=x", "text/plain; __proto__=x"],
    [undefined, UNKNOWN],
    [null, UNKNOWN],
    ["", UNKNOWN],
    ["nonsense", UNKNOWN],
    ["nonsense; charset=utf-8", UNKNOWN],
    ["text/", UNKNOWN],
    ["text/a/b", UNKNOWN],
    ["text/\u00e9", UNKNOWN],
    ["text/a\r\nb", UNKNOWN],
    ["text/plain, text/html", UNKNOWN],
    [`text/${"x".repeat(123)}`, UNKNOWN],
    [`text/${"x".repeat(122)}`, `text/${"x".repeat(122)}`],
    [`text/plain; x=${"y".repeat(985)}`, `text/plain; x=${"y".repeat(985)}`.slice(0, 1000)],
    [`text/plain; x=${"y".repeat(2000)}`, UNKNOWN],
  ])("%j is kept as %j", (sent, kept) => {
    expect(cleanMediaType(sent)).toBe(kept);
  });

  test("is one line of ASCII afterwards, whatever it was, and cleaning it again changes nothing", () => {
    const pieces = fc.constantFrom(
      "text",
      "/",
      ";",
      "=",
      '"',
      "\\",
      " ",
      "\r\n",
      ",",
      "charset",
      "\u00e9",
      "x",
      "\0",
    );
    const anything = fc.array(pieces, { maxLength: 15 }).map((all) => `text/plain${all.join("")}`);
    fc.assert(
      fc.property(fc.oneof(anything, fc.string({ unit: "binary" })), (sent) => {
        const kept = cleanMediaType(sent);
        expect(kept).toMatch(/^[\w!#$&^.+-]+\/[\w!#$&^.+-]+(?:; [\t\x20-\x7e]+)?$/);
        expect(cleanMediaType(kept)).toBe(kept);
      }),
      { numRuns: 2000 },
    );
  });
});

test.each([
  ["text/plain", "text/plain", undefined],
  ["text/plain; charset=iso-8859-1", "text/plain", "iso-8859-1"],
  ['video/mp4; codecs="a; charset=b"', "video/mp4", undefined],
])("of %s, the essence is %s and the charset %s", (type, essence, charset) => {
  expect([essenceOf(type), charsetOf(type)]).toEqual([essence, charset]);
});

describe("the Content-Type of a download", () => {
  test.each([
    // Text whose charset nobody said.
    ["text/plain", "text/plain; charset=utf-8"],
    ["text/csv; header=present", "text/csv; header=present; charset=utf-8"],
    ["text/markdown", "text/markdown; charset=utf-8"],
    // What was said stays.
    ["text/plain; charset=iso-8859-1", "text/plain; charset=iso-8859-1"],
    ["text/csv; charset=utf-16", "text/csv; charset=utf-16"],
    // These say it in their first bytes.
    ["text/html", "text/html"],
    ["text/xml", "text/xml"],
    ["text/css", "text/css"],
    // Not text.
    ["image/png", "image/png"],
    ["application/json", "application/json"],
    ["application/json; charset=latin1", "application/json; charset=latin1"],
    ["application/octet-stream", "application/octet-stream"],
  ])("of %s is %s", (type, served) => {
    expect(servedType(type)).toBe(served);
  });
});
