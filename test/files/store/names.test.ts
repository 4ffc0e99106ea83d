import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { checkFilename, cleanFilename, fileIdSchema, readFilename } from "../../../src/files/store/names.ts";

test.each([
  ["report.pdf", "report.pdf"],
  ["naïve 😀.pdf", "naïve 😀.pdf"],
  ["مرحبا.txt", "مرحبا.txt"],
  ["שלום", "שלום"],
  ["e\u0301", "e\u0301"],
  ["../../etc/passwd", "passwd"],
  ["/etc/passwd", "passwd"],
  ["a/", ""],
  [".", ""],
  ["..", ""],
  ["a/..", ""],
  ["...", "..."],
  [".htaccess", ".htaccess"],
  ["C:\\temp\\report.doc", "report.doc"],
  ["c:\\report.doc", "report.doc"],
  ["C:/temp/report.doc", "report.doc"],
  ["\\\\server\\share\\report.doc", "report.doc"],
  ["C:\\temp\\..", ""],
  ["AC\\DC.mp3", "AC\\DC.mp3"],
  ["C:report.doc", "C:report.doc"],
  ['say "hi".txt', 'say "hi".txt'],
  ["a\r\nSet-Cookie: x", "aSet-Cookie: x"],
  ["a\u0000b\u007fc\u0085d", "abcd"],
  [".\u0000.", ""],
  ["a/\u0000", ""],
  // Unicode TR 36: text that changes its direction hides what kind of file it is.
  ["annexe\u202efdp.exe", "annexefdp.exe"],
  ["a\u202ab\u202bc\u202cd\u202de\u2066f\u2067g\u2068h\u2069i.txt", "abcdefghi.txt"],
  ["a\u200eb\u200fc\u061cd.txt", "abcd.txt"],
  ["a\u2028b\u2029c", "abc"],
  [".\u202e.", ""],
  // These belong to names: the joiners of an emoji and of Persian.
  ["👩‍💻.txt", "👩‍💻.txt"],
  ["می‌خواهم.txt", "می‌خواهم.txt"],
  ["", ""],
])("%j is kept as %j", (sent, kept) => {
  expect(cleanFilename(sent)).toBe(kept);
});

test("whatever is sent, the result is one path segment in Unicode, and cleaning it again changes nothing", () => {
  const pieces = fc.constantFrom(
    "/",
    "\\",
    "C:",
    ".",
    "..",
    "\r\n",
    "\0",
    "a",
    "é",
    "😀",
    "\u202e",
    "\ud800",
  );
  const anything = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.array(pieces, { maxLength: 12 }).map((all) => all.join("")),
  );
  fc.assert(
    fc.property(anything, (sent) => {
      const kept = cleanFilename(sent);
      expect(kept.isWellFormed()).toBe(true);
      expect(/[/\p{Cc}\p{Bidi_Control}]/u.test(kept)).toBe(false);
      expect([".", ".."]).not.toContain(kept);
      expect(cleanFilename(kept) === kept).toBe(true);
    }),
    { numRuns: 2000 },
  );
});

test.each([
  ["x".repeat(255), true],
  ["x".repeat(256), false],
  ["é".repeat(127), true],
  ["é".repeat(128), false],
])("a name is at most 255 bytes of UTF-8: %s", (name, isGood) => {
  const check = expect(() => checkFilename(name));
  if (isGood) check.not.toThrow();
  else check.toThrow("longer than 255 bytes");
});

describe("an id", () => {
  test.each(["a", "A-1_b.c", "-", "_", "report.pdf", "a..b", "a.", "x".repeat(128)])("can be %j", (id) => {
    expect(fileIdSchema.safeParse(id).success).toBe(true);
  });

  test.each([
    "",
    ".",
    "..",
    ".htaccess",
    "a/b",
    "a b",
    "a%2Fb",
    "é",
    "a\n",
    "a\0",
    "a~",
    "{",
    "x".repeat(129),
  ])("cannot be %j", (id) => {
    expect(fileIdSchema.safeParse(id).success).toBe(false);
  });
});

test.each([
  [undefined, undefined],
  ["attachment", undefined],
  ["attachment; filename=a.txt", "a.txt"],
  ['attachment; filename="a b.txt"', "a b.txt"],
  ['attachment; filename="a \\"b\\".txt"', 'a "b".txt'],
  ["attachment; filename*=UTF-8''na%C3%AFve.txt", "naïve.txt"],
  ["attachment; filename*=utf-8'en'%F0%9F%98%80", "😀"],
  ["attachment; filename*=ISO-8859-1''%E9", "é"],
  ["attachment; filename=\"a.txt\"; filename*=UTF-8''b.txt", "b.txt"],
  ["attachment; filename*=UTF-8''b.txt; filename=\"a.txt\"", "b.txt"],
  ["attachment; filename=\"a.txt\"; filename*=UTF-8''%E9", "a.txt"],
  ['attachment; filename="a.txt"; filename*=nonsense', "a.txt"],
  ['attachment; filename="a\\";b.txt"', 'a";b.txt'],
  ['attachment; filename="a, attachment; filename=b.txt"', "a, attachment; filename=b.txt"],
  ["attachment; filename=one, two.txt", "one, two.txt"],
  ["filename=a.txt", undefined],
  ["", undefined],
  ['attachment; filename=""', ""],
  ['attachment; filename = "a.txt" ;', "a.txt"],
  ["attachment;; filename=a.txt", "a.txt"],
  ["attachment; filename*=\"UTF-8''%C3%A9.txt\"", "é.txt"],
  ['foo; filename="a.txt"', "a.txt"],
])("Content-Disposition: %s names the file %j", (header, name) => {
  const headers = new Headers(header === undefined ? {} : { "Content-Disposition": header });
  expect(readFilename(headers)).toBe(name);
});

test.each([
  ["attachment; filename*=UTF-8''%E9.txt", "cannot be decoded"],
  ["attachment; filename*=windows-1252''%80.txt", "cannot be decoded"],
  ['attachment; filename*0="a"; filename*1=".txt"', "in pieces"],
  ['attachment; filename=""a.txt""', "cannot be read"],
  ["attachment; filename=&quot;a&quot;.txt", "cannot be read"],
  ["attachment; filename=a.txt, attachment; filename=b.txt", "twice"],
  ["attachment, attachment; filename=b.txt", "twice"],
  ["inline; filename=a.txt, ATTACHMENT", "twice"],
  ["attachment; filename=a.txt; filename=b.txt", "twice"],
  ["attachment; filename*=UTF-8''a; FileName*=UTF-8''b", "twice"],
  ['attachment; filename="a.txt', "quotes are not closed"],
  ['attachment; filename="a\\"', "quotes are not closed"],
  ['attachment; filename=a".txt', "quotes are not closed"],
  ['attachment; filename="caf\ufffd.txt"', "not UTF-8"],
])("Content-Disposition: %s is malformed", (header, reason) => {
  expect(() => readFilename(new Headers({ "Content-Disposition": header }))).toThrow(reason);
});

test.each(['"', "\\", '\\"', ";", ",", " ", "filename=", ";filename"])(
  "100 KB of %j are read in linear time",
  (piece) => {
    const header = `attachment; filename="${piece.repeat(100_000 / piece.length)}`;
    try {
      readFilename(new Headers({ "Content-Disposition": header }));
    } catch (error) {
      expect(String(error)).toContain("Content-Disposition");
    }
  },
);
