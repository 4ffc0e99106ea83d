import { inflateRawSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { Font } from "../../../src/jobs/pdf/font.ts";
import mono from "../../../src/jobs/pdf/fonts/mono.ts";

const bytes = new Uint8Array(inflateRawSync(Buffer.from(mono, "base64")));
const font = new Font(bytes);
const glyphs = (text: string) => Array.from(text, (character) => font.glyph(character.codePointAt(0) ?? 0));

/** The place of a table in a font file. */
function tableOf(file: Uint8Array, name: string): DataView {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  for (let i = 0; i < view.getUint16(4); i++) {
    const at = 12 + 16 * i;
    if (Buffer.from(file.subarray(at, at + 4)).toString() !== name) continue;
    return new DataView(file.buffer, file.byteOffset + view.getUint32(at + 8), view.getUint32(at + 12));
  }
  throw new Error(`no table ${name}`);
}

const change = (at: (file: Uint8Array) => [place: DataView, offset: number, value: number]) => {
  const copy = Uint8Array.from(bytes);
  const [place, offset, value] = at(copy);
  place.setUint16(offset, value);
  return copy;
};

test("finds the glyph of each character, and 0 for those that it has not", () => {
  expect(glyphs("Aé€Ж").every((glyph) => glyph > 0)).toBe(true);
  expect(new Set(glyphs("Aé€Ж")).size).toBe(4);
  expect(glyphs("漢😀")).toEqual([0, 0]);
  expect(glyphs("iW").map((glyph) => font.width(glyph))).toEqual([602.05078125, 602.05078125]);
});

test("a part of a font keeps the outlines that are used, and the components of these", () => {
  const [a = 0, eAcute = 0, e = 0, z = 0] = glyphs("aéez");
  const part = font.subset([a, eAcute]);
  const offsets = tableOf(part, "loca");
  const length = (glyph: number) => offsets.getUint32(4 * glyph + 4) - offsets.getUint32(4 * glyph);
  expect([a, eAcute, e].map((glyph) => length(glyph) > 0)).toEqual([true, true, true]);
  expect(length(z)).toBe(0);
  expect(part.length).toBeLessThan(bytes.length / 2);
});

describe("is refused:", () => {
  const start = (...first: number[]) => Uint8Array.from(bytes, (byte, i) => first[i] ?? byte);
  test.each<[string, Uint8Array, string]>([
    ["no bytes", new Uint8Array(), "ends too early"],
    ["text", Buffer.from("this is not a font at all"), "not a TrueType font"],
    ["an OTF", start(0x4f, 0x54, 0x54, 0x4f), "PostScript"],
    ["a WOFF2", start(0x77, 0x4f, 0x46, 0x32), "web font"],
    ["a collection", start(0x74, 0x74, 0x63, 0x66), "collection"],
    ["a font that is cut off", bytes.subarray(0, 5_000), "cut off"],
    [
      "a font that may not be embedded",
      change((file) => [tableOf(file, "OS/2"), 8, 2]),
      "does not permit embedding",
    ],
    ["a font without widths", change((file) => [tableOf(file, "hhea"), 34, 0]), "no widths"],
  ])("%s", (_, file, message) => expect(() => new Font(file)).toThrow(message));
});
