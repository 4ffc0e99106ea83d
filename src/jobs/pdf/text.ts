/** Text in lines: where it may be broken, and how much room it takes. Sizes are in points. */
import type { Span } from "./document.ts";
import type { Faces, Run, Weight } from "./faces.ts";

export type Color = readonly [red: number, green: number, blue: number];

export interface Style {
  size: number;
  bold?: boolean;
  color?: Color;
}

/** A run of glyphs with its style. */
export interface StyledRun extends Run {
  size: number;
  color: Color;
  isItalic: boolean;
  isBold: boolean;
  link: string | undefined;
}

export interface Line {
  runs: StyledRun[];
  width: number;
}

export const BLACK: Color = [0.13, 0.13, 0.15];
const LINK: Color = [0.05, 0.32, 0.66];

/** Between lines, in relation to the size. */
export const LINE_HEIGHT = 1.4;

/** What is not divided: a word, or a character of a script that is written without spaces. */
interface Atom {
  runs: StyledRun[];
  width: number;
  isSpace: boolean;
  /** Whether a line may end after it. */
  isBreak: boolean;
}

/** Spaces; characters that may be at the end of any line; words, up to a hyphen. */
const ATOMS =
  /[^\S\u00a0\u202f]+|[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}]|-+|(?:[^\s\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}-]|[\u00a0\u202f])+/gu;
const WIDE = /^[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}]/u;

const widthOf = (runs: readonly StyledRun[]) => runs.reduce((sum, run) => sum + run.width * run.size, 0);

export class Typesetter {
  readonly faces: Faces;

  constructor(faces: Faces) {
    this.faces = faces;
  }

  /** The text of spans in lines of at most `maxWidth`; a line break in the text is one. At least one line. */
  lines(spans: readonly Span[], style: Style, maxWidth: number): Line[] {
    return paragraphsOf(spans).flatMap((paragraph) => this.#wrap(this.#atoms(paragraph, style), maxWidth));
  }

  /** What the text takes on one line, and what its longest word takes. */
  extent(spans: readonly Span[], style: Style): { whole: number; word: number } {
    let whole = 0;
    let word = 0;
    for (const paragraph of paragraphsOf(spans)) {
      const atoms = this.#atoms(paragraph, style);
      whole = Math.max(
        whole,
        atoms.reduce((sum, atom) => sum + atom.width, 0),
      );
      for (const one of wordsOf(atoms)) word = Math.max(word, one.width);
    }
    return { whole, word };
  }

  /** One line, however long. */
  line(text: string, style: Style): Line {
    const runs = this.#styled(text, { text }, style);
    return { runs, width: widthOf(runs) };
  }

  #styled(text: string, span: Span, style: Style): StyledRun[] {
    const isBold = (span.bold ?? false) || (style.bold ?? false);
    const weight: Weight = span.code ? "mono" : isBold ? "bold" : "regular";
    const own = {
      size: span.code ? style.size * 0.92 : style.size,
      color: span.link === undefined ? (style.color ?? BLACK) : LINK,
      isItalic: span.italic ?? false,
      isBold: weight === "bold" && this.faces.isBoldDrawn,
      link: span.link,
    };
    return this.faces.runs(text, weight).map((run) => ({ ...run, ...own }));
  }

  #atoms(spans: readonly Span[], style: Style): Atom[] {
    return spans.flatMap((span) =>
      (span.text.match(ATOMS) ?? []).map((text) => {
        const isSpace = /^[^\S\u00a0\u202f]/.test(text);
        const runs = this.#styled(isSpace ? " " : text, span, style);
        return {
          runs,
          width: widthOf(runs),
          isSpace,
          isBreak: isSpace || text.startsWith("-") || WIDE.test(text),
        };
      }),
    );
  }

  #wrap(atoms: Atom[], maxWidth: number): Line[] {
    const lines: Line[] = [];
    let line: Line = { runs: [], width: 0 };
    let space: Atom | undefined;
    for (const word of wordsOf(atoms).flatMap((one) => dividedTo(one, maxWidth))) {
      if (word.isSpace) {
        space = line.runs.length > 0 ? word : undefined;
        continue;
      }
      if (line.runs.length > 0 && line.width + (space?.width ?? 0) + word.width > maxWidth) {
        lines.push(line);
        line = { runs: [], width: 0 };
        space = undefined;
      }
      line.runs.push(...(space?.runs ?? []), ...word.runs);
      line.width += (space?.width ?? 0) + word.width;
      space = undefined;
    }
    return [...lines, line];
  }
}

/** The spans, divided at the line breaks in their text. */
function paragraphsOf(spans: readonly Span[]): Span[][] {
  const paragraphs: Span[][] = [[]];
  for (const span of spans)
    for (const [i, text] of span.text.split("\n").entries()) {
      if (i > 0) paragraphs.push([]);
      paragraphs.at(-1)?.push({ ...span, text });
    }
  return paragraphs;
}

/** Atoms that no line break may come between, joined. */
function wordsOf(atoms: Atom[]): Atom[] {
  const words: Atom[] = [];
  let open: Atom | undefined;
  for (const atom of atoms) {
    if (atom.isSpace || !open) {
      words.push(atom);
      open = atom.isBreak ? undefined : { ...atom };
      if (open) words[words.length - 1] = open;
      continue;
    }
    open.runs = [...open.runs, ...atom.runs];
    open.width += atom.width;
    if (atom.isBreak) open = undefined;
  }
  return words;
}

/** A word that is longer than a line is divided wherever it must. */
function dividedTo(word: Atom, maxWidth: number): Atom[] {
  if (word.isSpace || word.width <= maxWidth) return [word];
  const parts: Atom[] = [];
  let part: Atom = { ...word, runs: [], width: 0 };
  for (const run of word.runs)
    for (const glyph of run.glyphs) {
      const width = run.face.font.width(glyph) / 1_000;
      if (part.runs.length > 0 && part.width + width * run.size > maxWidth) {
        parts.push(part);
        part = { ...word, runs: [], width: 0 };
      }
      const last = part.runs.at(-1);
      if (
        last?.face === run.face &&
        last.link === run.link &&
        last.size === run.size &&
        last.isItalic === run.isItalic
      ) {
        last.glyphs.push(glyph);
        last.width += width;
      } else part.runs.push({ ...run, glyphs: [glyph], width });
      part.width += width * run.size;
    }
  return [...parts, part];
}
