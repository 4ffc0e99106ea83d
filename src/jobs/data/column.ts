/**
 * What an analysis keeps of one column: counts by kind, moments, sketches, and the least and greatest value. Its size is
 * bounded by its precision, whatever comes.
 *
 * A value that the table of frequent values has is only counted there. What it is worth to the rest is added when the
 * table is settled: before a value may leave it, before it is packed, and at the end. So a column of few different values
 * costs one look-up a field.
 */
import { Hasher, mix } from "./hashing.ts";
import { DATE, DATETIME, DECIMAL, INTEGER, KINDS, NULL, TEXT } from "./kinds.ts";
import type { Precision } from "./precision.ts";
import { DistinctSketch } from "./sketches/distinct.ts";
import { Moments } from "./sketches/moments.ts";
import type { Packer, Unpacker } from "./sketches/packing.ts";
import { QuantileSketch } from "./sketches/quantiles.ts";
import { ValueTable } from "./sketches/value-table.ts";

/** Tells what a value is, if the column does not know it yet. `kinds.ts` has one for the bytes of a field. */
export interface ValueReader {
  read(bytes: Uint8Array, start: number, end: number): number;
  readonly value: number;
}

/** Fields of several rows. */
export interface Rows {
  bytes: Uint8Array;
  /** Of the same bytes. There are `PADDING_BYTES` after the last field. */
  view: DataView;
  /** Where each field begins, and before which byte it ends; `columns` of them for each row. */
  fields: Int32Array;
  columns: number;
  count: number;
}

const hasher = new Hasher();

/** The bits of dates. */
const TIMES = (1 << DATE) | (1 << DATETIME);

export class Column {
  #precision: Precision;
  readonly #kinds = new Float64Array(KINDS.length);
  #numbers = new Moments();
  #earliestMs = Number.POSITIVE_INFINITY;
  #latestMs = Number.NEGATIVE_INFINITY;
  #quantiles: QuantileSketch | undefined;
  #distinct: DistinctSketch | undefined;
  #table: ValueTable;
  #least: Uint8Array | undefined;
  #greatest: Uint8Array | undefined;

  constructor(precision: Precision) {
    this.#precision = precision;
    this.#quantiles = precision.bins > 0 ? new QuantileSketch(precision.bins) : undefined;
    this.#distinct = precision.distinct > 0 ? new DistinctSketch(precision.distinct) : undefined;
    this.#table = new ValueTable(precision.frequent, precision.textBytes);
  }

