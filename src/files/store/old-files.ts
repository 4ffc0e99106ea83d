/**
 * Files that were stored before a time, and their removal, in pieces: for cleaning up. An upload that is in progress is not
 * a file yet, and so is never among them.
 */
import type { OldVersion } from "./catalogue.ts";
import { CATALOGUES, callCatalogue, catalogueNamed } from "./shards.ts";

/** A version of a file: if another takes its place, that one stays. */
export type OldFile = OldVersion;

/** In how many parts the files are listed: each is gone through by itself. */
export const CATALOGUE_COUNT = CATALOGUES.length;

interface OldFilesQuery {
  /** From 0 to `CATALOGUE_COUNT - 1`. */
  catalogue: number;
  /** Only files whose id begins with this. */
  prefix: string;
  /** Stored (or replaced) before this; ms since the epoch. */
  beforeMs: number;
  /** `next` of the piece before. */
  after: string | undefined;
  /** How many files to look at. */
  limit: number;
}

/** A piece of the files in a part of the catalogue, in the order of their ids. `next` is null in the last piece. */
export async function findOldFiles(
  env: Env,
  { catalogue, prefix, beforeMs, after = "", limit }: OldFilesQuery,
): Promise<{ files: OldFile[]; next: string | null }> {
  return callCatalogue(async () => partOf(env, catalogue).listOlder(prefix, beforeMs, after, limit));
}

/** Removes versions of files, which must be from the same part. It can be repeated safely. */
export async function removeOldFiles(
  env: Env,
  catalogue: number,
  files: readonly Pick<OldFile, "id" | "blob">[],
): Promise<void> {
  const versions = files.map(({ id, blob }) => ({ id, blob }));
  await callCatalogue(async () => partOf(env, catalogue).removeVersions(versions));
}

const partOf = (env: Env, number: number) => catalogueNamed(env, CATALOGUES[number] ?? "");
