/**
 * The format of a text file, from its first bytes: delimiter, quote, line ends, header, and what separates decimals.
 *
 * Whatever the caller gives is taken; the rest is found out. The same bytes always give the same format, so a run that
 * goes on after another need not be told.
 */
import { CR, CsvScanner, type Dialect, LF } from "./csv-scanner.ts";
import { PADDING_BYTES } from "./hashing.ts";
import { DATE, DATETIME, DECIMAL, type DecimalSeparator, FieldReader, INTEGER, NULL } from "./kinds.ts";

const DELIMITERS = [",", ";", "\t", "|"] as const;
export type Delimiter = (typeof DELIMITERS)[number] | (string & {});
/** Enough to tell a delimiter. */
const MAX_RECORDS = 200;
const MAX_SNIFFED_BYTES = 256 * 1024;

export interface GivenFormat {
  delimiter?: string | undefined;
  /** "": there are no quotes. */
  quote?: string | undefined;
  header?: boolean | undefined;
  decimal?: DecimalSeparator | undefined;
}

export interface SniffedFormat extends Dialect {
  decimal: DecimalSeparator;
  hasHeader: boolean;
  /** The fields of the first record, still as bytes. */
  firstRecord: Uint8Array[];
  /** Where the data begin, after a line `sep=;` and the header. */
  dataOffset: number;
  /** How many lines come before. */
  dataLine: number;
}

/** `head`: the first bytes, without a byte order mark. `isWhole`: nothing comes after them. Undefined: there is no record. */
export function sniffCsv(head: Uint8Array, isWhole: boolean, given: GivenFormat): SniffedFormat | undefined {
  const endsWithCr = hasOnlyCr(head);
  const separator = readSeparatorLine(head);
  const start = separator?.length ?? 0;
  const quote = given.quote ?? detectQuote(head);
  const sniff = (delimiter: string) =>
    readRecords(head, start, isWhole, { delimiter: byteOf(delimiter), quote: byteOf(quote), endsWithCr });
  const delimiter = given.delimiter ?? separator?.delimiter ?? detectDelimiter(sniff);
  const records = sniff(delimiter);
  const [firstRecord, ...others] = records.filter(({ isBlank }) => !isBlank);
  if (!firstRecord) return undefined;
  const decimal = given.decimal ?? detectDecimal(records, delimiter);
  const fields = new FieldReader(decimal, []);
  const hasHeader = given.header ?? isHeader(firstRecord.fields, others[0]?.fields, fields);
  const before = records.slice(0, records.indexOf(firstRecord));
  const skipped = (separator ? 1 : 0) + before.length;
  return {
    delimiter: byteOf(delimiter),
    quote: byteOf(quote),
    endsWithCr,
    decimal,
    hasHeader,
    firstRecord: firstRecord.fields,
    dataOffset: hasHeader ? firstRecord.end : firstRecord.start,
    dataLine: hasHeader ? skipped + firstRecord.lines : skipped,
  };
}

/** -1 for no byte. */
const byteOf = (text: string) => (text === "" ? -1 : text.charCodeAt(0));

interface SniffedRecord {
  start: number;
  end: number;
  lines: number;
  isBlank: boolean;
  isMalformed: boolean;
  fields: Uint8Array[];
}

/** The first records; the last of them only if it is whole. */
function readRecords(head: Uint8Array, start: number, isWhole: boolean, dialect: Dialect): SniffedRecord[] {
  const scanner = new CsvScanner(dialect);
  const bytes = new Uint8Array(head.length + 1 + PADDING_BYTES);
  bytes.set(head);
  bytes[head.length] = LF;
  scanner.load(bytes);
  const records: SniffedRecord[] = [];
  for (let at = start; at < head.length && records.length < MAX_RECORDS; ) {
    if (records.length > 1 && at > MAX_SNIFFED_BYTES) break;
    const next = scanner.scan(at, head.length, isWhole, false);
    if (next < 0) break;
    scanner.undouble();
    const fields = Array.from({ length: scanner.count }, (_, i) => scanner.field(i).slice());
    const isBlank = next - at <= 2 && (bytes[at] === LF || bytes[at] === CR);
    const { lines, problem } = scanner;
    records.push({ start: at, end: next, lines, isBlank, isMalformed: problem !== undefined, fields });
    at = next;
  }
  return records;
}

