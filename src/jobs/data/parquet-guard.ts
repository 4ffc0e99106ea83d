/**
 * Looks at the pages of a column chunk before they are decoded. A decoder runs without a pause, so nothing could stop
 * one that a damaged file sends into a loop, or makes reserve gigabytes: here each number that a decoder takes for the
 * length of its work is held against what a chunk may have.
 *
 * Sources: Parquet's `parquet.thrift` (PageHeader), Encodings.md (RLE, DELTA_BINARY_PACKED), and Thrift's compact
 * protocol. What else is wrong with a page is the decoder's to find: it reads past the end then, and throws.
 */
import type { SchemaTree } from "hyparquet";
import { readPageHeader, readVarInt } from "./parquet-page-header.ts";

const PAGE = { data: 0, dictionary: 2, dataV2: 3 };
const ENCODING = { rle: 3, indices: [2, 3, 8], deltas: [5, 6, 7] };

interface ChunkLimits {
  /** Of one page, unpacked. */
  maxBytes: number;
  /** Of all pages, and of one run in a page. */
  maxValues: number;
}

interface PageValues {
  count: number;
  encoding: number;
  /** In front of the values, as in pages of version 1; 0 where there are none. */
  maxRepetition: number;
  maxDefinition: number;
}

export class PageGuard {
  /** By where the packed bytes begin in the chunk. A dictionary has none. */
  readonly #pages = new Map<number, PageValues | undefined>();
  readonly #limits: ChunkLimits;
  readonly #isBoolean: boolean;

  /** Throws an error that says what is wrong. `path`: from the root of the schema to the column. */
  constructor(chunk: Uint8Array, path: readonly SchemaTree[], limits: ChunkLimits) {
    this.#limits = limits;
    this.#isBoolean = path.at(-1)?.element.type === "BOOLEAN";
    const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    const levels = levelsOf(path);
    let total = 0;
    for (let at = 0; at < view.byteLength - 1; ) {
      const { page, end } = readPageHeader(view, at);
      if (!(page.packedSize >= 0 && page.packedSize <= view.byteLength - end))
        throw new Error(`a page of ${page.packedSize} bytes leads out of the column`);
      if (!(page.size >= 0 && page.size <= limits.maxBytes))
        throw new Error(`a page of ${page.size} bytes is too large`);
      const { count, encoding } = page;
      if (!(count >= 0 && count <= limits.maxValues)) throw new Error(`a page has ${count} values`);
      total += page.type === PAGE.dictionary ? 0 : count;
      at = end + page.packedSize;
      if (page.type === PAGE.dictionary) this.#pages.set(end, undefined);
      else if (page.type === PAGE.data) this.#pages.set(end, { count, encoding, ...levels });
      else if (page.type === PAGE.dataV2) this.#addVersion2(view, end, page, levels);
    }
    if (total > limits.maxValues) throw new Error(`its pages have ${total} values`);
  }

  /** Of a page of values, whose packed bytes began at `offset` of the chunk. Throws an error that says what is wrong. */
  check(offset: number, unpacked: Uint8Array): void {
    const page = this.#pages.get(offset);
    if (!page) return;
    const view = new DataView(unpacked.buffer, unpacked.byteOffset, unpacked.byteLength);
    let [at, { count }] = [0, page];
    for (const maxLevel of [page.maxRepetition, page.maxDefinition]) {
      if (maxLevel === 0) continue;
      const length = view.getUint32(at, true);
      // Definition levels come last: those that are the highest have a value.
      count = this.#checkRuns(view, at + 4, bitsOf(maxLevel), page.count, maxLevel);
      at += 4 + length;
    }
    this.#checkValues(view, at, count, page.encoding);
  }

