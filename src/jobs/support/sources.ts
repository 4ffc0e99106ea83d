/**
 * A stored file that a job reads, in one version from its first byte to its last: what was read of one version and what of
 * the next would make a result that belongs to neither.
 */
import { env } from "cloudflare:workers";
import { type FileInfo, findFile, openFile } from "../../files/index.ts";
import { NonRetryableError } from "../../tasks/index.ts";

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
    chunks: (range) => readChunks(signal, info, range),
    async bytes(range) {
      const pieces: Uint8Array[] = [];
      for await (const chunk of readChunks(signal, info, range)) pieces.push(chunk);
      return Buffer.concat(pieces);
    },
  };
}

async function* readChunks(
  signal: AbortSignal,
  info: FileInfo,
  range?: ByteRange,
): AsyncGenerator<Uint8Array, void, undefined> {
  signal.throwIfAborted();
  // It has no bytes, and openFile does not take it.
  if (range && range.offset >= info.size) return;
  const file = await openFile(env, info.id, range ? { range } : {});
  if (!file) throw new NonRetryableError(`the file ${info.id} was removed while it was read`);
  const reader = file.body.getReader();
  const stop = () => void reader.cancel(signal.reason).catch(() => {});
  signal.addEventListener("abort", stop);
  try {
    if (file.info.sha256 !== info.sha256) throw replaced(info.id);
    for (;;) {
      const { done, value } = await reader.read();
      signal.throwIfAborted();
      if (done) return;
      yield value;
    }
  } finally {
    signal.removeEventListener("abort", stop);
    // Whoever stopped early does not want the rest.
    await reader.cancel().catch(() => {});
  }
}

const replaced = (fileId: string) =>
  new NonRetryableError(`the file ${fileId} was replaced while this task worked on it: start it again`);
