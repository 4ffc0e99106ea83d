import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { contradiction, HEAD_SIZE, HeadCheck } from "../../../src/files/store/content.ts";
import { FAMILIES } from "../../../src/files/store/magic-numbers.ts";

const bytes = (text: string) => Buffer.from(text, "latin1");
const utf8 = (text: string) => Buffer.from(text, "utf8");
const PNG = bytes("\x89PNG\r\n\x1a\n\0\0\0\rIHDR");
const ZIP = bytes("PK\x03\x04\x14\0");
const HTML = utf8("<!DOCTYPE html><script>alert(1)</script>");

describe("a file can be what it says", () => {
  test.each<[string, Uint8Array]>([
    ["image/png", PNG],
    ["image/jpeg", bytes("\xff\xd8\xff\xe0")],
    ["image/webp", bytes("RIFF\x10\0\0\0WEBPVP8 ")],
    ["image/avif", bytes("\0\0\0\x20ftypavif")],
    ["video/mp4", bytes("\0\0\0\x20ftypisom")],
    ["audio/mpeg", bytes("ID3\x04")],
    ["application/pdf", bytes("%PDF-1.7\n%\xe2\xe3")],
    ["application/zip", ZIP],
    ["application/vnd.openxmlformats-officedocument.wordprocessingml.document", ZIP],
    ["application/vnd.acme.package", ZIP],
    ["application/x-tar", Buffer.concat([Buffer.alloc(257, 97), bytes("ustar")])],
    ["text/plain", utf8("naïve 日本")],
    ["text/plain; charset=UTF-8", utf8("\ufeffa")],
    ["text/plain", utf8("BMW, MZ and OTTO")],
    ["text/plain", utf8("")],
    ["text/csv", utf8("a,b\n1,2\n")],
    ["text/html", HTML],
    ["text/markdown", utf8("<p align=center>")],
    ["application/json", utf8(' {"a":1}')],
    ["application/ld+json", utf8("[]")],
    ["text/xml", utf8("\ufeff<?xml version='1.0'?><a/>")],
    ["image/svg+xml", utf8("<?xml version='1.0'?>\n<!-- x -->\n<svg xmlns='http://www.w3.org/2000/svg'/>")],
    ["application/octet-stream", HTML],
    ["application/octet-stream", PNG],
    ["model/gltf-binary", bytes("glTF\x02\0")],
    ["image/x-unheard-of", bytes("\x01\0\x03")],
    ["application/x-unheard-of", utf8("text, or not")],
  ])("%s", (type, head) => {
    expect(contradiction(type, head, true)).toBeUndefined();
  });
});

describe("and is refused if its bytes contradict that", () => {
  test.each<[string, Uint8Array, string]>([
    ["image/png", HTML, "begins as text/html does"],
    ["image/png", ZIP, "begins as application/zip does"],
    ["image/png", utf8(""), "begins with no byte"],
    ["image/png", utf8("hello"), "begins as text does"],
    ["image/png", PNG.subarray(0, 7), "begins as no such file does"],
    ["image/jpeg", PNG, "begins as image/png does"],
    ["image/webp", bytes("RIFF\x10\0\0\0WAVE"), "begins as audio/wav does"],
    ["image/x-unheard-of", HTML, "begins as text/html does"],
    ["image/x-unheard-of", utf8("hello"), "begins as text does"],
    ["image/x-unheard-of", ZIP, "begins as application/zip does"],
    ["application/x-unheard-of", HTML, "begins as text/html does"],
    ["application/x-unheard-of", bytes("\x7fELF\x02"), "begins as application/x-elf does"],
    ["application/zip", PNG, "begins as image/png does"],
    ["text/plain", PNG, "is not UTF-8 without NUL"],
    ["text/plain", utf8("a\0b"), "is not UTF-8 without NUL"],
    ["text/plain", bytes("na\xefve"), "is not UTF-8 without NUL"],
    ["text/plain", utf8("日").subarray(0, 2), "is not UTF-8 without NUL"],
    ["text/plain; charset=utf-16", utf8("a"), "in utf-16: only UTF-8 can be checked"],
    ["text/plain", HTML, "begins as text/html does"],
    ["text/csv", utf8("<!-- --> <script>"), "begins as text/html does"],
    ["text/plain", utf8("%PDF-1.7"), "begins as application/pdf does"],
    ["application/json", HTML, "does not begin as JSON does"],
    ["text/xml", utf8("a,b"), "does not begin as XML does"],
    ["application/rss+xml", HTML, "begins as text/html does"],
    ["image/svg+xml", HTML, "has no <svg>"],
    ["image/svg+xml", utf8("<html><svg>"), "has no <svg>"],
  ])("%s", (type, head, why) => {
    expect(contradiction(type, head, true)).toBe(
      `The file says that it is ${type.split(";")[0]}, and ${why}.`,
    );
  });
});

