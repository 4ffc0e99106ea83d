/**
 * Finds the fields of one CSV record in bytes (RFC 4180, and what else is common).
 *
 * It works on any charset in which the delimiter, the quote and line ends are the bytes that they are in ASCII, and in
 * which these bytes mean nothing else: UTF-8, Latin-1, Windows-1252. Nothing is decoded or copied. The byte after the last
 * one must be a line feed, so that every loop ends there without asking at each byte whether it has; `PADDING_BYTES` more
 * must follow.
 *
 * First a block of bytes is looked through, four at a time, for those that may end a field. What is done there does not
 * depend on where they are: a processor guesses how long each field is, as in a loop over its bytes, and each wrong guess
 * costs it more than all the rest.
 *
 * A quote in the middle of a field is part of it. Within quotes, two of them are one. A record ends with LF or CRLF, or
 * with CR in files that have no LF.
 */
import { PADDING_BYTES } from "./hashing.ts";
import { MAX_COLUMNS } from "./precision.ts";

export const LF = 10;
export const CR = 13;
const SPACE = 32;

export interface Dialect {
  /** One byte each; a quote of -1: there are no quotes. */
  delimiter: number;
  quote: number;
  /** Lines end with CR alone. */
  endsWithCr: boolean;
}

export type RecordProblem = "unclosed_quote" | "text_after_quote";

/** More bytes are needed to find the end of the record. */
export const INCOMPLETE = -1;

/** Of a record, fields beyond these are counted, and nothing else. */
const MAX_FIELDS = MAX_COLUMNS + 2;
const BLOCK_BYTES = 8 * 1024;
/** More than any place in the bytes. */
const NOWHERE = 0x7fffffff;
/** In each of four bytes: 1; the first that is no line end; the highest bit. */
const [ONES, ABOVE_CR, HIGH_BITS] = [0x01010101, 0x0e0e0e0e, 0x80808080 | 0] as const;

export class CsvScanner {
  readonly #delimiter: number;
  readonly #quote: number;
  readonly #lineEnd: number;
  /** How many fields of earlier records are kept in `fields`, before those of the next one. */
  kept = 0;
  /** Of the last record: how many fields it has. */
  count = 0;
  /** Two numbers for each field: where it begins, and before which byte it ends; without its quotes. */
  readonly fields: Int32Array;
  /** Of the last record: which of its fields have two quotes that are one. */
  readonly doubled: number[] = [];
  problem: RecordProblem | undefined;
  /** How many lines the record has. */
  lines = 1;

  #bytes = new Uint8Array();
  #view = new DataView(this.#bytes.buffer);
  /** In a block of the bytes: the places of those that may end a field, in ascending order; and at last `NOWHERE`. */
  readonly #marks = new Int32Array(BLOCK_BYTES + 1 + PADDING_BYTES).fill(NOWHERE);
  #nextMark = 0;
  #blockEnd = 0;
  /** Where a record begins whose marks are next; -1: there are none. */
  #at = -1;

  /** `maxKept`: the most that `kept` will be. */
  constructor({ delimiter, quote, endsWithCr }: Dialect, maxKept = 0) {
    this.#delimiter = delimiter;
    this.#quote = quote;
    this.#lineEnd = endsWithCr ? CR : LF;
    this.fields = new Int32Array(2 * (maxKept + MAX_FIELDS));
  }

  /** The bytes in which records are: to be called again when they have moved or changed. */
  load(bytes: Uint8Array<ArrayBuffer>): void {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#at = -1;
  }

