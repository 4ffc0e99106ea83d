/**
 * Finds the fields of one CSV record in bytes, and hashes each on the way (RFC 4180, and what else is common).
 *
 * It works on any charset in which the delimiter, the quote and line ends are the bytes that they are in ASCII, and in
 * which these bytes mean nothing else: UTF-8, Latin-1, Windows-1252. Nothing is decoded or copied. The byte after the last
 * one must be a line feed, so that every loop ends there without asking at each byte whether it has.
 *
 * A quote in the middle of a field is part of it. Within quotes, two of them are one. A record ends with LF or CRLF, or
 * with CR in files that have no LF.
 */
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

/**
 * Two hashes of the same bytes, of 32 bits each: FNV-1a, and the same with another seed and factor. Both take a byte with an
 * exclusive or: with a sum, V8 computes in floating point here, at a quarter of the speed.
 */
export const FIRST_SEED = 0x811c9dc5 | 0;
export const SECOND_SEED = 0x2545f491;
export const FIRST_FACTOR = 0x01000193;
export const SECOND_FACTOR = 0x5bd1e995;

export type RecordProblem = "unclosed_quote" | "text_after_quote";

/** More bytes are needed to find the end of the record. */
export const INCOMPLETE = -1;

export class CsvScanner {
  readonly #delimiter: number;
  readonly #quote: number;
  readonly #lineEnd: number;
  /** The greatest byte that is not simply part of an unquoted field. */
  readonly #top: number;
  /** Of the last record: how many fields it has. Of those beyond `MAX_COLUMNS` nothing else is known. */
  count = 0;
  /** Where each field begins, and before which byte it ends: without its quotes. */
  readonly starts = new Int32Array(MAX_COLUMNS + 2);
  readonly ends = new Int32Array(MAX_COLUMNS + 2);
  /** The hashes of each field, of its bytes as they are meant: two quotes within quotes are one. */
  readonly first = new Int32Array(MAX_COLUMNS + 2);
  readonly second = new Int32Array(MAX_COLUMNS + 2);
  /** 1: the field has two quotes that are one. */
  readonly doubled = new Uint8Array(MAX_COLUMNS + 2);
  problem: RecordProblem | undefined;
  /** How many lines the record has. */
  lines = 1;

  #at = 0;

  constructor({ delimiter, quote, endsWithCr }: Dialect) {
    this.#delimiter = delimiter;
    this.#quote = quote;
    this.#lineEnd = endsWithCr ? CR : LF;
    this.#top = Math.max(delimiter, CR);
  }

  /**
   * Reads the record that begins at `start`, and returns where the next one begins, or `INCOMPLETE`. `isLast`: nothing
   * comes after `end`, which is then the end of the record too. `inOneLine`: a quoted field must end in its line.
   */
  scan(bytes: Uint8Array, start: number, end: number, isLast: boolean, inOneLine: boolean): number {
    this.#at = start;
    this.count = 0;
    this.problem = undefined;
    this.lines = 1;
    // Not as arrays that are taken apart: in loops as hot as these, they cost more than all the rest.
    const delimiter = this.#delimiter;
    const quote = this.#quote;
    const top = this.#top;
    const lineEnd = this.#lineEnd;
    for (;;) {
      if (bytes[this.#at] === quote && this.#at < end) {
        if (!this.#scanQuoted(bytes, end, isLast, inOneLine)) return INCOMPLETE;
      } else {
        let at = this.#at;
        let byte = bytes[at] ?? LF;
        let first = FIRST_SEED;
        let second = SECOND_SEED;
        while (
          byte > top ||
          (byte !== delimiter && byte !== LF && (byte !== CR || !endsLine(bytes, at, end, lineEnd)))
        ) {
          first = Math.imul(first ^ byte, FIRST_FACTOR);
          second = Math.imul(second ^ byte, SECOND_FACTOR);
          byte = bytes[++at] ?? LF;
        }
        this.#store(this.#at, at, first, second, 0);
        this.#at = at;
      }
      const at = this.#at;
      if (at >= end) return isLast ? end : INCOMPLETE;
      const byte = bytes[at];
      if (byte === delimiter) {
        this.#at = at + 1;
        continue;
      }
      if (byte === CR && lineEnd !== CR) {
        if (at + 1 < end) return at + 2;
        return isLast ? end : INCOMPLETE;
      }
      return at + 1;
    }
  }

  /** False: more bytes are needed. Afterwards `#at` is at a delimiter, a line end or the end. */
  #scanQuoted(bytes: Uint8Array, end: number, isLast: boolean, inOneLine: boolean): boolean {
    const quote = this.#quote;
    const lineEnd = this.#lineEnd;
    const start = this.#at + 1;
    let at = start;
    let first = FIRST_SEED;
    let second = SECOND_SEED;
    let doubled = 0;
    for (;;) {
      const byte = bytes[at] ?? LF;
      if (byte === quote) {
        if (bytes[at + 1] !== quote) break;
        doubled = 1;
        at++;
      } else if (byte === lineEnd || byte === LF) {
        if (at >= end && !isLast) return false;
        if (at >= end || inOneLine) {
          this.problem = "unclosed_quote";
          this.#at = at;
          this.#store(start, at, first, second, doubled);
          return true;
        }
        if (byte === lineEnd) this.lines++;
      }
      first = Math.imul(first ^ byte, FIRST_FACTOR);
      second = Math.imul(second ^ byte, SECOND_FACTOR);
      at++;
    }
    this.#store(start, at, first, second, doubled);
    at++;
    while (bytes[at] === SPACE && this.#delimiter !== SPACE) at++;
    while (at < end && bytes[at] !== this.#delimiter && !this.#isLineEnd(bytes, at, end)) {
      this.problem ??= "text_after_quote";
      at++;
    }
    this.#at = at;
    // The second of two quotes may be still to come.
    return at < end || isLast;
  }

  #isLineEnd(bytes: Uint8Array, at: number, end: number): boolean {
    return bytes[at] === LF || (bytes[at] === CR && endsLine(bytes, at, end, this.#lineEnd));
  }

  #store(start: number, end: number, first: number, second: number, doubled: number): void {
    const field = this.count < MAX_COLUMNS + 1 ? this.count : MAX_COLUMNS + 1;
    this.starts[field] = start;
    this.ends[field] = end;
    this.first[field] = first;
    this.second[field] = second;
    this.doubled[field] = doubled;
    this.count++;
  }
}

/** Whether the CR at this place ends a line. At the end it does, or is half of a CRLF. */
function endsLine(bytes: Uint8Array, at: number, end: number, lineEnd: number): boolean {
  return lineEnd === CR || at + 1 >= end || bytes[at + 1] === LF;
}

/** Copies a field to the start of `to` with each two quotes as one; returns its length there. */
export function undouble(
  bytes: Uint8Array,
  start: number,
  end: number,
  quote: number,
  to: Uint8Array,
): number {
  let length = 0;
  for (let at = start; at < end; at++) {
    const byte = bytes[at] ?? 0;
    if (byte === quote) at++;
    to[length++] = byte;
  }
  return length;
}