  #addVersion2(
    view: DataView,
    begin: number,
    page: ReturnType<typeof readPageHeader>["page"],
    levels: ReturnType<typeof levelsOf>,
  ): void {
    const { repetitionBytes, definitionBytes, nulls, rows, count } = page;
    const parts = [repetitionBytes, definitionBytes, nulls, rows];
    if (
      parts.some((part) => !(part >= 0)) ||
      repetitionBytes + definitionBytes > Math.min(page.packedSize, page.size) ||
      nulls > count ||
      rows > count
    )
      throw new Error("a page's header contradicts itself");
    if (levels.maxRepetition > 0) this.#checkRuns(view, begin, bitsOf(levels.maxRepetition), count);
    const definitions = begin + repetitionBytes;
    if (levels.maxDefinition > 0) this.#checkRuns(view, definitions, bitsOf(levels.maxDefinition), count);
    const values = { count: count - nulls, encoding: page.encoding, maxRepetition: 0, maxDefinition: 0 };
    const at = definitions + definitionBytes;
    if (page.isPacked && page.size > repetitionBytes + definitionBytes) this.#pages.set(at, values);
    else this.#checkValues(view, at, values.count, values.encoding);
  }

  #checkValues(view: DataView, at: number, count: number, encoding: number): void {
    if (count === 0) return;
    if (ENCODING.deltas.includes(encoding)) this.#checkDeltas(view, at);
    else if (encoding === ENCODING.rle && this.#isBoolean) this.#checkRuns(view, at + 4, 1, count);
    else if (ENCODING.indices.includes(encoding)) {
      const bits = view.getUint8(at);
      if (bits > 32 || this.#isBoolean) throw new Error(`a page has indices of ${bits} bits`);
      if (bits > 0) this.#checkRuns(view, at + 1, bits, count);
      else if (at + 1 < view.byteLength) this.#checkRuns(view, at + 1, bits, 1);
    }
  }

  /** Returns how many of the values are `wanted`. */
  #checkRuns(view: DataView, begin: number, bits: number, count: number, wanted?: number): number {
    let [at, seen, found] = [begin, 0, 0];
    while (seen < count) {
      const { value: header, end } = readVarInt(view, at);
      const isPacked = header % 2 === 1;
      const values = Math.floor(header / 2) * (isPacked ? 8 : 1);
      if (values > this.#limits.maxValues) throw new Error(`a page has a run of ${values} values`);
      at = end + (isPacked ? (values / 8) * bits : Math.ceil(bits / 8));
      const used = Math.min(values, count - seen);
      if (wanted !== undefined && isPacked) found += countPacked(view, end, bits, used, wanted);
      else if (view.getUint8(end) === wanted) found += used;
      seen += values;
    }
    return found;
  }

  #checkDeltas(view: DataView, begin: number): void {
    const block = readVarInt(view, begin);
    const { value: parts } = readVarInt(view, block.end);
    if (block.value > this.#limits.maxValues || parts < 1 || parts > block.value)
      throw new Error(`a page has blocks of ${block.value} values in ${parts} parts`);
  }
}

const bitsOf = (level: number) => 32 - Math.clz32(level);

/** Of levels, which have at most 8 bits each; the first is in the lowest bits. */
function countPacked(view: DataView, begin: number, bits: number, count: number, wanted: number): number {
  let found = 0;
  for (let i = 0, bit = 0; i < count; i++, bit += bits) {
    const at = begin + (bit >> 3);
    const next = at + 1 < view.byteLength ? view.getUint8(at + 1) : 0;
    const level = ((view.getUint8(at) | (next << 8)) >> (bit & 7)) & ((1 << bits) - 1);
    if (level === wanted) found++;
  }
  return found;
}

function levelsOf(path: readonly SchemaTree[]): { maxRepetition: number; maxDefinition: number } {
  const kinds = path.slice(1).map(({ element }) => element.repetition_type);
  return {
    maxRepetition: kinds.filter((kind) => kind === "REPEATED").length,
    maxDefinition: kinds.filter((kind) => kind !== "REQUIRED").length,
  };
}