  /**
   * Reads the record that begins at `start`, and returns where the next one begins, or `INCOMPLETE`. `isLast`: nothing
   * comes after `end`, which is then the end of the record too. `inOneLine`: a quoted field must end in its line.
   */
  scan(start: number, end: number, isLast: boolean, inOneLine: boolean): number {
    this.count = 0;
    this.doubled.length = 0;
    this.problem = undefined;
    this.lines = 1;
    if (start !== this.#at) this.#look(start, end);
    // Not as arrays that are taken apart: in loops as hot as these, they cost more than all the rest.
    const bytes = this.#bytes;
    const delimiter = this.#delimiter;
    const quote = this.#quote;
    for (let at = start; ; at++) {
      if (bytes[at] === quote && at < end) {
        at = this.#scanQuoted(at + 1, end, isLast, inOneLine);
        if (at < 0) break;
        this.#skipTo(at + 1, end);
      } else {
        const from = at;
        at = this.#findEnd(end);
        this.#store(from, at);
      }
      if (at >= end) break;
      if (bytes[at] === delimiter) continue;
      if (bytes[at] === CR && this.#lineEnd === LF) {
        if (at + 1 >= end) break;
        this.#skipTo(++at + 1, end);
      }
      this.#at = at + 1;
      return at + 1;
    }
    this.#at = -1;
    return isLast ? end : INCOMPLETE;
  }

  /** The bytes of a field of the last record. */
  field(i: number): Uint8Array {
    const slot = 2 * (this.kept + i);
    return this.#bytes.subarray(this.fields[slot], this.fields[slot + 1]);
  }

  /** Makes each two quotes one, in the bytes that were scanned. The quotes that are left over come after the field. */
  undouble(): void {
    const bytes = this.#bytes;
    for (const i of this.doubled) {
      const slot = 2 * (this.kept + i);
      const end = this.fields[slot + 1] ?? 0;
      let to = this.fields[slot] ?? 0;
      for (let at = to; at < end; at++) {
        const byte = bytes[at] ?? 0;
        if (byte === this.#quote) at++;
        bytes[to++] = byte;
      }
      bytes.fill(this.#quote, to, end);
      this.fields[slot + 1] = to;
    }
  }

  /** The next place at which a field without quotes ends. */
  #findEnd(end: number): number {
    for (;;) {
      const at = this.#marks[this.#nextMark++] ?? NOWHERE;
      if (at === NOWHERE) this.#look(this.#blockEnd, end);
      else if (this.#bytes[at] === this.#delimiter || this.#isLineEnd(at, end)) return at;
    }
  }

  /** The place after a field in quotes, the first byte of which is at `start`; -1: more bytes are needed. */
  #scanQuoted(start: number, end: number, isLast: boolean, inOneLine: boolean): number {
    const bytes = this.#bytes;
    const quote = this.#quote;
    const lineEnd = this.#lineEnd;
    let at = start;
    for (; ; at++) {
      const byte = bytes[at] ?? LF;
      if (byte === quote) {
        if (bytes[at + 1] !== quote) break;
        if (this.doubled.at(-1) !== this.count && this.count < MAX_FIELDS) this.doubled.push(this.count);
        at++;
      } else if (byte === lineEnd || byte === LF) {
        if (at >= end && !isLast) return -1;
        if (at >= end || inOneLine) {
          this.problem = "unclosed_quote";
          this.#store(start, at);
          return at;
        }
        if (byte === lineEnd) this.lines++;
      }
    }
    this.#store(start, at);
    at++;
    while (bytes[at] === SPACE && this.#delimiter !== SPACE) at++;
    while (at < end && bytes[at] !== this.#delimiter && !this.#isLineEnd(at, end)) {
      this.problem ??= "text_after_quote";
      at++;
    }
    // The second of two quotes may be still to come.
    return at < end || isLast ? at : -1;
  }

  /** The CR at the end ends a line, or is half of a CRLF. */
  #isLineEnd(at: number, end: number): boolean {
    const byte = this.#bytes[at];
    if (byte !== CR || this.#lineEnd === CR) return byte === LF || byte === CR;
    return at + 1 >= end || this.#bytes[at + 1] === LF;
  }

  #store(start: number, end: number): void {
    const slot = 2 * (this.kept + (this.count < MAX_FIELDS ? this.count : MAX_FIELDS - 1));
    this.fields[slot] = start;
    this.fields[slot + 1] = end;
    this.count++;
  }

  /** The next mark is the first at `place` or after it. */
  #skipTo(place: number, end: number): void {
    while ((this.#marks[this.#nextMark] ?? NOWHERE) < place) this.#nextMark++;
    if (this.#blockEnd < place) this.#look(place, end);
  }

  /** Looks through a block that begins at `from`, or up to the line feed at `end`. */
  #look(from: number, end: number): void {
    const view = this.#view;
    const marks = this.#marks;
    const delimiters = Math.imul(this.#delimiter, ONES);
    const to = Math.min(from + BLOCK_BYTES, end + 1);
    let count = 0;
    let at = from;
    for (; at < to; at += 4) {
      const word = view.getInt32(at, true);
      const others = word ^ delimiters;
      // A byte has its highest bit here if it is less than 14 or a delimiter, or perhaps if the byte below it has: a subtraction
      // borrows from above. So each place is looked at once more.
      let bits = (((word - ABOVE_CR) & ~word) | ((others - ONES) & ~others)) & HIGH_BITS;
      marks[count] = at + ((31 - Math.clz32(bits & -bits)) >>> 3);
      count += (bits | -bits) >>> 31;
      bits &= bits - 1;
      for (; bits !== 0; bits &= bits - 1) marks[count++] = at + ((31 - Math.clz32(bits & -bits)) >>> 3);
    }
    marks[count] = NOWHERE;
    this.#nextMark = 0;
    this.#blockEnd = at;
  }
}
