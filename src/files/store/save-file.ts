/** Storing a file that the code of this Worker makes, as a whole: `saveFile`. */
import { discardBlob, writeBlob } from "./blob-writer.ts";
import { limitSize } from "./body.ts";
import { type FileInfo, toInfo } from "./file-info.ts";
import { cleanMediaType } from "./media-type.ts";
import { checkFilename, cleanFilename, fileIdSchema } from "./names.ts";
import { NO_PRECONDITIONS } from "./preconditions.ts";
import { readFileSettings } from "./settings.ts";
import { callCatalogue, catalogueOf } from "./shards.ts";

/** What a file will be called, and where it comes from. */
export interface FileSpec {
  /** 1 to 128 letters, digits, `.`, `_` or `-`, not beginning with a dot. */
  id: string;
  filename: string;
  contentType: string;
  /** The id of the file that it is made from. */
  source?: string | undefined;
  /** The id of the task that makes it. */
  task?: string | undefined;
  /** It expires so long after it is complete. Without it, it does not. */
  expiresInSeconds?: number | undefined;
}

export type FileBody = Uint8Array | ReadableStream<Uint8Array> | AsyncIterable<Uint8Array>;

interface SaveOptions {
  signal?: AbortSignal;
  /** In bytes, if it is known: then the file costs one operation of R2 however long it is. */
  length?: number;
}

/**
 * Stores a file, and resolves to what is known about it. It becomes visible when all of it is there, in place of what had
 * its id, as with PUT. Constant memory; the bytes are hashed on their way. Nothing is left of it if the body fails, if it
 * does not have its `length`, or if the signal aborts; then this throws what the body threw, or the signal's reason. Throws a
 * `Problem` for a spec that no upload may have, for more than MAX_FILE_BYTES, and if R2 or the catalogue does not respond.
 *
 * It begins anew in each run of a task: for what takes longer than a run, see `openDraft`.
 */
export async function saveFile(
  env: Env,
  spec: FileSpec,
  body: FileBody,
  { signal, length }: SaveOptions = {},
): Promise<FileInfo> {
  const described = describeFile(spec);
  const known = body instanceof Uint8Array ? body.length : (length ?? null);
  const { maxBytes, maxUnknownBytes } = readFileSettings(env);
  const chunks = limitSize(toChunks(body, signal), known === null ? maxUnknownBytes : maxBytes);
  const { blob, size, sha256 } = await writeBlob(env, {
    id: spec.id,
    chunks,
    owner: null,
    length: known,
    expected: [],
  });
  const expires_at_ms = expiryIn(spec.expiresInSeconds);
  const file = { ...described, blob, size, sha256, expires_at_ms };
  const result = await callCatalogue(async () => catalogueOf(env, spec.id).commit([file], NO_PRECONDITIONS));
  const [row] = "rows" in result ? result.rows : [];
  if (row) return toInfo(row);
  await discardBlob(env, { id: spec.id, blob });
  throw new Error(`the file ${spec.id} took more than a day, and its bytes have been discarded`);
}

/** A spec as the catalogue keeps it. Throws a `RangeError` or a `Problem` if it cannot be kept. */
export function describeFile({ id, filename: sent, contentType, source, task }: FileSpec) {
  const { error } = fileIdSchema.safeParse(id);
  if (error) throw new RangeError(`${JSON.stringify(id)} cannot be the id of a file.`);
  const filename = cleanFilename(sent) || id;
  checkFilename(filename);
  return {
    id,
    filename,
    content_type: cleanMediaType(contentType),
    source: source ?? null,
    source_task: task ?? null,
  };
}

export const expiryIn = (seconds: number | null | undefined): number | null =>
  seconds === null || seconds === undefined ? null : Date.now() + seconds * 1000;

/** The chunks of a body that have bytes. Throws the signal's reason as soon as that aborts, also while no chunk comes. */
async function* toChunks(body: FileBody, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
  signal?.throwIfAborted();
  if (body instanceof Uint8Array) {
    if (body.length > 0) yield body;
    return;
  }
  const chunks = body instanceof ReadableStream ? ofStream(body) : body[Symbol.asyncIterator]();
  const aborted = Promise.withResolvers<never>();
  aborted.promise.catch(() => {});
  const onAbort = () => aborted.reject(signal?.reason);
  signal?.addEventListener("abort", onAbort);
  let isOver = false;
  try {
    for (;;) {
      const next = await Promise.race([chunks.next(), aborted.promise]);
      isOver = next.done === true;
      if (next.done) return;
      if (next.value.length > 0) yield next.value;
    }
  } finally {
    signal?.removeEventListener("abort", onAbort);
    // Not awaited: it waits for a chunk that may never come.
    if (!isOver) chunks.return?.().catch(() => {});
  }
}

/** As the iterator of the stream itself, but it can be stopped while it waits. */
function ofStream(stream: ReadableStream<Uint8Array>): AsyncIterator<Uint8Array> {
  const reader = stream.getReader();
  return {
    next: async () => {
      const { done, value } = await reader.read();
      return done ? { done, value: undefined } : { done, value };
    },
    return: async () => {
      await reader.cancel();
      return { done: true, value: undefined };
    },
  };
}
