import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseFormDisposition } from "../../../src/files/upload/form-disposition.ts";

describe("the Content-Disposition of a part of a form", () => {
  test.each<[string, string, string | undefined]>([
    ['form-data; name="a"', "a", undefined],
    ["form-data; name=a", "a", undefined],
    ['Form-Data ;NAME="a" ; FileName="b.txt" ;', "a", "b.txt"],
    ['form-data; name="a"; filename=""', "a", ""],
    ['form-data; name="a"; filename="naïve 😀.pdf"', "a", "naïve 😀.pdf"],
    ['form-data; name="a"; filename="x%22y%0D%0Az%25.txt"', "a", 'x"y\r\nz%25.txt'],
    ['form-data; name="a"; filename="x\\\\y"', "a", "x\\\\y"],
    ['form-data; name="a"; filename="C:\\a.txt"', "a", "C:\\a.txt"],
    ['form-data; name="a"; filename="x\\"y.txt"', "a", 'x"y.txt'],
    ['form-data; name="a"; filename="x\\"y;z.txt"', "a", 'x"y;z.txt'],
    // A quoted string that the browsers' way would end too early.
    ['form-data; name="a"; filename="b\\";c.txt"', "a", 'b";c.txt'],
    ['form-data; name="a"; filename="b\\"; c=d.txt"', "a", 'b"; c=d.txt'],
    ['form-data; name="a"; filename="b\\""', "a", 'b"'],
    ['form-data; name="a"; filename="\\";"', "a", '";'],
    ['form-data; filename="b\\";c.txt"; name="x\\"y"', 'x"y', 'b";c.txt'],
    ['form-data; name="a"; filename="\\b\\\\c\\";d.txt"', "a", 'b\\c";d.txt'],
    // Both ways give a list: the browsers' way counts.
    ['form-data; name="a"; filename="ends with \\"', "a", "ends with \\"],
    ['form-data; name="a\\"; filename="b"', "a\\", "b"],
    ['form-data; name="a;b"; filename="c; d=e"', "a;b", "c; d=e"],
    [`form-data; name="a"; filename="e.txt"; filename*=UTF-8''%e2%82%ac.txt`, "a", "€.txt"],
    [`form-data; name="a"; filename*=utf-8'en'%e2%82%ac.txt; filename="e.txt"`, "a", "€.txt"],
    [`form-data; name="a"; filename="e.txt"; filename*=UTF-8''%ff`, "a", "e.txt"],
    [`form-data; name="a"; filename*=utf-16''x`, "a", ""],
    // Blanks around `=` and empty parameters, which RFC 2616 §2.1 and RFC 9110 §5.6.6 allow.
    ['form-data; name = "a"; filename= "b.txt"', "a", "b.txt"],
    ["form-data ; name\t= a ; filename =b.txt", "a", "b.txt"],
    ['form-data;; name="a"; ; filename="b.txt";;', "a", "b.txt"],
    [`form-data; name="a"; filename*="UTF-8''%e2%82%ac.txt"`, "a", "€.txt"],
  ])("%s", (text, name, filename) => {
    expect(parseFormDisposition(text)).toEqual({ name, filename });
  });

  test.each([
    ["", "is not form-data"],
    ["attachment; name=a", "is not form-data"],
    ["form-data", "has no name"],
    ['form-data; filename="a"', "has no name"],
    ['form-data; name="a"; filename="b.txt', "quotes are not closed"],
    ['form-data; name="a"; filename="b" c"', "quotes are not closed"],
    ['form-data; name="a" filename="b"', "quotes are not closed"],
    ['form-data; name="a"; filename', "cannot be read"],
    ['form-data; name="a"; filename="b\\";c', "cannot be read"],
    ['form-data; name="a"; filename="b\\"; "c"', "cannot be read"],
    ['form-data; name="a"; name="b"', "has name twice"],
    ['form-data; name="a"; filename="b"; FILENAME="c"', "has FILENAME twice"],
    // RFC 2231: else the file would be taken for a field.
    ['form-data; name="a"; filename*0="b"; filename*1=".txt"', "in pieces"],
    ["form-data; name=\"a\"; FileName*0*=UTF-8''b", "in pieces"],
  ])("%s is rejected", (text, fault) => {
    expect(() => parseFormDisposition(text)).toThrow(fault);
  });

  test("as a browser writes it is read as the names that were meant, whatever they are", () => {
    const escape = (text: string) =>
      text.replaceAll('"', "%22").replaceAll("\r", "%0D").replaceAll("\n", "%0A");
    const name = fc.string({ unit: "binary", maxLength: 20 }).filter((text) => !/%(?:22|0d|0a)/i.test(text));
    fc.assert(
      fc.property(name, name, (field, filename) => {
        const text = `form-data; name="${escape(field)}"; filename="${escape(filename)}"`;
        expect(parseFormDisposition(text)).toEqual({ name: field, filename });
      }),
      { numRuns: 600 },
    );
  });

  test("as a quoted string is read as the names that were meant, unless it also is what a browser writes", () => {
    const quote = (text: string) => text.replaceAll(/["\\]/g, "\\$&");
    const name = fc.string({ unit: "binary", maxLength: 20 });
    fc.assert(
      fc.property(name, name, (field, filename) => {
        const marked = `${filename}"; x`;
        const text = `form-data; name="${quote(field)}"; filename="${quote(marked)}"`;
        expect(parseFormDisposition(text)).toEqual({ name: field, filename: marked });
      }),
      { numRuns: 600 },
    );
  });

  test.each(['"', "\\", '\\"', ";", ' ;a="', "\t", "=", 'x="\\'])(
    "of a megabyte of %j is rejected in linear time",
    (piece) => {
      const text = `form-data; name="${piece.repeat(1_000_000 / piece.length)}`;
      expect(() => parseFormDisposition(text)).toThrow("Content-Disposition");
    },
  );
});
