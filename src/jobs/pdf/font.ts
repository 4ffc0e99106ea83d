/**
 * TrueType fonts: what a text takes, and the part of a font that a document needs. Reads the tables that PDF needs
 * (Apple, TrueType Reference Manual; OpenType 1.9 for `cmap` and `OS/2`).
 *
 * Glyphs keep their numbers when a font is cut down, so nothing that refers to them changes.
 */
import { PdfError } from "./pdf-error.ts";

interface Table {
  offset: number;
  length: number;
}

/** What a font is used for, in thousandths of its size. */
export interface FontMetrics {
  ascent: number;
  descent: number;
  /** Left, lower, right and upper edge. */
  box: number[];
}

/** Of OS/2 `fsType`: nobody may embed the font. */
const NO_EMBEDDING = 2;
const COMPOSITE = { hasWords: 1, hasScale: 8, hasMore: 0x20, hasXY: 0x40, hasMatrix: 0x80 } as const;
const EMBEDDED_TABLES = ["head", "hhea", "maxp", "hmtx", "cvt ", "fpgm", "prep"];

export class Font {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #tables = new Map<string, Table>();
  readonly #unitsPerEm: number;
  readonly #longOffsets: boolean;
  readonly #glyphs: number;
  readonly #widths: number;
  readonly #characters: (codePoint: number) => number;
  readonly metrics: FontMetrics;

