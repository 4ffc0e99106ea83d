/**
 * A stored file that a job reads, in one version from its first byte to its last: what was read of one version and what of
 * the next would make a result that belongs to neither.
 */
import { env } from "cloudflare:workers";
import { type FileInfo, findFile, openFile } from "../../files/index.ts";
import { NonRetryableError } from "../../tasks/index.ts";

const CHUNK_BYTES = 128 * 1024;

/** Bytes `offset` to `offset + length - 1`; without a length, all from there on. */
interface ByteRange {
  offset: number;
  length?: number;
}

export interface Source {
  info: FileInfo;
  /**
   * The bytes of a range, or of the whole file, in chunks that are the caller's. A range that goes past the end is cut there.
   * Ends with the signal's reason as soon as that aborts, also while no bytes come.
   */
  chunks(range?: ByteRange): AsyncGenerator<Uint8Array, void, undefined>;
  /** The same, in one buffer: each chunk is valid only until the next is requested. A long file leaves no garbage. */
  views(range?: ByteRange): AsyncGenerator<Uint8Array, void, undefined>;
  /** The bytes of a range in one piece: keep it small. */
  bytes(range: Required<ByteRange>): Promise<Uint8Array>;
}

/**
 * Opens a file in the version that it has now, or in the one with this `sha256`, as a job that goes on must. Throws a
 * `NonRetryableError` if there is no such file; so do its readers once the file has been removed or replaced.
 */
export async function openSource(
  signal: AbortSignal,
  fileId: string,
  { sha256 }: { sha256?: string } = {},
): Promise<Source> {
  signal.throwIfAborted();
  const info = await findFile(env, fileId);
  if (!info) throw new NonRetryableError(`there is no file ${fileId}`);
  if (sha256 !== undefined && info.sha256 !== sha256) throw replaced(fileId);
  return {
    info,
    chunks: (range) => readChunks(signal, info, range, newBuffer),
    views: (range) => readChunks(signal, info, range, (used) => (used ? new Uint8Array(used) : newBuffer())),
    async bytes(range) {
      const pieces: Uint8Array[] = [];
      for await (const chunk of readChunks(signal, info, range, newBuffer)) pieces.push(chunk);
      return Buffer.concat(pieces);
    },
  };
}

const newBuffer = () => new Uint8Array(CHUNK_BYTES);

async function* readChunks(
  signal: AbortSignal,
  info: FileInfo,
  range: ByteRange | undefined,
  /** A buffer for the next chunk; `used` is that of the last one. */
  bufferFor: (used?: ArrayBuffer) => Uint8Array<ArrayBuffer>,
): AsyncGenerator<Uint8Array, void, undefined> {
  signal.throwIfAborted();
  // It has no bytes, and openFile does not take it.
  if (range && (range.offset >= info.size || range.length === 0)) return;
  const file = await openFile(env, info.id, range ? { range } : {});
  if (!file) throw new NonRetryableError(`the file ${info.id} was removed while it was read`);
  const reader = file.body.getReader({ mode: "byob" });
  const stop = () => void reader.cancel(signal.reason).catch(() => {});
  signal.addEventListener("abort", stop);
  try {
    if (file.info.sha256 !== info.sha256) throw replaced(info.id);
    for (let buffer = bufferFor(); ; ) {
      // R2 gives 4 KiB at a time, each of which would be worth as much work here as a large chunk.
      const { done, value } = await reader.readAtLeast(CHUNK_BYTES, buffer);
      signal.throwIfAborted();
      if (value && value.length > 0) yield value;
      if (done || !value) return;
      buffer = bufferFor(value.buffer);
    }
  } finally {
    signal.removeEventListener("abort", stop);
    // Whoever stopped early does not want the rest.
    await reader.cancel().catch(() => {});
  }
}

const replaced = (fileId: string) =>
  new NonRetryableError(`the file ${fileId} was replaced while this task worked on it: start it again`);
