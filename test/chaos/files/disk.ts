/**
 * What Sluice has on disk, read from the SQLite files of its Durable Objects and the simulated R2 while it is
 * stopped.
 *
 * A kill can leave an unfinished transaction, which SQLite rolls back when it opens the file. Sluice itself must meet
 * that situation, so this reads a copy.
 */
import { cpSync, globSync } from "node:fs";
import { basename, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { deserialize } from "node:v8";
import { z } from "zod";
import { makeTemporaryFolder } from "../../../bench/support/process.ts";

/** The state of a multipart upload that is neither completed nor aborted, in the R2 simulator. */
const IN_PROGRESS = 0;

const sessionSchema = z.object({
  id: z.string(),
  kind: z.enum(["whole", "partial", "final"]),
  phase: z.enum(["receiving", "completing", "publishing", "complete", "ended"]),
  offset: z.number(),
  blob: z.string(),
});
type Session = z.output<typeof sessionSchema>;

export interface Disk {
  sessions: Session[];
  /** Entries of any kind in the storage of upload sessions. */
  sessionEntries: number;
  sessionAlarms: number;
  files: number;
  strays: number;
  objects: number;
  /** Multipart uploads in progress, and how many parts each has. */
  multiparts: { upload_id: string; key: string; parts: number }[];
}

export function readDisk(storage: string): Disk {
  const copy = makeTemporaryFolder();
  try {
    // Without the bytes of the files.
    cpSync(storage, copy.path, { recursive: true, filter: (path) => basename(path) !== "blobs" });
    return readCopy(copy.path);
  } finally {
    copy.remove();
  }
}

function readCopy(storage: string): Disk {
  const sessions = databases(storage, "do/*-UploadSession");
  const catalogues = databases(storage, "do/*-FileCatalogue");
  const buckets = databases(storage, "r2/*-R2BucketObject");
  const alarms = globSync(join(storage, "do/*-UploadSession/metadata.sqlite"));
  return {
    sessions: sessions.flatMap(readSession),
    sessionEntries: sum(sessions, "SELECT COUNT(*) AS n FROM _cf_KV"),
    sessionAlarms: sum(alarms, "SELECT COUNT(*) AS n FROM _cf_ALARM"),
    files: sum(catalogues, "SELECT COUNT(*) AS n FROM file"),
    strays: sum(catalogues, "SELECT COUNT(*) AS n FROM stray"),
    // Not the list of objects that the watchdog tends.
    objects: sum(buckets, "SELECT COUNT(*) AS n FROM _mf_objects WHERE key NOT LIKE 'sluice/%'"),
    multiparts: buckets.flatMap(readMultiparts),
  };
}

/** The databases of the objects of a class; "metadata" belongs to the runtime. */
const databases = (storage: string, folder: string): string[] =>
  globSync(join(storage, folder, "*.sqlite")).filter((path) => basename(path) !== "metadata.sqlite");

function readSession(path: string): Session[] {
  return query(path, "SELECT value FROM _cf_KV WHERE key = 'session'").map(({ value }) =>
    sessionSchema.parse(deserialize(z.instanceof(Uint8Array).parse(value))),
  );
}

const multipartSchema = z.object({ upload_id: z.string(), key: z.string(), parts: z.number() });

const readMultiparts = (path: string) =>
  query(
    path,
    `SELECT upload_id, key, (SELECT COUNT(*) FROM _mf_multipart_parts AS part WHERE part.upload_id = upload.upload_id) AS parts
     FROM _mf_multipart_uploads AS upload WHERE state = ${IN_PROGRESS}`,
  ).map((row) => multipartSchema.parse(row));

const countSchema = z.tuple([z.object({ n: z.number() })]);

const sum = (paths: string[], sql: string): number =>
  paths
    .flatMap((path) => query(path, sql))
    .map((row) => countSchema.parse([row])[0].n)
    .reduce((total, n) => total + n, 0);

/** An object that has never written, or has deleted everything, may have no such table. */
function query(path: string, sql: string): Record<string, unknown>[] {
  using database = new Database(path);
  try {
    return database.all(sql);
  } catch (error) {
    if (error instanceof Error && error.message.startsWith("no such table")) return [];
    throw error;
  }
}

class Database implements Disposable {
  readonly #database: DatabaseSync;

  constructor(path: string) {
    this.#database = new DatabaseSync(path);
  }

  all(sql: string): Record<string, unknown>[] {
    return this.#database.prepare(sql).all();
  }

  [Symbol.dispose](): void {
    this.#database.close();
  }
}
