/**
 * The rows of a CSV file, each given to its columns or, if it is malformed, counted and named.
 *
 * A quote that is never closed would swallow the rest of a file. So when the end of a record is not found within
 * `MAX_RECORD_BYTES`, or not before the end of the file, only its first line is malformed; the next lines are read again, and
 * up to where the search ended each quote must be closed in its own line. So no byte is read more than twice.
 */
import { Columns } from "./columns.ts";
import { CR, CsvScanner, type Dialect, INCOMPLETE, LF, undouble } from "./csv-scanner.ts";
import { type DecimalSeparator, FieldReader } from "./kinds.ts";
import { addMalformed, type MalformedRows } from "./malformed.ts";
import { MAX_RECORD_BYTES, type RecordReader } from "./record-stream.ts";

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
  readonly #quote: number;
  readonly #lineEnd: number;
  #scratch = new Uint8Array(1024);

  constructor(format: CsvFormat, columns: Columns, malformed: MalformedRows, position: RowPosition) {
    this.position = { ...position };
    this.#columns = columns;
    this.#malformed = malformed;
    this.#scanner = new CsvScanner(format);
    this.#fields = new FieldReader(format.decimal, format.nulls);
    this.#quote = format.quote;
    this.#lineEnd = format.endsWithCr ? CR : LF;
  }

  readRecord(bytes: Uint8Array, start: number, end: number, isLast: boolean, offset: number): number {
    if (this.position.isSkipping) return this.#skip(bytes, start, end);
    const scanner = this.#scanner;
    const inOneLine = offset < this.position.oneLineUntil;
    const next = scanner.scan(bytes, start, end, isLast, inOneLine);
    const isTooLong = (next === INCOMPLETE ? end : next) - start > MAX_RECORD_BYTES;
    if (isTooLong || (scanner.problem === "unclosed_quote" && !inOneLine))
      return this.#giveUp(bytes, start, end, offset);
    if (next === INCOMPLETE) return INCOMPLETE;
    const isBlank = scanner.count === 1 && isBlankLine(bytes, start, next);
    if (isBlank) this.position.blankLines++;
    else this.#readRow(bytes);
    this.position.lines += scanner.lines;
    return next;
  }

  #readRow(bytes: Uint8Array): void {
    const { starts, ends, first, second, doubled, count, problem } = this.#scanner;
    const { columns } = this.#columns;
    this.position.rows++;
    if (problem === "unclosed_quote") return this.#addMalformed(problem, "a quote is not closed");
    if (problem)
      return this.#addMalformed(problem, "there is text between a closing quote and the next delimiter");
    if (count !== columns.length && !this.#hasEmptyRest(columns.length)) {
      const reason = count < columns.length ? "too_few_fields" : "too_many_fields";
      return this.#addMalformed(reason, `fields: ${count} instead of ${columns.length}`);
    }
    for (let i = 0; i < columns.length; i++) {
      const column = columns[i];
      const start = starts[i] ?? 0;
      const end = ends[i] ?? 0;
      if (start === end || !column) continue;
      if (doubled[i] === 1) this.#addDoubled(i, bytes.subarray(start, end));
      else column.add(this.#fields, bytes, start, end, first[i] ?? 0, second[i] ?? 0);
    }
  }

  #addDoubled(i: number, field: Uint8Array): void {
    if (this.#scratch.length < field.length) this.#scratch = new Uint8Array(2 * field.length);
    const length = undouble(field, 0, field.length, this.#quote, this.#scratch);
    const { first, second } = this.#scanner;
    this.#columns.columns[i]?.add(this.#fields, this.#scratch, 0, length, first[i] ?? 0, second[i] ?? 0);
  }

  /** A delimiter at the end of each row is no further column. */
  #hasEmptyRest(columns: number): boolean {
    const { starts, ends, count } = this.#scanner;
    if (count < columns) return false;
    for (let i = columns; i < count; i++) if (starts[i] !== ends[i]) return false;
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
