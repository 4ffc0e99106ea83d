/**
 * What is in the storage of a local Sluice, independent of what Sluice itself says: rows of the catalogues, objects
 * and unfinished multipart uploads of the bucket, and the files on disk that hold their bytes. Miniflare keeps them
 * in SQLite and in folders, but does not promise to. So a test must have found something here before it may rely on
 * finding nothing.
 */
import { readdirSync } from "node:fs";
import { join, sep } from "node:path";
import { DatabaseSync } from "node:sqlite";

export interface Holdings {
  files: number;
  strays: number;
  objects: number;
  unfinishedUploads: number;
  blobs: number;
}

/** Reads the folder that was given to Miniflare or to `wrangler dev --persist-to`. */
export function readHoldings(folder: string): Holdings {
  const paths = readdirSync(folder, { recursive: true, encoding: "utf8" });
  const databases = paths.filter((path) => path.endsWith(".sqlite") && !path.endsWith("metadata.sqlite"));
  const count = (within: string, table: string) =>
    databases
      .filter((path) => path.includes(within))
      .reduce((sum, path) => sum + countRows(join(folder, path), table), 0);
  // Not files, but the list of objects that have set an alarm (src/kernel/object-registry.ts).
  const registries = count("R2BucketObject", "_mf_objects WHERE key LIKE 'sluice/%'");
  return {
    files: count("FileCatalogue", "file"),
    strays: count("FileCatalogue", "stray"),
    objects: count("R2BucketObject", "_mf_objects") - registries,
    unfinishedUploads: count("R2BucketObject", "_mf_multipart_uploads WHERE state = 0"),
    blobs: paths.filter((path) => path.includes(`${sep}blobs${sep}`)).length - registries,
  };
}

function countRows(path: string, table: string): number {
  const database = new DatabaseSync(path, { readOnly: true });
  try {
    return Number(database.prepare(`SELECT COUNT(*) AS count FROM ${table}`).get()?.count);
  } finally {
    database.close();
  }
}
