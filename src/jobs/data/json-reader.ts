/**
 * The rows of an NDJSON file: one JSON object a line. Their members are the columns, in the order in which they first come.
 */
import type { Columns } from "./columns.ts";
import type { RowPosition } from "./csv-reader.ts";
import { LF } from "./csv-scanner.ts";
import { addMalformed, type MalformedRows } from "./malformed.ts";
import { MAX_RECORD_BYTES, type RecordReader } from "./record-stream.ts";
import { ValueAdder } from "./values.ts";

export class JsonReader implements RecordReader {
  readonly position: RowPosition;
  readonly #columns: Columns;
  readonly #malformed: MalformedRows;
  readonly #decoder: TextDecoder;
  readonly #values: ValueAdder;

  constructor(
    format: { charset: string; nulls: readonly string[] },
    columns: Columns,
    malformed: MalformedRows,
    position: RowPosition,
  ) {
    this.position = { ...position };
    this.#columns = columns;
    this.#malformed = malformed;
    this.#decoder = new TextDecoder(format.charset);
    this.#values = new ValueAdder(format.nulls);
  }

  readRecord(bytes: Uint8Array, start: number, end: number, isLast: boolean): number {
    const found = bytes.subarray(start, end).indexOf(LF);
    const isTooLong = (found < 0 ? end - start : found) > MAX_RECORD_BYTES;
    if (found < 0 && !isTooLong && !isLast && !this.position.isSkipping) return -1;
    const next = found < 0 ? end : start + found + 1;
    if (this.position.isSkipping) this.position.isSkipping = found < 0;
    else if (isTooLong) {
      this.position.rows++;
      this.#addMalformed("too_long", `longer than ${MAX_RECORD_BYTES} bytes`);
      this.position.isSkipping = found < 0;
    } else this.#readLine(this.#decoder.decode(bytes.subarray(start, found < 0 ? end : start + found)));
    if (found >= 0) this.position.lines++;
    return next;
  }

  #readLine(line: string): void {
    if (line.trim() === "") {
      this.position.blankLines++;
      return;
    }
    this.position.rows++;
    const row = parse(line);
    if (row === undefined) return this.#addMalformed("invalid_json", "no valid JSON");
    if (typeof row !== "object" || row === null || Array.isArray(row))
      return this.#addMalformed("not_an_object", "no JSON object");
    const members = Object.entries(row);
    const places = members.map(([name]) => this.#columns.placeOf(name));
    if (places.includes(-1))
      return this.#addMalformed("too_many_columns", "there is no room for further columns");
    for (const [i, [, value]] of members.entries()) {
      const column = this.#columns.columns[places[i] ?? -1];
      if (column) this.#values.add(column, value);
    }
  }

  #addMalformed(reason: string, detail: string): void {
    addMalformed(this.#malformed, { row: this.position.rows, line: this.position.lines + 1, reason, detail });
  }
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line) as unknown;
  } catch {
    return undefined;
  }
}
