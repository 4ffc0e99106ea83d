/** What Sluice has on disk and no file needs, read while it is stopped. */
import { cpSync, globSync } from "node:fs";
import { basename, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { z } from "zod";
import { makeTemporaryFolder } from "../../../bench/support/process.ts";
import { readDisk } from "../files/disk.ts";
import type { Leftovers } from "./history.ts";

export function readLeftovers(storage: string): Leftovers {
  const { sessions, multiparts } = readDisk(storage);
  const copy = makeTemporaryFolder();
  try {
    cpSync(storage, copy.path, { recursive: true, filter: (path) => basename(path) !== "blobs" });
    const texts = (folder: string, sql: string) =>
      globSync(join(copy.path, folder, "*.sqlite")).flatMap((path) => readColumn(path, sql));
    const doomed = new Set(texts("do/*-FileCatalogue", "SELECT blob FROM stray"));
    const kept = new Set([
      ...texts("do/*-FileCatalogue", "SELECT blob FROM file"),
      ...sessions.map(({ blob }) => blob),
    ]);
    const keys = texts("r2/*-R2BucketObject", "SELECT key FROM _mf_objects WHERE key NOT LIKE 'sluice/%'");
    const filled = multiparts.filter(({ parts }) => parts > 0).map(({ key }) => key);
    return {
      drafts: sessions.filter(({ phase }) => phase !== "complete" && phase !== "ended").map(({ id }) => id),
      objects: keys.filter((key) => !kept.has(key) && !doomed.has(key)),
      multiparts: filled.filter((key) => !doomed.has(key)),
      doomed: [...keys, ...filled].filter((key) => doomed.has(key)).length,
    };
  } finally {
    copy.remove();
  }
}

const rowSchema = z.record(z.string(), z.string());

/** The values of the only column. None, if there is no such table: the object has never written, or is the runtime's. */
function readColumn(path: string, sql: string): string[] {
  const database = new DatabaseSync(path);
  try {
    return database
      .prepare(sql)
      .all()
      .flatMap((row) => Object.values(rowSchema.parse(row)));
  } catch (error) {
    if (error instanceof Error && error.message.startsWith("no such table")) return [];
    throw error;
  } finally {
    database.close();
  }
}
