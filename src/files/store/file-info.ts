/** What the code of this Worker is told about a file. */
import type { FileRow } from "./schema.ts";
import { callCatalogue, catalogueOf } from "./shards.ts";

export interface FileInfo {
  id: string;
  filename: string;
  /** From the client, with its parameters, such as `text/plain; charset=utf-8`. */
  contentType: string;
  /** Of the whole file, in bytes. */
  size: number;
  /** Of the whole file, hexadecimal. */
  sha256: string;
  /** The id of the file that it was made from; null for one that was uploaded. */
  source: string | null;
  /** The id of the task that made it; null for one that was uploaded. */
  task: string | null;
}

/** A catalogue of an earlier version does not know where a file comes from. */
export const toInfo = (row: FileRow): FileInfo => ({
  id: row.id,
  filename: row.filename,
  contentType: row.content_type,
  size: row.size,
  sha256: row.sha256,
  source: row.source ?? null,
  task: row.source_task ?? null,
});

/** What is known about the file with this id; undefined if there is none. Reads no bytes. */
export async function findFile(env: Env, id: string): Promise<FileInfo | undefined> {
  const row = await callCatalogue(async () => catalogueOf(env, id).find(id));
  return row && toInfo(row);
}
