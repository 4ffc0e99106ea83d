/**
 * Reading a file from a checkpoint to its end, in constant memory.
 *
 * A checkpoint lies between two records, at offsets that depend on the file alone. It holds where the next record begins
 * and everything that is known of those before, without loss. So an analysis that stops anywhere and goes on from its last
 * checkpoint ends with the same result as one that never stopped, and no row is counted twice.
 */
import { z } from "zod";
import { CHARSETS, type Charset, countUtf16Bytes, displayCharset, isUtf16 } from "./charset.ts";
import { Columns } from "./columns.ts";
import { CsvReader, type RowPosition, STARTING_POSITION } from "./csv-reader.ts";
import type { CsvPlan, JsonPlan, ParquetPlan, Plan } from "./format.ts";
import { JsonReader } from "./json-reader.ts";
import { type MalformedRows, malformedRowsSchema, noMalformedRows } from "./malformed.ts";
import { openParquet } from "./parquet.ts";
import { MAX_PUSH_BYTES, type RecordReader, RecordStream } from "./record-stream.ts";
import { type ByteSource, TextBytes } from "./text-bytes.ts";

/** Between two checkpoints, in bytes that are read. */
export const CHECKPOINT_BYTES = 32 * 1024 * 1024;

/** Between two reports of the progress. */
const REPORT_BYTES = 1024 * 1024;

const count = z.int().min(0);
/** What a checkpoint holds. */
const checkpointSchema = z.object({
  /** The next record: where it begins in the unpacked file. In Parquet: the next chunk of a column. */
  at: count,
  /** How many bytes the readers have had. */
  offset: count,
  charset: z.enum(["ascii", ...CHARSETS]),
  position: z.object({
    rows: count,
    lines: count,
    blankLines: count,
    oneLineUntil: count,
    isSkipping: z.boolean(),
  }),
  malformed: malformedRowsSchema,
  /** Base64. */
  columns: z.string(),
});
export type Checkpoint = z.output<typeof checkpointSchema>;
/** Throws a `ZodError` if it is none. */
export const readCheckpoint = (value: unknown): Checkpoint => checkpointSchema.parse(value);

export interface AnalysisHooks {
  /** Called at each checkpoint. What it throws ends the analysis. */
  save(checkpoint: Checkpoint): Promise<void>;
  /** `ratio`: from 0 to 1. */
  progress(ratio: number, rows: number): void;
  checkpointBytes: number;
}

export interface Analysis {
  columns: Columns;
  malformed: MalformedRows;
  /** Malformed ones included. */
  rows: number;
  blankLines: number;
  charset: Charset;
}

export async function analyze(
  source: ByteSource,
  plan: Plan,
  from: Checkpoint | undefined,
  hooks: AnalysisHooks,
): Promise<Analysis> {
  return plan.format === "parquet"
    ? analyzeParquet(source, plan, from, hooks)
    : analyzeText(source, plan, from, hooks);
}

async function analyzeText(
  source: ByteSource,
  plan: CsvPlan | JsonPlan,
  from: Checkpoint | undefined,
  hooks: AnalysisHooks,
): Promise<Analysis> {
  const names = plan.format === "csv" ? plan.names : undefined;
  const columns = from ? Columns.unpack(Buffer.from(from.columns, "base64"), names) : new Columns(names);
  const malformed = from?.malformed ?? noMalformedRows();
  const position = from?.position ?? { ...STARTING_POSITION, lines: plan.line };
  const bytes = new TextBytes(source, plan.isGzip, from?.charset ?? plan.charset);
  const reader = createReader(plan, bytes.charset, columns, malformed, position);
  const counted = isUtf16(bytes.charset) ? countingUtf16(reader) : undefined;
  const stream = new RecordStream(counted ?? reader, from?.offset ?? 0);
  const startAt = from?.at ?? plan.offset;
  const firstOffset = stream.offset;
  const at = () => startAt + (counted ? counted.utf16Bytes : stream.offset - firstOffset);
  let limit = nextLimit(stream.offset, hooks.checkpointBytes);
  let reportAt = 0;
  const read = async (isLast: boolean) => {
    while (stream.read(limit, isLast)) {
      const { charset } = bytes;
      const packed = Buffer.from(columns.pack()).toString("base64");
      await hooks.save({
        at: at(),
        offset: stream.offset,
        charset,
        position: reader.position,
        malformed,
        columns: packed,
      });
      limit = nextLimit(stream.offset, hooks.checkpointBytes);
    }
    if (stream.offset < reportAt && !isLast) return;
    reportAt = stream.offset + REPORT_BYTES;
    hooks.progress(bytes.readRatio, reader.position.rows);
  };
  for await (const chunk of bytes.from(startAt))
    for (let start = 0; start < chunk.length; start += MAX_PUSH_BYTES) {
      stream.push(chunk.subarray(start, start + MAX_PUSH_BYTES));
      await read(false);
    }
  await read(true);
  const { rows, blankLines } = reader.position;
  return { columns, malformed, rows, blankLines, charset: bytes.charset };
}

/** The next multiple, whatever the offset: so it does not matter where the last checkpoint was. */
const nextLimit = (offset: number, interval: number) => (Math.floor(offset / interval) + 1) * interval;

function createReader(
  plan: CsvPlan | JsonPlan,
  charset: Charset,
  columns: Columns,
  malformed: MalformedRows,
  position: RowPosition,
): RecordReader & { position: RowPosition } {
  if (plan.format === "csv") return new CsvReader(plan.csv, columns, malformed, position);
  return new JsonReader(
    { charset: displayCharset(charset), nulls: plan.nulls },
    columns,
    malformed,
    position,
  );
}

/** Counts how many bytes the records take in UTF-16, as which they are stored, while they are read in UTF-8. */
function countingUtf16(reader: RecordReader): RecordReader & { utf16Bytes: number } {
  return {
    utf16Bytes: 0,
    readRecord(bytes, start, end, isLast, offset) {
      const next = reader.readRecord(bytes, start, end, isLast, offset);
      if (next >= 0) this.utf16Bytes += countUtf16Bytes(bytes, start, next);
      return next;
    },
    load: (bytes) => reader.load?.(bytes),
    flush: () => reader.flush?.(),
  };
}

async function analyzeParquet(
  source: ByteSource,
  plan: ParquetPlan,
  from: Checkpoint | undefined,
  hooks: AnalysisHooks,
): Promise<Analysis> {
  const file = await openParquet(source, plan.nulls);
  const columns = from
    ? Columns.unpack(Buffer.from(from.columns, "base64"), file.names)
    : new Columns(file.names);
  const malformed = noMalformedRows();
  let [offset, limit] = [from?.offset ?? 0, nextLimit(from?.offset ?? 0, hooks.checkpointBytes)];
  for (let chunk = from?.at ?? 0; chunk < file.chunks; chunk++) {
    if (offset >= limit) {
      limit = nextLimit(offset, hooks.checkpointBytes);
      const packed = Buffer.from(columns.pack()).toString("base64");
      const position = { ...STARTING_POSITION, rows: file.rows };
      await hooks.save({ at: chunk, offset, charset: "utf-8", position, malformed, columns: packed });
    }
    offset += await file.readChunk(chunk, columns);
    const ratio = (chunk + 1) / file.chunks;
    hooks.progress(ratio, Math.floor(file.rows * ratio));
  }
  return { columns, malformed, rows: file.rows, blankLines: 0, charset: "utf-8" };
}
