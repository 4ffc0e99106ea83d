/**
 * What an analysis is told about a file, and what it finds out from the first bytes: which readers take it, and how.
 *
 * The same first bytes always give the same plan, so each run of a task makes it anew.
 */
import { z } from "zod";
import { NonRetryableError } from "../../tasks/index.ts";
import {
  CHARSETS,
  type Charset,
  countUtf16Bytes,
  detectCharset,
  displayCharset,
  isUtf16,
} from "./charset.ts";
import type { CsvFormat } from "./csv-reader.ts";
import { MAX_COLUMNS } from "./precision.ts";
import { MAX_RECORD_BYTES } from "./record-stream.ts";
import { nameColumns, sniffCsv } from "./sniff.ts";
import { type ByteSource, TextBytes } from "./text-bytes.ts";

const MAX_NAME_LENGTH = 200;
const DEFAULT_NULLS = ["NULL", "null", "NaN", "nan", "N/A", "#N/A", "\\N"];

const oneByte = (text: string) => /^[\x20-\x7e\t]$/.test(text);

/** What the caller may say. What is left out is found out. */
export const formatInput = {
  format: z.enum(["csv", "ndjson", "parquet"]).optional().meta({ description: "TSV is csv too." }),
  delimiter: z.string().refine(oneByte, "one printable ASCII character, or a tab").optional(),
  quote: z
    .string()
    .refine((text) => text === "" || oneByte(text), 'one printable ASCII character, or "" for none')
    .optional(),
  header: z.boolean().optional().meta({ description: "Whether the first row has the names of the columns." }),
  charset: z.enum(CHARSETS).optional(),
  decimal: z.enum([".", ","]).optional().meta({ description: "What separates decimals." }),
  nulls: z
    .array(z.string().max(40))
    .max(20)
    .default(DEFAULT_NULLS)
    .meta({ description: "Texts that stand for no value, besides the empty one." }),
};

const formatOptions = z.object(formatInput);
export type FormatOptions = z.output<typeof formatOptions>;

interface TextPlan {
  isGzip: boolean;
  charset: Charset;
  /** Where the data begin, in bytes of the unpacked file. */
  offset: number;
  /** How many lines come before. */
  line: number;
}

export interface CsvPlan extends TextPlan {
  format: "csv";
  csv: CsvFormat;
  header: boolean;
  names: string[];
}

export interface JsonPlan extends TextPlan {
  format: "ndjson";
  nulls: readonly string[];
}

export interface ParquetPlan {
  format: "parquet";
  nulls: readonly string[];
}

export type Plan = CsvPlan | JsonPlan | ParquetPlan;

/** Throws a `NonRetryableError` for a file that cannot be analysed. */
export async function planAnalysis(source: ByteSource, options: FormatOptions): Promise<Plan> {
  const start = await readHead(source.chunks({ offset: 0 }), 4);
  if (options.format === "parquet" || startsWith(start.bytes, "PAR1"))
    return { format: "parquet", nulls: options.nulls };
  if (startsWith(start.bytes, "PK\u0003\u0004"))
    throw new NonRetryableError(
      "It is a zip archive, as Excel workbooks are: unpack it, or save its sheet as CSV.",
    );
  const isGzip = start.bytes[0] === 0x1f && start.bytes[1] === 0x8b;
  const raw = await readHead(new TextBytes(source, isGzip, "utf-8").from(0), MAX_RECORD_BYTES);
  const { charset, markBytes } = detectCharset(raw.bytes, options.charset);
  const head = isUtf16(charset)
    ? decodeUtf16(raw.bytes.subarray(markBytes), charset)
    : raw.bytes.subarray(markBytes);
  const isJson = options.format === "ndjson" || (options.format === undefined && looksLikeJson(head));
  const text = { isGzip, charset };
  // JSON is UTF-8, whatever its first bytes leave open.
  if (isJson)
    return {
      ...text,
      charset: charset === "ascii" ? "utf-8" : charset,
      format: "ndjson",
      nulls: options.nulls,
      offset: markBytes,
      line: 0,
    };
  return planCsv(text, { bytes: head, isWhole: raw.isWhole, markBytes }, options);
}

function planCsv(
  text: Pick<TextPlan, "isGzip" | "charset">,
  head: { bytes: Uint8Array; isWhole: boolean; markBytes: number },
  options: FormatOptions,
): CsvPlan {
  const sniffed = sniffCsv(head.bytes, head.isWhole, options);
  if (!sniffed) {
    if (!head.isWhole)
      throw new NonRetryableError(
        `Its first row is longer than ${MAX_RECORD_BYTES} bytes: is it CSV, and is the quote right?`,
      );
    return { ...text, ...emptyCsv(options), offset: head.bytes.length + head.markBytes };
  }
  const { firstRecord, hasHeader, dataOffset, dataLine, ...dialect } = sniffed;
  if (firstRecord.length > MAX_COLUMNS)
    throw new NonRetryableError(
      `It has ${firstRecord.length} columns; at most ${MAX_COLUMNS} can be analysed.`,
    );
  const decoder = new TextDecoder(displayCharset(text.charset));
  const given = firstRecord.map((field) =>
    hasHeader ? decoder.decode(field).slice(0, MAX_NAME_LENGTH) : "",
  );
  const before = isUtf16(text.charset) ? countUtf16Bytes(head.bytes, 0, dataOffset) : dataOffset;
  return {
    ...text,
    format: "csv",
    csv: { ...dialect, nulls: options.nulls },
    header: hasHeader,
    names: nameColumns(given),
    offset: head.markBytes + before,
    line: dataLine,
  };
}

/** There is no row at all, so there are no columns. */
function emptyCsv({ decimal = ".", header = true, nulls }: FormatOptions) {
  const csv: CsvFormat = { delimiter: 44, quote: 34, endsWithCr: false, decimal, nulls };
  return { format: "csv" as const, csv, header, names: [], line: 0 };
}

async function readHead(
  chunks: AsyncIterable<Uint8Array>,
  length: number,
): Promise<{ bytes: Uint8Array; isWhole: boolean }> {
  const pieces: Uint8Array[] = [];
  let have = 0;
  for await (const chunk of chunks) {
    pieces.push(chunk.slice());
    have += chunk.length;
    if (have > length) break;
  }
  return { bytes: Buffer.concat(pieces).subarray(0, length), isWhole: have <= length };
}

function decodeUtf16(bytes: Uint8Array, charset: Charset): Uint8Array {
  return new TextEncoder().encode(
    new TextDecoder(charset, { fatal: false, ignoreBOM: true }).decode(bytes, { stream: true }),
  );
}

const startsWith = (bytes: Uint8Array, text: string) =>
  Array.from(text).every((character, i) => bytes[i] === character.charCodeAt(0));

/** The first line is a JSON object, or a part of one that is too long to see its end. */
function looksLikeJson(head: Uint8Array): boolean {
  const text = new TextDecoder().decode(head.subarray(0, 256 * 1024)).trimStart();
  if (text.startsWith("[") && /^\[\s*(?:\{|\])/.test(text))
    throw new NonRetryableError("It is a JSON array: write one object a line (NDJSON) instead.");
  const end = text.indexOf("\n");
  if (!text.startsWith("{")) return false;
  try {
    return typeof JSON.parse(end < 0 ? text : text.slice(0, end)) === "object";
  } catch {
    return end < 0 && /^\{\s*"/.test(text);
  }
}
