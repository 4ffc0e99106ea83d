/**
 * `unzip_file`: each entry of a stored ZIP archive as a file of its own.
 *
 * The archive is read by ranges: its directory, and then one entry after the other, so that memory does not grow with it.
 * All that can be refused is refused before the first file is stored. An entry whose bytes do not match the directory ends the
 * task, and takes the files before it along: an archive is unpacked as a whole, or not at all.
 */

import { crc32 } from "node:zlib";
import { z } from "zod";
import { defineTask, NonRetryableError, type TaskContext } from "../../tasks/index.ts";
import { isTheEnd, isThere, outputId, removeOutput } from "../support/outputs.ts";
import { createRunBudget } from "../support/run-budget.ts";
import { fileId } from "../support/schemas.ts";
import { openSource, type Source } from "../support/sources.ts";
import { DamagedError } from "./huffman.ts";
import { Inflater, type InflateState } from "./inflate.ts";
import { expiresIn } from "./made-file.ts";
import { mediaTypeOf } from "./media-types.ts";
import { type Piece, writeOutput } from "./output.ts";
import { findEntryBytes, RefusedError, readZipDirectory, type ZipEntry } from "./zip-directory.ts";
import { METHOD } from "./zip-format.ts";
import { filenameIn } from "./zip-names.ts";

/** Inflating and hashing take up to 15 ns of CPU time for a byte, and a run has 30 s. */
const MAX_BYTES_PER_RUN = 1024 ** 3;
/** Storing a file costs as much as unpacking so many bytes, however short it is. */
const BYTES_PER_FILE = 512 * 1024;
/** After so much the place is saved: what a crash has unpacked again. */
const MAX_UNSAVED_BYTES = 8 * 1024 * 1024;

const inputSchema = z.strictObject({
  fileId,
  max_entries: z
    .int()
    .min(1)
    .max(2_000)
    .default(1_000)
    .meta({ description: "The archive is refused if it has more entries, folders included. Default: 1000." }),
  max_bytes: z
    .int()
    .min(1)
    .default(10_000_000_000)
    .meta({ description: "The archive is refused if it unpacks to more bytes. Default: 10 GB." }),
  max_ratio: z.number().min(1).max(1_100).default(250).meta({
    description:
      "The archive is refused if it unpacks to more than 10 MiB, and to so many times its own size. Default: 250.",
  }),
  expires_in: expiresIn,
});

export const unzipFile = defineTask({
  name: "unzip_file",
  input: inputSchema,
  timeoutMs: 24 * 3_600_000,
  run: async (ctx, input) => unzip(ctx, input),
});

interface Checkpoint {
  /** Of the archive. */
  version: string;
  /** How many entries are stored. */
  count: number;
  /** The place in the one that was begun. */
  entry?: unknown;
}

type Input = z.output<typeof inputSchema>;

/** `batchBytes`: for tests. */
export async function unzip(ctx: TaskContext, input: Input, batchBytes?: number) {
  const progress = { count: 0 };
  try {
    return await unpackAll(ctx, input, progress, batchBytes);
  } catch (error) {
    const isRefused = error instanceof DamagedError || error instanceof RefusedError;
    if (isRefused || isTheEnd(ctx, error)) await removeAll(ctx, progress.count);
    throw isRefused || error instanceof NonRetryableError
      ? new NonRetryableError(`the file ${input.fileId} was not unzipped: ${error.message}`)
      : error;
  }
}

/** `progress.count`: of the files that are stored. */
async function unpackAll(
  ctx: TaskContext,
  input: Input,
  progress: { count: number },
  batchBytes: number | undefined,
) {
  const { fileId: id, max_entries, max_bytes, max_ratio } = input;
  const saved = ctx.checkpoint<Checkpoint>();
  progress.count = saved?.count ?? 0;
  const source = await openSource(ctx.signal, id, saved ? { sha256: saved.version } : {});
  const limits = { maxEntries: max_entries, maxBytes: max_bytes, maxRatio: max_ratio };
  const job = { ctx, source, spend: createRunBudget(ctx, MAX_BYTES_PER_RUN), input, batchBytes };
  const entries = await readZipDirectory(readBytes(source), source.info.size, limits);
  // They are gone if the task had ended, and was started again.
  if (progress.count > 0 && !(await isThere(ctx, idOf(ctx, progress.count - 1)))) progress.count = 0;
  for (let unsaved = 0; progress.count < entries.length; ) {
    await unpackEntry(job, entries, progress.count);
    progress.count++;
    unsaved += BYTES_PER_FILE + Math.min(entries[progress.count - 1]?.bytes ?? 0, MAX_UNSAVED_BYTES);
    ctx.progress(progress.count / entries.length, `${progress.count} of ${entries.length} files unpacked`);
    if (unsaved < MAX_UNSAVED_BYTES) continue;
    await ctx.saveCheckpoint({ version: source.info.sha256, count: progress.count });
    await job.spend(unsaved);
    unsaved = 0;
  }
  const files = entries.map(({ path, bytes }, i) => ({ fileId: idOf(ctx, i), path, size: bytes }));
  return { fileId: id, files, totalSize: files.reduce((sum, file) => sum + file.size, 0) };
}