  /** Throws a `PdfError` if it is no TrueType font, or may not be embedded. */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    try {
      this.#readTables();
      const head = this.#table("head");
      this.#unitsPerEm = this.#view.getUint16(head.offset + 18) || 1_000;
      this.#longOffsets = this.#view.getInt16(head.offset + 50) === 1;
      this.#glyphs = this.#view.getUint16(this.#table("maxp").offset + 4);
      const hhea = this.#table("hhea").offset;
      this.#widths = this.#view.getUint16(hhea + 34);
      if (this.#widths === 0) throw new PdfError("it has no widths");
      this.metrics = {
        ascent: this.#scaled(this.#view.getInt16(hhea + 4)),
        descent: this.#scaled(this.#view.getInt16(hhea + 6)),
        box: [36, 38, 40, 42].map((at) => this.#scaled(this.#view.getInt16(head.offset + at))),
      };
      const os2 = this.#tables.get("OS/2");
      if (os2 && (this.#view.getUint16(os2.offset + 8) & 0xf) === NO_EMBEDDING)
        throw new PdfError("its licence does not permit embedding (OS/2 fsType)");
      this.#characters = this.#readCharacters();
    } catch (error) {
      throw error instanceof RangeError ? new PdfError("it is damaged: a table ends too early") : error;
    }
  }

  /** The glyph of a character; 0 if it has none. */
  glyph(codePoint: number): number {
    const glyph = this.#characters(codePoint);
    return glyph < this.#glyphs ? glyph : 0;
  }

  /** How far a glyph moves on, in thousandths of the font's size. */
  width(glyph: number): number {
    const at = this.#table("hmtx").offset + 4 * Math.min(glyph, this.#widths - 1);
    return this.#scaled(at + 2 <= this.#bytes.length ? this.#view.getUint16(at) : 0);
  }

  /** A font file with the outlines of these glyphs alone, and of those that they are composed of. */
  subset(used: Iterable<number>): Uint8Array {
    const kept = new Set([0]);
    for (const glyph of used) this.#keep(glyph, kept);
    const outlines: Uint8Array[] = [];
    const offsets = new DataView(new ArrayBuffer(4 * (this.#glyphs + 1)));
    let size = 0;
    for (let glyph = 0; glyph < this.#glyphs; glyph++) {
      offsets.setUint32(4 * glyph, size);
      if (!kept.has(glyph)) continue;
      const outline = padded(this.#outline(glyph));
      outlines.push(outline);
      size += outline.length;
    }
    offsets.setUint32(4 * this.#glyphs, size);
    const tables = new Map<string, Uint8Array>();
    for (const name of EMBEDDED_TABLES) {
      const table = this.#tables.get(name);
      if (table) tables.set(name, Uint8Array.from(this.#slice(table)));
    }
    tables.set("loca", new Uint8Array(offsets.buffer));
    tables.set("glyf", Buffer.concat(outlines));
    const head = tables.get("head");
    if (head) new DataView(head.buffer).setInt16(50, 1);
    return assemble(tables);
  }

  #readTables(): void {
    const version = this.#view.getUint32(0);
    if (version === 0x4f54544f)
      throw new PdfError("its outlines are PostScript (OTF); only TrueType (TTF) can be embedded");
    if (version === 0x774f4632 || version === 0x774f4646)
      throw new PdfError("it is a web font (WOFF): use the TTF file");
    if (version === 0x74746366) throw new PdfError("it is a collection (TTC): use a file with one font");
    if (version !== 0x00010000 && version !== 0x74727565) throw new PdfError("it is not a TrueType font");
    const count = this.#view.getUint16(4);
    for (let i = 0; i < count; i++) {
      const at = 12 + 16 * i;
      const name = String.fromCharCode(...this.#bytes.subarray(at, at + 4));
      const table = { offset: this.#view.getUint32(at + 8), length: this.#view.getUint32(at + 12) };
      if (table.offset + table.length > this.#bytes.length)
        throw new PdfError(`its table ${name} is cut off`);
      this.#tables.set(name, table);
    }
    for (const name of ["head", "hhea", "maxp", "hmtx", "cmap", "loca", "glyf"]) this.#table(name);
  }

  #table(name: string): Table {
    const table = this.#tables.get(name);
    if (!table) throw new PdfError(`it has no table ${name}`);
    return table;
  }

  #slice({ offset, length }: Table): Uint8Array {
    return this.#bytes.subarray(offset, offset + length);
  }

  #scaled(units: number): number {
    return (units * 1_000) / this.#unitsPerEm;
  }

  /** The best of the subtables for Unicode: format 12 has all characters, format 4 the first 65,536. */
  #readCharacters(): (codePoint: number) => number {
    const { offset } = this.#table("cmap");
    const count = this.#view.getUint16(offset + 2);
    let best: { at: number; format: number } | undefined;
    for (let i = 0; i < count; i++) {
      const platform = this.#view.getUint16(offset + 4 + 8 * i);
      const encoding = this.#view.getUint16(offset + 6 + 8 * i);
      const at = offset + this.#view.getUint32(offset + 8 + 8 * i);
      const format = this.#view.getUint16(at);
      const isUnicode = platform === 0 || (platform === 3 && (encoding === 1 || encoding === 10));
      if (isUnicode && (format === 4 || format === 12) && format > (best?.format ?? 0)) best = { at, format };
    }
    if (!best) throw new PdfError("it has no table of Unicode characters");
    const { at, format } = best;
    return format === 12 ? this.#groups(at) : this.#segments(at);
  }

  #groups(at: number): (codePoint: number) => number {
    const count = this.#view.getUint32(at + 12);
    if (at + 16 + 12 * count > this.#bytes.length) throw new PdfError("its table cmap is cut off");
    return (codePoint) => {
      const i = firstIndex(count, (n) => this.#view.getUint32(at + 20 + 12 * n) >= codePoint);
      if (i === count) return 0;
      const start = this.#view.getUint32(at + 16 + 12 * i);
      return codePoint < start ? 0 : this.#view.getUint32(at + 24 + 12 * i) + codePoint - start;
    };
  }

  #segments(at: number): (codePoint: number) => number {
    const doubled = this.#view.getUint16(at + 6);
    const [ends, starts, deltas, ranges] = [14, 16 + doubled, 16 + 2 * doubled, 16 + 3 * doubled].map(
      (n) => at + n,
    );
    if (ends === undefined || starts === undefined || deltas === undefined || ranges === undefined)
      return () => 0;
    if (ranges + doubled > this.#bytes.length) throw new PdfError("its table cmap is cut off");
    return (codePoint) => {
      const i = 2 * firstIndex(doubled / 2, (n) => this.#view.getUint16(ends + 2 * n) >= codePoint);
      if (codePoint > 0xffff || i === doubled) return 0;
      const start = this.#view.getUint16(starts + i);
      if (codePoint < start) return 0;
      const delta = this.#view.getUint16(deltas + i);
      const range = this.#view.getUint16(ranges + i);
      if (range === 0) return (codePoint + delta) & 0xffff;
      const place = ranges + i + range + 2 * (codePoint - start);
      const glyph = place + 2 <= this.#bytes.length ? this.#view.getUint16(place) : 0;
      return glyph === 0 ? 0 : (glyph + delta) & 0xffff;
    };
  }

  #outline(glyph: number): Uint8Array {
    const loca = this.#table("loca");
    const glyf = this.#table("glyf");
    const width = this.#longOffsets ? 4 : 2;
    if (width * (glyph + 2) > loca.length) return new Uint8Array();
    const offset = (n: number) =>
      this.#longOffsets
        ? this.#view.getUint32(loca.offset + 4 * n)
        : 2 * this.#view.getUint16(loca.offset + 2 * n);
    return this.#slice(glyf).subarray(offset(glyph), offset(glyph + 1));
  }

  /** Keeps a glyph and its components. A circle of components ends, since each is kept once. */
  #keep(glyph: number, kept: Set<number>): void {
    for (const open = [glyph]; open.length > 0; ) {
      const next = open.pop() ?? 0;
      if (kept.has(next) || next >= this.#glyphs) continue;
      kept.add(next);
      open.push(...componentsOf(this.#outline(next)));
    }
  }
}

/** The glyphs that a glyph is composed of. */
function componentsOf(outline: Uint8Array): number[] {
  const view = new DataView(outline.buffer, outline.byteOffset, outline.byteLength);
  if (outline.length < 10 || view.getInt16(0) >= 0) return [];
  const components: number[] = [];
  for (let at = 10; at + 4 <= outline.length; ) {
    const flags = view.getUint16(at);
    components.push(view.getUint16(at + 2));
    at += 4 + ((flags & COMPOSITE.hasWords) !== 0 ? 4 : 2);
    if ((flags & COMPOSITE.hasScale) !== 0) at += 2;
    else if ((flags & COMPOSITE.hasXY) !== 0) at += 4;
    else if ((flags & COMPOSITE.hasMatrix) !== 0) at += 8;
    if ((flags & COMPOSITE.hasMore) === 0) break;
  }
  return components;
}

/** The first index for which `holds` is true, from where on it stays true; `count` if there is none. */
function firstIndex(count: number, holds: (index: number) => boolean): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (holds(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}

function padded(bytes: Uint8Array): Uint8Array {
  if (bytes.length % 4 === 0) return bytes;
  const longer = new Uint8Array(Math.ceil(bytes.length / 4) * 4);
  longer.set(bytes);
  return longer;
}

/** A font file of these tables. */
function assemble(tables: Map<string, Uint8Array>): Uint8Array {
  const names = [...tables.keys()].toSorted();
  const header = new DataView(new ArrayBuffer(12 + 16 * names.length));
  const power = Math.floor(Math.log2(names.length));
  header.setUint32(0, 0x00010000);
  header.setUint16(4, names.length);
  header.setUint16(6, 16 << power);
  header.setUint16(8, power);
  header.setUint16(10, 16 * names.length - (16 << power));
  let offset = header.byteLength;
  const parts: Uint8Array[] = [new Uint8Array(header.buffer)];
  for (const [i, name] of names.entries()) {
    const table = tables.get(name) ?? new Uint8Array();
    const part = padded(table);
    const at = 12 + 16 * i;
    for (let letter = 0; letter < 4; letter++) header.setUint8(at + letter, name.charCodeAt(letter));
    header.setUint32(at + 4, checksum(part));
    header.setUint32(at + 8, offset);
    header.setUint32(at + 12, table.length);
    parts.push(part);
    offset += part.length;
  }
  return Buffer.concat(parts);
}

function checksum(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let sum = 0;
  for (let at = 0; at + 4 <= bytes.length; at += 4) sum = (sum + view.getUint32(at)) >>> 0;
  return sum;
}
