import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CsvScanner, type Dialect, INCOMPLETE, LF } from "../../../src/jobs/data/csv-scanner.ts";
import { PADDING_BYTES } from "../../../src/jobs/data/hashing.ts";

const decoder = new TextDecoder();

/** What a scanner takes: a line feed after the text, and then anything. */
function padded(text: string): Uint8Array<ArrayBuffer> {
  const bytes = new TextEncoder().encode(text);
  const all = new Uint8Array(bytes.length + 1 + PADDING_BYTES).fill(0x2c);
  all.set(bytes);
  all[bytes.length] = LF;
  return all;
}

function scanAll(text: string, dialect: Partial<Dialect> = {}): { records: string[][]; lines: number } {
  const scanner = new CsvScanner({ delimiter: 44, quote: 34, endsWithCr: false, ...dialect });
  const bytes = padded(text);
  const end = bytes.length - 1 - PADDING_BYTES;
  scanner.load(bytes);
  const records: string[][] = [];
  let lines = 0;
  for (let at = 0; at < end; ) {
    at = scanner.scan(at, end, true, false);
    scanner.undouble();
    records.push(Array.from({ length: scanner.count }, (_, i) => decoder.decode(scanner.field(i))));
    lines += scanner.lines;
  }
  return { records, lines };
}

/** As RFC 4180 writes a field: quoted if it must be, or if it is said to be. */
const write = (field: string, isQuoted: boolean, delimiter: string) =>
  isQuoted || field.includes(delimiter) || /["\r\n]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field;

/** Bytes near those that end a field, characters of several bytes, and fields of up to some words. */
const unit = fc.constantFrom(..."a0.-+ ,;\t|\"'\r\n\u000b\u000e\u0000é日😀".split(/(?:)/u));
const field = fc.record({ text: fc.string({ unit, maxLength: 14 }), isQuoted: fc.boolean() });
const table = fc.array(fc.array(field, { minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 20 });
const delimiters = fc.constantFrom(",", ";", "\t", "|", "~");
const lineEnds = fc.constantFrom("\n", "\r\n");

describe("the fields of a record", () => {
  test("are found as they were written, whatever is in them", () => {
    fc.assert(
      fc.property(table, delimiters, lineEnds, fc.boolean(), (rows, delimiter, lineEnd, hasLastEnd) => {
        const lines = rows.map((row) =>
          row.map(({ text, isQuoted }) => write(text, isQuoted, delimiter)).join(delimiter),
        );
        // Nothing at all after the last line end is no record.
        const last = hasLastEnd || lines.at(-1) === "" ? lineEnd : "";
        const { records } = scanAll(lines.join(lineEnd) + last, { delimiter: delimiter.charCodeAt(0) });
        expect(records).toEqual(rows.map((row) => row.map(({ text }) => text)));
      }),
    );
  });

  test("are found in any number, and far from where the record begins", () => {
    const rows = Array.from({ length: 300 }, (_, row) =>
      Array.from({ length: 1 + ((row * 7) % 400) }).map((_unused, i) => "x".repeat((row * i) % 23)),
    );
    expect(scanAll(rows.map((row) => row.join()).join("\n")).records).toEqual(rows);
    const long = ["y".repeat(20_000), `${"z,\n".repeat(5_000)}"`, "", "end"];
    const text = long.map((each) => write(each, false, ",")).join();
    expect(scanAll(`${text}\r\n${text}`).records).toEqual([long, long]);
  });

  test("end with CR where lines do, and not in the middle of a field where they do not", () => {
    expect(scanAll("a,b\rc,d", { endsWithCr: true }).records).toEqual([
      ["a", "b"],
      ["c", "d"],
    ]);
    expect(scanAll("a\rb,c\nd,e\r").records).toEqual([
      ["a\rb", "c"],
      ["d", "e"],
    ]);
  });

  test("are found again from any place, after other bytes were loaded", () => {
    const scanner = new CsvScanner({ delimiter: 44, quote: 34, endsWithCr: false });
    for (const text of ["ab,c\nd,e\n", "abc\n,,\n"]) {
      scanner.load(padded(text));
      for (const start of [0, text.indexOf("\n") + 1, 1]) {
        const line = text.slice(start).split("\n")[0] ?? "";
        expect(scanner.scan(start, text.length, false, false)).toBe(start + line.length + 1);
        expect(scanner.count).toBe(line.split(",").length);
      }
    }
  });

  test("are incomplete without a line end, unless nothing more comes", () => {
    const scanner = new CsvScanner({ delimiter: 44, quote: 34, endsWithCr: false });
    for (const text of ["a,b", "a,", 'a,"b', 'a,"b"', "a,b\r", '"a""']) {
      scanner.load(padded(text));
      expect(scanner.scan(0, text.length, false, false)).toBe(INCOMPLETE);
      expect(scanner.scan(0, text.length, true, false)).toBe(text.length);
    }
  });
});