/** Removes the first `count` files, and what was begun or stored after the last checkpoint: an earlier run may have got on. */
async function removeAll(ctx: TaskContext, count: number): Promise<void> {
  let end = count;
  while (await removeOutput(ctx, idOf(ctx, end))) end++;
  for (let index = count - 1; index >= 0; index--) await removeOutput(ctx, idOf(ctx, index));
}

const idOf = (ctx: TaskContext, index: number) => outputId(ctx, String(index + 1));

const readBytes = (source: Source) => async (offset: number, length: number) =>
  source.bytes({ offset, length });

interface Job {
  ctx: TaskContext;
  source: Source;
  spend: (cost: number) => Promise<void>;
  input: Input;
  batchBytes: number | undefined;
}

async function unpackEntry(
  { ctx, source, spend, input, batchBytes }: Job,
  entries: ZipEntry[],
  index: number,
): Promise<void> {
  const entry = entries[index];
  if (!entry) return;
  const version = source.info.sha256;
  const saved = ctx.checkpoint<Checkpoint>();
  // A long entry has a checkpoint of its own, within that of the archive.
  const own: TaskContext = {
    ...ctx,
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion, typescript/no-unnecessary-type-parameters -- as in TaskContext
    checkpoint: <T>() => (saved?.count === index ? (saved.entry as T | undefined) : undefined),
    saveCheckpoint: async (place) => ctx.saveCheckpoint({ version, count: index, entry: place }),
  };
  const start = await findEntryBytes(readBytes(source), entry);
  const filename = filenameIn(entry.path);
  const spec = {
    id: idOf(ctx, index),
    filename,
    contentType: mediaTypeOf(filename),
    source: source.info.id,
    task: ctx.taskId,
    expiresInSeconds: input.expires_in,
  };
  await writeOutput<EntryState>(own, spec, {
    version,
    pieces: (from) => readEntry(source, entry, start, from),
    spend,
    onProgress: ({ bytes }) => ctx.progress(index / entries.length, `${entry.path}: ${bytes} bytes unpacked`),
    batchBytes,
  });
}

interface EntryState {
  /** In the archive. */
  offset: number;
  crc: number;
  bytes: number;
  inflate: InflateState | null;
}

async function* readEntry(
  source: Source,
  entry: ZipEntry,
  start: number,
  from?: EntryState,
): AsyncGenerator<Piece<EntryState>> {
  const damaged = (what: string) => new NonRetryableError(`the entry "${entry.path}": ${what}`);
  const begin = from?.offset ?? start;
  const range = { offset: begin, length: start + entry.compressedBytes - begin };
  let { crc, bytes } = from ?? { crc: 0, bytes: 0 };
  const count = (piece: Uint8Array) => {
    crc = crc32(piece, crc);
    bytes += piece.length;
    if (bytes > entry.bytes) throw damaged("it is longer than the directory says");
  };
  try {
    for await (const { piece, offset, inflate } of unpacked(entry, source.chunks(range), from?.inflate)) {
      count(piece);
      const state = () => ({ offset: begin + offset, crc, bytes, inflate: inflate() });
      yield { bytes: piece, cost: piece.length, state };
    }
  } catch (error) {
    throw error instanceof DamagedError ? damaged(error.message) : error;
  }
  if (bytes !== entry.bytes) throw damaged("it is shorter than the directory says");
  if (crc !== entry.crc) throw damaged("its bytes do not match its CRC-32");
}

interface Unpacked {
  piece: Uint8Array;
  /** How much of the input it took. */
  offset: number;
  inflate: () => InflateState | null;
}

async function* unpacked(
  { method }: ZipEntry,
  chunks: AsyncIterable<Uint8Array>,
  from: InflateState | null | undefined,
): AsyncGenerator<Unpacked> {
  if (method === METHOD.stored) {
    let offset = 0;
    for await (const piece of chunks) yield { piece, offset: (offset += piece.length), inflate: () => null };
    return;
  }
  const inflater = new Inflater(from ?? undefined);
  for await (const chunk of chunks)
    for (const piece of inflater.push(chunk))
      yield { piece, offset: inflater.consumed, inflate: () => inflater.save() };
  if (!inflater.isDone) throw new DamagedError("it ends too early");
}
