/**
 * What kind of value the bytes of a field are, and its number if it has one.
 *
 * Only what is surely a number is one: text with leading zeros (`007`) or a plus sign (`+49 30 …`) may be a code, and a
 * number that no 64-bit float can hold (`1e400`) would be another. Both stay text. Digits may be in groups of three
 * (`1,234.5`, or `1.234,5` where the decimal separator is a comma). Dates are those whose order of day and month is
 * certain: `2026-11-27`, `2026/11/27`, `27.11.2026`, and ISO 8601 dates with a time.
 */

export const KINDS = [
  "null",
  "integer",
  "decimal",
  "boolean",
  "date",
  "datetime",
  "text",
  "object",
  "array",
] as const;
export type KindName = (typeof KINDS)[number];

export const NULL = 0;
export const INTEGER = 1;
export const DECIMAL = 2;
export const BOOLEAN = 3;
export const DATE = 4;
export const DATETIME = 5;
export const TEXT = 6;
export const OBJECT = 7;
export const ARRAY = 8;

const [DOT, COMMA, MINUS, PLUS, ZERO, SLASH, COLON, SPACE] = [46, 44, 45, 43, 48, 47, 58, 32];
/** A float holds each whole number up to here, and 10 to a power up to 22: one division by such a power rounds once. */
const MAX_EXACT = Number.MAX_SAFE_INTEGER;
const POWERS = Float64Array.from({ length: 23 }, (_, n) => 10 ** n);
const MAX_NUMBER_BYTES = 400;
const DAY_MS = 86_400_000;

const isDigit = (byte: number | undefined): byte is number =>
  byte !== undefined && byte >= ZERO && byte <= 57;

export type DecimalSeparator = "." | ",";

export class FieldReader {
  readonly #decimal: number;
  readonly #group: number;
  readonly #nulls: Uint8Array[];
  /** 1 for each byte with which one of them begins. */
  readonly #nullStarts = new Uint8Array(256);
  /** Of the last field that was read: its number, or its time in milliseconds since 1970. */
  value = 0;