  /** A value: its bytes from `start` to before `end`. `salt`: another one makes another value of the same bytes. */
  add(
    reader: ValueReader,
    bytes: Uint8Array,
    view: DataView,
    start: number,
    end: number,
    salt: number,
  ): void {
    hasher.hash(view, start, end, salt);
    if (!this.#table.count(hasher.first, hasher.second)) this.#addNew(reader, bytes, start, end);
  }

  /** The fields at `place` of rows. What is empty is no value. */
  addAll(reader: ValueReader, rows: Rows, place: number): void {
    const table = this.#table;
    const { bytes, view, fields, columns, count } = rows;
    for (let slot = 2 * place, row = 0; row < count; slot += 2 * columns, row++) {
      const start = fields[slot] ?? 0;
      const end = fields[slot + 1] ?? 0;
      if (start === end) continue;
      hasher.hash(view, start, end, 0);
      if (!table.count(hasher.first, hasher.second)) this.#addNew(reader, bytes, start, end);
    }
  }

  /** Keeps less from now on. */
  lowerPrecision(precision: Precision): void {
    this.#settle();
    this.#precision = precision;
    if (precision.distinct > 0) this.#distinct?.lowerPrecision(precision.distinct);
    else this.#distinct = undefined;
    this.#table = this.#table.shrunk(precision.frequent, precision.textBytes);
    if (precision.bins > 0) this.#quantiles?.lowerMaxBins(precision.bins);
    else this.#quantiles = undefined;
    this.#least = this.#least?.slice(0, precision.textBytes);
    this.#greatest = this.#greatest?.slice(0, precision.textBytes);
  }

  pack(packer: Packer): void {
    this.#settle();
    this.#table.prune();
    const kinds = this.#kinds.reduce((bits, count, kind) => (count > 0 ? bits | (1 << kind) : bits), 0);
    packer.count(kinds);
    for (const count of this.#kinds) if (count > 0) packer.count(count);
    this.#numbers.pack(packer);
    if (kinds & TIMES) {
      packer.float64(this.#earliestMs);
      packer.float64(this.#latestMs);
    }
    if (this.#hasLimits(kinds)) {
      packer.bytes(this.#least ?? new Uint8Array());
      packer.bytes(this.#greatest ?? new Uint8Array());
    }
    this.#quantiles?.pack(packer);
    this.#distinct?.pack(packer);
    this.#table.pack(packer);
  }

  static unpack(unpacker: Unpacker, precision: Precision): Column {
    const column = new Column(precision);
    const kinds = unpacker.count();
    for (let kind = 0; kind < KINDS.length; kind++)
      if (kinds & (1 << kind)) column.#kinds[kind] = unpacker.count();
    column.#numbers = Moments.unpack(unpacker);
    if (kinds & TIMES) {
      column.#earliestMs = unpacker.float64();
      column.#latestMs = unpacker.float64();
    }
    if (column.#hasLimits(kinds)) {
      column.#least = unpacker.bytes();
      column.#greatest = unpacker.bytes();
    }
    if (precision.bins > 0) column.#quantiles = QuantileSketch.unpack(unpacker);
    if (precision.distinct > 0) column.#distinct = DistinctSketch.unpack(unpacker);
    column.#table = ValueTable.unpack(unpacker, precision.frequent, precision.textBytes);
    return column;
  }

  /** Everything that is known, with nothing left to settle. */
  read() {
    this.#settle();
    return {
      kinds: this.#kinds,
      numbers: this.#numbers,
      earliestMs: this.#earliestMs,
      latestMs: this.#latestMs,
      quantiles: this.#quantiles,
      distinct: this.#distinct,
      table: this.#table,
      least: this.#least,
      greatest: this.#greatest,
      textBytes: this.#precision.textBytes,
    };
  }

  /** A value that the table does not have. Its hashes are those of the last that was hashed. */
  #addNew(reader: ValueReader, bytes: Uint8Array, start: number, end: number): void {
    const { first, second } = hasher;
    if (this.#table.isFull) {
      this.#settle();
      this.#table.prune();
    }
    const kind = reader.read(bytes, start, end);
    const place = this.#table.insert(first, second, bytes, start, end);
    this.#table.kinds[place] = kind;
    this.#table.numbers[place] = reader.value;
    if (kind === NULL) return;
    this.#distinct?.add(first, mix(second ^ first));
    if (kind >= TEXT && this.#precision.textBytes > 0) this.#widen(bytes, start, end);
  }

  #settle(): void {
    const { counts, settled, kinds, numbers, size } = this.#table;
    for (let place = 0; place < size; place++) {
      const count = counts[place] ?? 0;
      const times = count - (settled[place] ?? 0);
      if (times === 0) continue;
      settled[place] = count;
      const kind = kinds[place] ?? 0;
      this.#kinds[kind] = (this.#kinds[kind] ?? 0) + times;
      const value = numbers[place] ?? 0;
      if (kind === INTEGER || kind === DECIMAL) {
        this.#numbers.add(value, times);
        this.#quantiles?.add(value, times);
      } else if (kind === DATE || kind === DATETIME) {
        this.#earliestMs = Math.min(this.#earliestMs, value);
        this.#latestMs = Math.max(this.#latestMs, value);
      }
    }
  }

  /** `kinds`: a bit for each. */
  #hasLimits(kinds: number): boolean {
    return kinds >= 1 << TEXT && this.#precision.textBytes > 0;
  }

  /** In the order of their bytes, which in UTF-8 is that of their characters. */
  #widen(bytes: Uint8Array, start: number, end: number): void {
    const most = Math.min(end, start + this.#precision.textBytes);
    if (!this.#least || compare(bytes, start, most, this.#least) < 0) this.#least = bytes.slice(start, most);
    if (!this.#greatest || compare(bytes, start, most, this.#greatest) > 0)
      this.#greatest = bytes.slice(start, most);
  }
}

function compare(bytes: Uint8Array, start: number, end: number, other: Uint8Array): number {
  const length = Math.min(end - start, other.length);
  for (let i = 0; i < length; i++) {
    const difference = (bytes[start + i] ?? 0) - (other[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return end - start - other.length;
}
