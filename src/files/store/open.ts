/** Files, for the code of this Worker. */
import type { FileRow } from "./schema.ts";
import { catalogueOf } from "./shards.ts";

export interface StoredFileInfo {
  id: string;
  filename: string;
  contentType: string;
  /** In bytes. */
  size: number;
  /** Hexadecimal. */
  sha256: string;
}

/** A file and its bytes, as a stream; undefined if there is none. */
export async function openFile(env: Env, id: string): Promise<OpenFile | undefined> {
  const opened = await openVersion(env, id, async (row) => env.FILES.get(row.blob));
  return opened && { info: toInfo(opened.row), body: opened.value.body };
}

interface OpenFile {
  info: StoredFileInfo;
  body: ReadableStream<Uint8Array>;
}

/**
 * Looks a file up and reads something of its bytes, which `read` gives null for if they are not there. Undefined if
 * there is no file. What is replaced between the look and the read is looked up again.
 */
export async function openVersion<T>(
  env: Env,
  id: string,
  read: (row: FileRow) => Promise<T | null>,
): Promise<{ row: FileRow; value: T } | undefined> {
  for (let tries = 1; ; tries++) {
    const row = await catalogueOf(env, id).find(id);
    if (!row) return undefined;
    const value = await read(row);
    if (value !== null) return { row, value };
    if (tries === TRIES) throw new Error(`the bytes of the file ${id} are not in R2`);
  }
}

const TRIES = 3;

const toInfo = (row: FileRow): StoredFileInfo => ({
  id: row.id,
  filename: row.filename,
  contentType: row.content_type,
  size: row.size,
  sha256: row.sha256,
});