  /** `nulls`: the texts that stand for no value, besides the empty one. */
  constructor(decimal: DecimalSeparator, nulls: readonly string[]) {
    [this.#decimal, this.#group] = decimal === "." ? [DOT, COMMA] : [COMMA, DOT];
    this.#nulls = nulls.map((text) => new TextEncoder().encode(text));
    for (const [first = 0] of this.#nulls) this.#nullStarts[first] = 1;
  }

  /** The kind of a field, from `start` to before `end`, as an index into `KINDS`; `value` has its number. */
  read(bytes: Uint8Array, start: number, end: number): number {
    let from = start;
    let to = end;
    while (from < to && bytes[from] === SPACE) from++;
    while (from < to && bytes[to - 1] === SPACE) to--;
    this.value = 0;
    if (from === to) return NULL;
    const first = bytes[from] ?? 0;
    if (this.#nullStarts[first] === 1 && this.#isNull(bytes, from, to)) return NULL;
    if (isDigit(first) || first === MINUS || first === this.#decimal) {
      const kind = this.#readNumber(bytes, from, to);
      if (kind !== TEXT) return kind;
      return isDigit(first) ? this.#readDate(bytes, from, to) : TEXT;
    }
    return isBoolean(bytes, from, to) ? BOOLEAN : TEXT;
  }

  #isNull(bytes: Uint8Array, from: number, to: number): boolean {
    for (const text of this.#nulls) if (text.length === to - from && isAt(text, bytes, from)) return true;
    return false;
  }

  #readNumber(bytes: Uint8Array, from: number, to: number): number {
    if (to - from > MAX_NUMBER_BYTES) return TEXT;
    const isNegative = bytes[from] === MINUS;
    let at = isNegative ? from + 1 : from;
    if (bytes[at] === ZERO && at + 1 < to && isDigit(bytes[at + 1])) return TEXT;
    let digits = 0;
    let whole = 0;
    let group = -1;
    for (; at < to; at++) {
      const byte = bytes[at] ?? 0;
      if (isDigit(byte)) {
        digits = digits * 10 + (byte - ZERO);
        whole++;
        if (group >= 0) group++;
      } else if (byte === this.#group && (group < 0 ? whole >= 1 && whole <= 3 : group === 3)) group = 0;
      else break;
    }
    if (group >= 0 && group !== 3) return TEXT;
    let decimals = 0;
    const hasDecimal = at < to && bytes[at] === this.#decimal;
    if (hasDecimal)
      for (at++; at < to && isDigit(bytes[at]); at++, decimals++)
        digits = digits * 10 + ((bytes[at] ?? 0) - ZERO);
    if (whole + decimals === 0) return TEXT;
    const exponentAt = at;
    at = skipExponent(bytes, at, to);
    if (at < to) return TEXT;
    const isExact = digits <= MAX_EXACT && decimals < POWERS.length && exponentAt === to;
    const size = isExact
      ? digits / (POWERS[decimals] ?? 1)
      : this.#parse(bytes, isNegative ? from + 1 : from, to);
    if (!Number.isFinite(size)) return TEXT;
    this.value = isNegative ? -size : size;
    return hasDecimal || exponentAt < to ? DECIMAL : INTEGER;
  }

  /** A number with many digits or an exponent, which is known to be well-formed. */
  #parse(bytes: Uint8Array, from: number, to: number): number {
    let text = "";
    for (let at = from; at < to; at++) {
      const byte = bytes[at] ?? 0;
      if (byte !== this.#group) text += byte === this.#decimal ? "." : String.fromCharCode(byte);
    }
    return Number(text);
  }

  #readDate(bytes: Uint8Array, from: number, to: number): number {
    const mark = bytes[from + 4];
    const isYearFirst = (mark === MINUS || mark === SLASH) && bytes[from + 7] === mark;
    const isDayFirst = bytes[from + 2] === DOT && bytes[from + 5] === DOT;
    if (to - from < 10 || !(isYearFirst || isDayFirst)) return TEXT;
    const number = (at: number, length: number) => readDigits(bytes, from + at, from + at + length);
    const days = isYearFirst
      ? dayNumber(number(0, 4), number(5, 2), number(8, 2))
      : dayNumber(number(6, 4), number(3, 2), number(0, 2));
    if (Number.isNaN(days)) return TEXT;
    const timeMs = to - from === 10 ? 0 : readTime(bytes, from + 10, to);
    if (Number.isNaN(timeMs)) return TEXT;
    this.value = days * DAY_MS + timeMs;
    return to - from === 10 ? DATE : DATETIME;
  }
}

function isAt(text: Uint8Array, bytes: Uint8Array, at: number): boolean {
  for (let i = 0; i < text.length; i++) if (text[i] !== bytes[at + i]) return false;
  return true;
}

/** The position after `e`, a sign and digits, if they are there. */
function skipExponent(bytes: Uint8Array, from: number, to: number): number {
  if (from >= to || ((bytes[from] ?? 0) | 32) !== 101) return from;
  let at = from + 1;
  if (bytes[at] === MINUS || bytes[at] === PLUS) at++;
  const first = at;
  while (at < to && isDigit(bytes[at])) at++;
  return at > first ? at : from;
}

/** NaN if there is anything but digits. */
function readDigits(bytes: Uint8Array, from: number, to: number): number {
  let value = 0;
  for (let at = from; at < to; at++) {
    const byte = bytes[at];
    if (!isDigit(byte)) return Number.NaN;
    value = value * 10 + (byte - ZERO);
  }
  return value;
}

/** Days since 1970; NaN if there is no such day. */
function dayNumber(year: number, month: number, day: number): number {
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  const exists = date.getUTCMonth() === month - 1 && date.getUTCDate() === day;
  return exists ? date.getTime() / DAY_MS : Number.NaN;
}

/** `T` or a space, `hh:mm`, seconds with a fraction if they are there, and `Z` or an offset; in milliseconds. */
function readTime(bytes: Uint8Array, start: number, to: number): number {
  const mark = bytes[start];
  const from = start + 1;
  if ((mark !== SPACE && mark !== 84 && mark !== 116) || bytes[from + 2] !== COLON) return Number.NaN;
  const [hour, minute] = [readDigits(bytes, from, from + 2), readDigits(bytes, from + 3, from + 5)];
  let at = from + 5;
  let seconds = 0;
  if (at < to && bytes[at] === COLON) {
    seconds = readDigits(bytes, at + 1, at + 3);
    at += 3;
    if (at < to && (bytes[at] === DOT || bytes[at] === COMMA)) {
      const first = ++at;
      while (at < to && isDigit(bytes[at])) at++;
      seconds += readDigits(bytes, first, Math.min(at, first + 9)) / (POWERS[Math.min(at - first, 9)] ?? 1);
    }
  }
  const offset = readOffset(bytes, at, to);
  const isTime = at <= to && hour <= 24 && minute < 60 && seconds < 61;
  return isTime ? (hour * 3600 + (minute - offset) * 60 + seconds) * 1000 : Number.NaN;
}

/** Minutes east of Greenwich; 0 without an offset. */
function readOffset(bytes: Uint8Array, from: number, to: number): number {
  const sign = bytes[from] ?? 0;
  if (from === to) return 0;
  if ((sign | 32) === 122) return from + 1 === to ? 0 : Number.NaN;
  if (sign !== PLUS && sign !== MINUS) return Number.NaN;
  const hours = readDigits(bytes, from + 1, from + 3);
  const minutesAt = bytes[from + 3] === COLON ? from + 4 : from + 3;
  const minutes = from + 3 === to ? 0 : readDigits(bytes, minutesAt, minutesAt + 2);
  if (from + 3 !== to && minutesAt + 2 !== to) return Number.NaN;
  return (sign === MINUS ? -1 : 1) * (hours * 60 + minutes);
}

/** `true` and `false`, in lower, upper or title case. */
function isBoolean(bytes: Uint8Array, from: number, to: number): boolean {
  const length = to - from;
  if (length !== 4 && length !== 5) return false;
  const text = String.fromCharCode(...bytes.subarray(from, to));
  return /^(?:true|True|TRUE|false|False|FALSE)$/.test(text);
}
