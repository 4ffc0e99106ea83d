/**
 * The rows of a CSV file, each given to its columns or, if it is malformed, counted and named.
 *
 * A quote that is never closed would swallow the rest of a file. So when the end of a record is not found within
 * `MAX_RECORD_BYTES`, or not before the end of the file, only its first line is malformed; the next lines are read again, and
 * up to where the search ended each quote must be closed in its own line. So no byte is read more than twice.
 */
import type { Rows } from "./column.ts";
import { Columns } from "./columns.ts";
import { CR, CsvScanner, type Dialect, INCOMPLETE, LF } from "./csv-scanner.ts";
import { type DecimalSeparator, FieldReader } from "./kinds.ts";
import { addMalformed, type MalformedRows } from "./malformed.ts";
import { MAX_RECORD_BYTES, type RecordReader } from "./record-stream.ts";

/** Columns are given so many fields at once, or more: then what they need is at hand for all of them. */
const MIN_FLUSHED_FIELDS = 4096;

const NO_BYTES = new Uint8Array();

/** Where a reader is between two records. */
export interface RowPosition {
  /** Rows so far, malformed ones included. */
  rows: number;
  lines: number;
  blankLines: number;
  /** Up to this offset, quotes must be closed in their line. */
  oneLineUntil: number;
  /** The rest of a line that is too long is still to come. */
  isSkipping: boolean;
}

export const STARTING_POSITION: RowPosition = {
  rows: 0,
  lines: 0,
  blankLines: 0,
  oneLineUntil: 0,
  isSkipping: false,
};

export interface CsvFormat extends Dialect {
  decimal: DecimalSeparator;
  nulls: readonly string[];
}

export class CsvReader implements RecordReader {
  readonly position: RowPosition;
  readonly #columns: Columns;
  readonly #malformed: MalformedRows;
  readonly #scanner: CsvScanner;
  readonly #fields: FieldReader;
  readonly #lineEnd: number;
  /** The rows whose fields the scanner keeps: they are still to be given to the columns. */
  readonly #kept: Rows;

  constructor(format: CsvFormat, columns: Columns, malformed: MalformedRows, position: RowPosition) {
    this.position = { ...position };
    this.#columns = columns;
    this.#malformed = malformed;
    this.#scanner = new CsvScanner(format, MIN_FLUSHED_FIELDS);
    this.#fields = new FieldReader(format.decimal, format.nulls);
    this.#lineEnd = format.endsWithCr ? CR : LF;
    const { fields } = this.#scanner;
    this.#kept = {
      bytes: NO_BYTES,
      view: new DataView(NO_BYTES.buffer),
      fields,
      columns: columns.columns.length,
      count: 0,
    };
  }

  load(bytes: Uint8Array<ArrayBuffer>): void {
    this.#scanner.load(bytes);
    this.#kept.bytes = bytes;
    this.#kept.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  flush(): void {
    if (this.#kept.count === 0) return;
    const { columns } = this.#columns;
    for (let place = 0; place < columns.length; place++)
      columns[place]?.addAll(this.#fields, this.#kept, place);
    this.#kept.count = 0;
    this.#scanner.kept = 0;
  }

  readRecord(bytes: Uint8Array, start: number, end: number, isLast: boolean, offset: number): number {
    if (this.position.isSkipping) return this.#skip(bytes, start, end);
    const scanner = this.#scanner;
    const inOneLine = offset < this.position.oneLineUntil;
    const next = scanner.scan(start, end, isLast, inOneLine);
    const isTooLong = (next === INCOMPLETE ? end : next) - start > MAX_RECORD_BYTES;
    if (isTooLong || (scanner.problem === "unclosed_quote" && !inOneLine))
      return this.#giveUp(bytes, start, end, offset);
    if (next === INCOMPLETE) return INCOMPLETE;
    const isBlank = scanner.count === 1 && isBlankLine(bytes, start, next);
    if (isBlank) this.position.blankLines++;
    else this.#readRow();
    this.position.lines += scanner.lines;
    return next;
  }

  #readRow(): void {
    const { count, problem } = this.#scanner;
    const columns = this.#columns.columns.length;
    this.position.rows++;
    if (problem === "unclosed_quote") return this.#addMalformed(problem, "a quote is not closed");
    if (problem)
      return this.#addMalformed(problem, "there is text between a closing quote and the next delimiter");
    if (count !== columns && !this.#hasEmptyRest(columns)) {
      const reason = count < columns ? "too_few_fields" : "too_many_fields";
      return this.#addMalformed(reason, `fields: ${count} instead of ${columns}`);
    }
    if (this.#scanner.doubled.length > 0) this.#scanner.undouble();
    this.#scanner.kept += columns;
    this.#kept.count++;
    if (this.#scanner.kept >= MIN_FLUSHED_FIELDS) this.flush();
  }

  /** A delimiter at the end of each row is no further column. */
  #hasEmptyRest(columns: number): boolean {
    const { count } = this.#scanner;
    if (count < columns) return false;
    for (let i = columns; i < count; i++) if (this.#scanner.field(i).length > 0) return false;
    return true;
  }

  /** The first line of a record whose end is not found. */
  #giveUp(bytes: Uint8Array, start: number, end: number, offset: number): number {
    const most = Math.min(end, start + MAX_RECORD_BYTES);
    const line = bytes.subarray(start, most).indexOf(this.#lineEnd);
    this.position.rows++;
    if (line < 0 && most < end) {
      this.#addMalformed("too_long", `longer than ${MAX_RECORD_BYTES} bytes`);
      this.position.isSkipping = true;
      return most;
    }
    this.#addMalformed("unclosed_quote", "a quote is not closed");
    this.position.lines++;
    this.position.oneLineUntil = offset + (most - start);
    return line < 0 ? end : start + line + 1;
  }

  #skip(bytes: Uint8Array, start: number, end: number): number {
    const line = bytes.subarray(start, end).indexOf(this.#lineEnd);
    if (line < 0) return end;
    this.position.isSkipping = false;
    this.position.lines++;
    return start + line + 1;
  }

  #addMalformed(reason: string, detail: string): void {
    addMalformed(this.#malformed, { row: this.position.rows, line: this.position.lines + 1, reason, detail });
  }
}

/** Nothing but a line end. */
function isBlankLine(bytes: Uint8Array, start: number, next: number): boolean {
  const first = bytes[start];
  return next - start <= 2 && (first === LF || first === CR);
}
