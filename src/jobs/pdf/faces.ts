/**
 * The fonts of a document: which of them draws which character, and what is embedded of each in the end.
 *
 * No character is dropped in silence: one that no font has is drawn as U+FFFD, and counted.
 */
import { inflateRawSync } from "node:zlib";
import { Font } from "./font.ts";
import { PdfError } from "./pdf-error.ts";
import { number, type PdfFile, type Reference } from "./pdf-file.ts";

export interface Face {
  /** In the file: `F1`. */
  name: string;
  font: Font;
  /** The glyphs that are drawn, and a character that each stands for. */
  used: Map<number, number>;
}

/** Text in one font. */
export interface Run {
  face: Face;
  glyphs: number[];
  /** At a size of 1. */
  width: number;
}

interface Found {
  /** Undefined for a character that is not drawn. */
  face: Face | undefined;
  glyph: number;
  width: number;
  flaw: "missing" | "unshaped" | undefined;
}

export type Weight = "regular" | "bold" | "mono";

/** Fonts of a user's own, which come before those that ship. Without a bold one, the regular one is drawn bolder. */
export interface OwnFonts {
  regular?: Uint8Array;
  bold?: Uint8Array;
}

/** Characters that are not drawn: joiners, variation selectors, soft hyphens, controls, marks of direction. */
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Variation_Selector}]/u;
/** Scripts whose letters must be joined, reordered or turned round, which is not done here. */
const UNSHAPED =
  /\p{Script=Arabic}|\p{Script=Hebrew}|\p{Script=Syriac}|\p{Script=Thaana}|\p{Script=Devanagari}|\p{Script=Bengali}|\p{Script=Gurmukhi}|\p{Script=Gujarati}|\p{Script=Tamil}|\p{Script=Telugu}|\p{Script=Kannada}|\p{Script=Malayalam}|\p{Script=Sinhala}|\p{Script=Thai}|\p{Script=Lao}|\p{Script=Tibetan}|\p{Script=Myanmar}|\p{Script=Khmer}|\p{Script=Mongolian}/u;
const REPLACEMENT = 0xfffd;