test("each family of the table is told from text, and knows its own beginnings", () => {
  for (const { types, marks, at = 0, isText } of FAMILIES) {
    const [type = ""] = types;
    for (const mark of marks) {
      const head = Buffer.concat([Buffer.alloc(at, 97), bytes(mark.replaceAll("?", "x")), Buffer.alloc(20)]);
      expect(contradiction(type, head, true), mark).toBeUndefined();
      expect(contradiction("text/plain", head, true), mark).toBeDefined();
      const text = utf8(mark);
      if (isText) expect(contradiction("text/plain", text, true), mark).toBeDefined();
    }
  }
});

test("a character that the end of the head cuts is no fault; one that the end of the file cuts is", () => {
  const head = utf8(`${"a".repeat(HEAD_SIZE - 1)}é`).subarray(0, HEAD_SIZE);
  expect([contradiction("text/plain", head, false), contradiction("text/plain", head, true)]).toEqual([
    undefined,
    "The file says that it is text/plain, and is not UTF-8 without NUL.",
  ]);
});

const kinds = fc.constantFrom(
  "image/png",
  "text/plain",
  "application/json",
  "image/x-unheard-of",
  "text/html",
);
const starts = fc.constantFrom(PNG, ZIP, HTML, utf8("日本"), utf8(" {}"), bytes("\xff"), utf8(""));
const length = fc.oneof(fc.nat(40), fc.integer({ min: HEAD_SIZE - 40, max: HEAD_SIZE + 40 }));

test("in however many pieces the bytes come, the decision is the same, and so is the byte at which it falls", () => {
  fc.assert(
    fc.property(
      kinds,
      starts,
      length,
      fc.constantFrom(0, 97, 0xe9),
      fc.array(fc.oneof(fc.constant(1), fc.integer({ min: 0, max: 3000 })), { maxLength: 60 }),
      (type, start, size, filler, cuts) => {
        const whole = Buffer.concat([start, Buffer.alloc(size, filler)]);
        const expected = contradiction(type, whole.subarray(0, HEAD_SIZE), whole.length < HEAD_SIZE);
        const check = new HeadCheck(type);
        const said: string[] = [];
        let at = 0;
        for (const cut of [...cuts, whole.length]) {
          // The chunk is reused afterwards, as a stream does.
          const chunk = Uint8Array.from(whole.subarray(at, at + cut));
          const why = check.update(chunk);
          if (why !== undefined) said.push(why);
          expect(why === undefined || Math.min(at + cut, whole.length) >= HEAD_SIZE).toBe(true);
          chunk.fill(0);
          at = Math.min(at + cut, whole.length);
        }
        const last = check.finish();
        expect([...said, ...(last === undefined ? [] : [last])]).toEqual(
          expected === undefined ? [] : [expected],
        );
      },
    ),
  );
});

test("one byte at a time, too", () => {
  const check = new HeadCheck("image/png");
  const all = Buffer.concat([HTML, Buffer.alloc(HEAD_SIZE, 97)]);
  const said = [...all].map((byte) => check.update(Uint8Array.of(byte))).filter((why) => why !== undefined);
  expect(said).toEqual(["The file says that it is image/png, and begins as text/html does."]);
});
