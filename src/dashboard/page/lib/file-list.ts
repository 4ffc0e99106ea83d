/** A page of files that follows what happens: pure, so that it can be tested without a browser. */
import type { FileChanges, FileLine } from "./types.ts";

export interface FilePage {
  files: FileLine[];
  /** The cursor of the next page. */
  next: string | null;
}

export interface FileFilter {
  /** Of ids. */
  prefix: string;
  limit: number;
  /** No other page is before it. */
  isFirst: boolean;
}

/**
 * The page after some changes, in the order of ids. "read" if what is on it is for the API to say: a file came in where there
 * is no room, or one went and others follow.
 */
export function withChanges(
  { files, next }: FilePage,
  { files: changed, removed }: FileChanges,
  { prefix, limit, isFirst }: FileFilter,
): FilePage | "read" {
  const byId = new Map(files.map((file) => [file.id, file]));
  const [first, last] = [files[0]?.id ?? "", files.at(-1)?.id ?? ""];
  for (const id of removed) byId.delete(id);
  const isShort = byId.size < files.length;
  for (const file of changed) {
    const fits =
      file.id.startsWith(prefix) && (isFirst || file.id > first) && (next === null || file.id < last);
    if (fits || byId.has(file.id)) byId.set(file.id, file);
  }
  if (byId.size > limit || (isShort && next !== null)) return "read";
  return { files: [...byId.values()].toSorted((a, b) => (a.id < b.id ? -1 : 1)), next };
}