export class Faces {
  readonly #chains: Record<Weight, Face[]>;
  readonly #all: Face[] = [];
  /** Characters that no font has, and how often they came. */
  readonly missing = new Map<string, number>();
  /** Characters of scripts that are not shaped: how many. */
  unshaped = 0;
  /** What was found for each character, by weight. */
  readonly #found: Record<Weight, Map<string, Found>> = {
    regular: new Map(),
    bold: new Map(),
    mono: new Map(),
  };
  /** Whether bold text is the regular font, drawn bolder. */
  readonly isBoldDrawn: boolean;

  constructor(shipped: Record<Weight, Font>, own: { regular?: Font; bold?: Font }) {
    const face = (font: Font): Face => {
      const made = { name: `F${this.#all.length + 1}`, font, used: new Map<number, number>() };
      this.#all.push(made);
      return made;
    };
    const { regular, bold, mono } = {
      regular: face(shipped.regular),
      bold: face(shipped.bold),
      mono: face(shipped.mono),
    };
    const ownRegular = own.regular && face(own.regular);
    const ownBold = own.bold && face(own.bold);
    this.#chains = {
      regular: chain(ownRegular, regular),
      bold: chain(ownBold ?? ownRegular, bold, regular),
      mono: chain(mono, ownRegular, regular),
    };
    this.isBoldDrawn = ownRegular !== undefined && ownBold === undefined;
  }

  /** The text as runs of glyphs. */
  runs(text: string, weight: Weight): Run[] {
    const found = this.#found[weight];
    const runs: Run[] = [];
    let run: Run | undefined;
    for (const character of text.normalize("NFC")) {
      let glyph = found.get(character);
      if (!glyph) found.set(character, (glyph = this.#find(character, weight)));
      const { face, flaw } = glyph;
      if (flaw === "missing") this.missing.set(character, (this.missing.get(character) ?? 0) + 1);
      if (flaw === "unshaped") this.unshaped++;
      if (!face) continue;
      if (run?.face !== face) runs.push((run = { face, glyphs: [], width: 0 }));
      run.glyphs.push(glyph.glyph);
      run.width += glyph.width;
    }
    return runs;
  }

  #find(character: string, weight: Weight): Found {
    if (INVISIBLE.test(character)) return { face: undefined, glyph: 0, width: 0, flaw: undefined };
    const codePoint = character.codePointAt(0) ?? REPLACEMENT;
    for (const face of this.#chains[weight]) {
      const glyph = face.font.glyph(codePoint);
      if (glyph === 0) continue;
      face.used.set(glyph, face.used.get(glyph) ?? codePoint);
      const flaw = UNSHAPED.test(character) ? "unshaped" : undefined;
      return { face, glyph, width: face.font.width(glyph) / 1_000, flaw };
    }
    if (codePoint === REPLACEMENT) throw new Error("no font that ships has U+FFFD");
    return { ...this.#find("\ufffd", weight), flaw: "missing" };
  }

  /** Writes the fonts that are used; returns the entries of the pages' resources. */
  write(file: PdfFile): string {
    const used = this.#all.filter((face) => face.used.size > 0);
    return used.map((face) => `/${face.name} ${writeFace(file, face)}`).join(" ");
  }
}

const chain = (...faces: (Face | undefined)[]) => faces.filter((one) => one !== undefined);

let shipped: Promise<Record<Weight, Font>> | undefined;

/** The fonts that ship, and those of the user. Throws a `PdfError` if one of the latter cannot be used. */
export async function openFaces({ regular, bold }: OwnFonts): Promise<Faces> {
  shipped ??= loadShipped();
  return new Faces(await shipped, {
    ...(regular && { regular: openOwn("font", regular) }),
    ...(bold && { bold: openOwn("bold font", bold) }),
  });
}

function openOwn(what: string, bytes: Uint8Array): Font {
  try {
    return new Font(bytes);
  } catch (error) {
    throw error instanceof PdfError ? new PdfError(`the ${what} cannot be used: ${error.message}`) : error;
  }
}

async function loadShipped(): Promise<Record<Weight, Font>> {
  const [regular, bold, mono] = await Promise.all([
    import("./fonts/sans.ts"),
    import("./fonts/sans-bold.ts"),
    import("./fonts/mono.ts"),
  ]);
  return { regular: unpack(regular.default), bold: unpack(bold.default), mono: unpack(mono.default) };
}

const unpack = (text: string) => new Font(inflateRawSync(Buffer.from(text, "base64")));

/** A composite font whose codes are the numbers of glyphs (ISO 32000-1 §9.7). */
function writeFace(file: PdfFile, { name, font, used }: Face): Reference {
  const glyphs = [...used.keys()].toSorted((a, b) => a - b);
  const data = file.addStream("", font.subset(glyphs));
  const { ascent, descent, box } = font.metrics;
  // Six capitals tell a part of a font from the whole (§9.6.4).
  const base = `SLUICE+${name}`;
  const descriptor = file.add(
    `<< /Type /FontDescriptor /FontName /${base} /Flags 4 /FontBBox [${box.map(number).join(" ")}] /ItalicAngle 0 ` +
      `/Ascent ${number(ascent)} /Descent ${number(descent)} /CapHeight ${number(ascent)} /StemV 80 /FontFile2 ${data} >>`,
  );
  const widths = glyphs.map((glyph) => `${glyph} [${number(font.width(glyph))}]`).join(" ");
  const descendant = file.add(
    `<< /Type /Font /Subtype /CIDFontType2 /BaseFont /${base} /CIDSystemInfo << /Registry (Adobe) /Ordering (Identity) ` +
      `/Supplement 0 >> /FontDescriptor ${descriptor} /W [${widths}] /CIDToGIDMap /Identity >>`,
  );
  const toUnicode = file.addStream("", Buffer.from(unicodeMap(glyphs, used)));
  return file.add(
    `<< /Type /Font /Subtype /Type0 /BaseFont /${base} /Encoding /Identity-H /DescendantFonts [${descendant}] ` +
      `/ToUnicode ${toUnicode} >>`,
  );
}

const hex = (glyph: number) => glyph.toString(16).padStart(4, "0");
const utf16 = (codePoint: number) =>
  Buffer.from(String.fromCodePoint(codePoint), "utf16le").swap16().toString("hex");

/** What each glyph stands for, so that text can be found and copied (§9.10.3). */
function unicodeMap(glyphs: number[], used: Map<number, number>): string {
  const blocks: string[] = [];
  for (let i = 0; i < glyphs.length; i += 100) {
    const part = glyphs
      .slice(i, i + 100)
      .map((glyph) => `<${hex(glyph)}> <${utf16(used.get(glyph) ?? REPLACEMENT)}>`);
    blocks.push(`${part.length} beginbfchar\n${part.join("\n")}\nendbfchar`);
  }
  return [
    "/CIDInit /ProcSet findresource begin 12 dict begin begincmap",
    "/CIDSystemInfo << /Registry (Adobe) /Ordering (UCS) /Supplement 0 >> def",
    "/CMapName /Adobe-Identity-UCS def /CMapType 2 def",
    "1 begincodespacerange <0000> <ffff> endcodespacerange",
    ...blocks,
    "endcmap CMapName currentdict /CMap defineresource pop end end",
  ].join("\n");
}
