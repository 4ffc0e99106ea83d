import { describe, expect, test } from "vitest";
import type { Span } from "../../../src/jobs/pdf/document.ts";
import { openFaces } from "../../../src/jobs/pdf/faces.ts";
import { type Line, Typesetter } from "../../../src/jobs/pdf/text.ts";

const faces = await openFaces({});
const typesetter = new Typesetter(faces);

/** What a line says: each glyph stands for a character. */
const textOf = ({ runs }: Line) =>
  runs
    .flatMap(({ face, glyphs }) => glyphs.map((glyph) => String.fromCodePoint(face.used.get(glyph) ?? 0)))
    .join("");
/** A monospaced text of this size has 12 characters in 72 points. */
const STYLE = { size: 72 / 12 / 0.60205 / 0.92 };
const lines = (text: string, width = 72.1, style: Omit<Span, "text"> = {}) =>
  typesetter.lines([{ text, code: true, ...style }], STYLE, width).map(textOf);

describe("lines are broken", () => {
  test.each([
    ["between words", "one two three four", ["one two", "three four"]],
    ["after a hyphen", "well-known-authors", ["well-known-", "authors"]],
    ["where the text says so", "one\n\ntwo", ["one", "", "two"]],
    [
      "in a word that is longer than a line",
      "abcdefghijklmnopqrstuvwxyz",
      ["abcdefghijkl", "mnopqrstuvwx", "yz"],
    ],
    ["nowhere, if there is no text", "", [""]],
    ["without spaces at their ends", "  one     two three", ["one two", "three"]],
    ["never at a space that must not be broken", "aaaaa bbb\u00a0ccc d", ["aaaaa", "bbb\u00a0ccc d"]],
  ])("%s", (_, text, expected) => expect(lines(text)).toEqual(expected));

  test("and not between parts of a word with different styles", () => {
    const spans = [
      { text: "aaaaaa bbb", code: true },
      { text: "ccc", code: true, italic: true },
    ];
    expect(typesetter.lines(spans, STYLE, 72.1).map(textOf)).toEqual(["aaaaaa", "bbbccc"]);
  });
});

test("no line is wider than it may be", () => {
  const text = "The quick brown fox jumps over the lazy dog — unbelievablylongwordsincluded. ".repeat(20);
  for (const width of [20, 60, 200])
    for (const line of typesetter.lines([{ text }], { size: 10 }, width))
      expect(line.width).toBeLessThanOrEqual(width + 0.001);
});

test("what no font has is counted, and drawn as U+FFFD; what is invisible is not drawn", async () => {
  const own = await openFaces({});
  const drawn = textOf(new Typesetter(own).line("a漢漢\u200bb\u00ad", { size: 10 }));
  expect(drawn).toBe("a\ufffd\ufffdb");
  expect([...own.missing]).toEqual([["漢", 2]]);
});