/** Excel writes the delimiter into a line of its own: `sep=;`. */
function readSeparatorLine(head: Uint8Array): { delimiter: string; length: number } | undefined {
  const [, delimiter, end] = /^sep=([^\r\n])(\r\n|\n|\r)/i.exec(asText(head.subarray(0, 8))) ?? [];
  return delimiter && end ? { delimiter, length: 5 + end.length } : undefined;
}

function hasOnlyCr(head: Uint8Array): boolean {
  return !head.includes(LF) && head.subarray(0, -1).includes(CR);
}

/** A single quote, if fields begin and end with it and none does with a double one. */
function detectQuote(head: Uint8Array): string {
  const text = asText(head.subarray(0, 64 * 1024));
  const count = (pattern: RegExp) => text.match(pattern)?.length ?? 0;
  const isSingle = count(/(?:^|[,;\t|\r\n])'/g) > 2 && count(/'(?:$|[,;\t|\r\n])/g) > 2;
  return isSingle && count(/(?:^|[,;\t|\r\n])"/g) === 0 ? "'" : '"';
}

/** The one with which most records have the same number of fields, and more than one. */
function detectDelimiter(sniff: (delimiter: string) => SniffedRecord[]): string {
  let best = { delimiter: ",", score: 0 };
  for (const delimiter of DELIMITERS) {
    const records = sniff(delimiter).filter(({ isBlank }) => !isBlank);
    const counts = new Map<number, number>();
    for (const { fields, isMalformed } of records)
      if (!isMalformed) counts.set(fields.length, (counts.get(fields.length) ?? 0) + 1);
    for (const [fields, times] of counts) {
      // Agreement counts most; among equals, more fields.
      const score = fields > 1 ? (times / records.length) ** 2 * (1 + Math.log2(fields) / 10) : 0;
      if (score > best.score) best = { delimiter, score };
    }
  }
  return best.delimiter;
}

const DECIMAL_COMMA = /^-?(?:\d{1,3}(?:\.\d{3})+|\d+),\d+$/;
const DECIMAL_DOT = /^-?(?:\d{1,3}(?:,\d{3})+|\d+)\.\d+$/;
const GROUPED = /^-?\d{1,3}[.,]\d{3}$/;

/** A comma, if more fields can only be read so than with a dot. Three digits after one mark may be a group: no evidence. */
function detectDecimal(records: SniffedRecord[], delimiter: string): DecimalSeparator {
  let [commas, dots, either] = [0, 0, 0];
  for (const field of records.flatMap(({ fields }) => fields)) {
    if (field.length > 40) continue;
    const text = asText(field).trim();
    if (GROUPED.test(text)) either += text.includes(",") ? 1 : -1;
    else if (DECIMAL_COMMA.test(text)) commas++;
    else if (DECIMAL_DOT.test(text)) dots++;
  }
  if (commas !== dots) return commas > dots ? "," : ".";
  return delimiter === ";" && either > 0 ? "," : ".";
}

/** Names are neither numbers nor dates, and at least one is there. */
function isHeader(first: Uint8Array[], second: Uint8Array[] | undefined, fields: FieldReader): boolean {
  const kinds = first.map((field) => fields.read(field, 0, field.length));
  if (kinds.some((kind) => kind === INTEGER || kind === DECIMAL || kind === DATE || kind === DATETIME))
    return false;
  return kinds.some((kind) => kind !== NULL) && (second === undefined || first.length >= second.length - 1);
}

/** Each byte as the character of its number: what is looked for here is ASCII. */
function asText(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
}

/** Names of columns: none is empty, and no two are the same. */
export function nameColumns(given: readonly string[]): string[] {
  const times = new Map<string, number>();
  const taken = new Set(given.map((text) => text.trim()));
  return given.map((text, i) => {
    const name = text.trim() || `column_${i + 1}`;
    let n = (times.get(name) ?? 0) + 1;
    let unique = n === 1 ? name : `${name}_${n}`;
    while (n > 1 && taken.has(unique)) unique = `${name}_${++n}`;
    times.set(name, n);
    taken.add(unique);
    return unique;
  });
}
