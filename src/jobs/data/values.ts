/** Values of JavaScript, from JSON or Parquet, given to columns as bytes with their hashes. */
import type { Column } from "./column.ts";
import { PADDING_BYTES } from "./hashing.ts";
import {
  ARRAY,
  BOOLEAN,
  DATE,
  DATETIME,
  DECIMAL,
  FieldReader,
  INTEGER,
  NULL,
  OBJECT,
  TEXT,
} from "./kinds.ts";

const DAY_MS = 86_400_000;
/** Of a longer value, the first bytes stand for all: two values that differ only after them count as one. */
const MAX_VALUE_BYTES = 64 * 1024;

export class ValueAdder {
  readonly #encoder = new TextEncoder();
  readonly #padded = new Uint8Array(MAX_VALUE_BYTES + PADDING_BYTES);
  readonly #bytes = this.#padded.subarray(0, MAX_VALUE_BYTES);
  readonly #view = new DataView(this.#padded.buffer);
  readonly #fields: FieldReader;
  readonly #nulls: ReadonlySet<string>;
  /** What the column asks for the kind of a new value. */
  readonly #known = { kind: NULL, value: 0, read: () => this.#known.kind };

  /** `nulls`: the texts that stand for no value, besides the empty one. */
  constructor(nulls: readonly string[]) {
    this.#nulls = new Set(["", ...nulls]);
    this.#fields = new FieldReader(".", []);
  }

  add(column: Column, value: unknown): void {
    if (value === null || value === undefined) return;
    if (typeof value === "string") return this.#addText(column, value);
    if (typeof value === "number") return this.#addNumber(column, value);
    if (typeof value === "bigint") return this.#addInteger(column, value);
    if (typeof value === "boolean") return this.#add(column, BOOLEAN, 0, String(value));
    if (value instanceof Date) return this.#addDate(column, value);
    const isArray = Array.isArray(value) || ArrayBuffer.isView(value);
    this.#add(column, isArray ? ARRAY : OBJECT, 0, toText(value));
  }

  #addNumber(column: Column, value: number): void {
    if (Number.isNaN(value)) return;
    if (!Number.isFinite(value)) return this.#add(column, TEXT, 0, String(value));
    this.#add(column, Number.isInteger(value) ? INTEGER : DECIMAL, value, String(value));
  }

  #addInteger(column: Column, value: bigint): void {
    this.#add(column, INTEGER, Number(value), String(value));
  }

  #addDate(column: Column, value: Date): void {
    const timeMs = value.getTime();
    if (Number.isNaN(timeMs)) return;
    const isDay = timeMs % DAY_MS === 0;
    this.#add(column, isDay ? DATE : DATETIME, timeMs, value.toISOString().slice(0, isDay ? 10 : undefined));
  }

  /** Text is text, also that of a number; only dates, for which JSON has nothing else, are known by their form. */
  #addText(column: Column, text: string): void {
    if (this.#nulls.has(text)) return;
    const length = this.#encode(text);
    const kind = length <= 40 ? this.#fields.read(this.#bytes, 0, length) : TEXT;
    const isTime = kind === DATE || kind === DATETIME;
    this.#known.kind = isTime ? kind : TEXT;
    this.#known.value = isTime ? this.#fields.value : 0;
    this.#addBytes(column, length);
  }

  #add(column: Column, kind: number, value: number, text: string): void {
    this.#known.kind = kind;
    this.#known.value = value;
    this.#addBytes(column, this.#encode(text));
  }

  #encode(text: string): number {
    return this.#encoder.encodeInto(text, this.#bytes).written;
  }

  /** The same text is another value if it is of another kind. */
  #addBytes(column: Column, length: number): void {
    column.add(this.#known, this.#bytes, this.#view, 0, length, this.#known.kind);
  }
}

/** What JSON cannot hold is written as text. */
function toText(value: object): string {
  return JSON.stringify(value, (_, member: unknown) =>
    typeof member === "bigint" ? String(member) : member,
  );
}
