import { expect, test } from "vitest";
import { decodePage } from "../../../src/jobs/scrape/charset.ts";

const utf8 = (text: string) => new TextEncoder().encode(text);
const latin1 = (text: string) => new Uint8Array(Buffer.from(text, "latin1"));
const utf16 = (text: string) => new Uint8Array(Buffer.from(text, "utf16le"));
const bytes = (...parts: (number[] | Uint8Array)[]) => new Uint8Array(parts.flatMap((part) => [...part]));
const META = '<meta charset="windows-1251">';

test.each<[string, Uint8Array, string | null, string, string]>([
  [
    "a BOM goes before the header",
    bytes([0xef, 0xbb, 0xbf], utf8("é")),
    "text/html; charset=latin1",
    "é",
    "utf-8",
  ],
  ["a BOM of UTF-16", bytes([0xff, 0xfe], utf16("é")), null, "é", "utf-16le"],
  ["a BOM of UTF-16, the other way round", bytes([0xfe, 0xff, 0, 0xe9]), null, "é", "utf-16be"],
  [
    "the header goes before a meta",
    bytes(utf8(META), [0xe9]),
    'text/html; charset="ISO-8859-1"',
    `${META}é`,
    "windows-1252",
  ],
  [
    "a header that nobody knows does not count",
    bytes(utf8(META), [0xe9]),
    "text/html; charset=x",
    `${META}й`,
    "windows-1251",
  ],
  ["a meta", bytes(utf8(META), [0xe9]), "text/html", `${META}й`, "windows-1251"],
  [
    "a meta of the old kind",
    bytes(utf8("<META http-equiv=content-type content='text/html; charset = Shift_JIS'>"), [0x83, 0x65]),
    null,
    "<META http-equiv=content-type content='text/html; charset = Shift_JIS'>テ",
    "shift_jis",
  ],
  [
    "a meta in a comment does not count",
    bytes(utf8(`<!-- ${META} -->`), [0xe9]),
    null,
    `<!-- ${META} -->é`,
    "windows-1252",
  ],
  [
    "a meta that says UTF-16 was read as ASCII",
    utf8("<meta charset=utf-16>é"),
    null,
    "<meta charset=utf-16>é",
    "utf-8",
  ],
  [
    "a meta too far down does not count",
    utf8(`${" ".repeat(1_024)}${META}é`),
    null,
    `${" ".repeat(1_024)}${META}é`,
    "utf-8",
  ],
  [
    "a meta that is wrong is believed, as browsers do: what is not UTF-8 shows as such",
    latin1('<meta charset="utf-8">caf\u00e9'),
    null,
    '<meta charset="utf-8">caf\ufffd',
    "utf-8",
  ],
  ["valid UTF-8", utf8("naïve"), null, "naïve", "utf-8"],
  [
    "what is not valid UTF-8 is windows-1252",
    latin1("na\u00efve \u0080"),
    "text/html",
    "naïve €",
    "windows-1252",
  ],
  ["nothing", utf8(""), null, "", "utf-8"],
])("%s", (_, page, contentType, text, charset) => {
  expect(decodePage(page, contentType, true)).toEqual({ text, charset });
});

test("UTF-8 that was cut in the middle of a character is UTF-8 still", () => {
  expect(decodePage(utf8("naïve é").subarray(0, -1), null, false)).toEqual({
    text: "naïve ",
    charset: "utf-8",
  });
});
