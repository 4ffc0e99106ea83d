import { z } from "zod";
import { addColumns } from "../../kernel/schema.ts";
import type { Validators } from "./preconditions.ts";

/** One file as the catalogue stores it; times are ms since the epoch. */
export type FileRow = {
  id: string;
  /** The key of its bytes in R2: `files/{id}/{uuid}`, used only once, so that no two versions share a key. */
  blob: string;
  filename: string;
  content_type: string;
  /** In bytes. */
  size: number;
  /** Hexadecimal. */
  sha256: string;
  modified_at_ms: number;
  /** Its date in HTTP (version-date.ts), which may be up to a second later. */
  dated_at_ms: number;
  /** 1 if this version replaced another. */
  is_replacement: number;
  /** From then on readers no longer find it; null: it does not expire. */
  expires_at_ms: number | null;
  /** The file, and the task, that it was made from. Missing in what an earlier version sends. */
  source?: string | null;
  source_task?: string | null;
  /** Who uploaded it, and what their grant says about it, as JSON. Missing in what an earlier version sends. */
  owner?: string | null;
  metadata?: string | null;
};

/** A complete file whose bytes are in R2. */
export type NewFile = Omit<FileRow, "modified_at_ms" | "dated_at_ms" | "is_replacement">;

/** A row, and its `Last-Modified` at the moment when it was read. */
export type FoundFile = FileRow & { last_modified_ms: number };

export const CREATE_TABLES = `
  CREATE TABLE IF NOT EXISTS file (
    id             TEXT PRIMARY KEY,
    blob           TEXT NOT NULL,
    filename       TEXT NOT NULL,
    content_type   TEXT NOT NULL,
    size           INTEGER NOT NULL,
    sha256         TEXT NOT NULL,
    modified_at_ms INTEGER NOT NULL,
    dated_at_ms    INTEGER NOT NULL,
    is_replacement INTEGER NOT NULL,
    expires_at_ms  INTEGER
  ) STRICT, WITHOUT ROWID;
  -- The cost of collecting grows with what has expired, not with what is kept.
  CREATE INDEX IF NOT EXISTS file_expiring ON file (expires_at_ms) WHERE expires_at_ms IS NOT NULL;
  CREATE UNIQUE INDEX IF NOT EXISTS file_blob ON file (blob);

  -- Bytes in R2 that belong to no file, not yet or no longer, and when they may be removed.
  CREATE TABLE IF NOT EXISTS stray (
    blob       TEXT PRIMARY KEY,
    upload_id  TEXT,
    due_at_ms  INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS stray_due ON stray (due_at_ms);
`;

/** Files that were made from others. Uploads have neither, and so cost nothing in the index. */
export const ADD_SOURCES = addColumns("file", { source: "TEXT", source_task: "TEXT" });
export const ADD_OWNER = addColumns("file", { owner: "TEXT", metadata: "TEXT" });
export const CREATE_SOURCE_INDEX =
  "CREATE INDEX IF NOT EXISTS file_source ON file (source, id) WHERE source IS NOT NULL";

/** A file as callers see it. */
export const fileSchema = z
  .object({
    filename: z.string().meta({ description: "From the client; never part of a key or path." }),
    id: z.string(),
    url: z.url(),
    size: z.int().meta({ description: "In bytes." }),
    contentType: z.string().meta({ description: "From the client, with its parameters." }),
    sha256: z.string().meta({ description: "Of the bytes, hexadecimal." }),
    etag: z.string().meta({ description: "Of this version, for `If-Match`: each upload makes a new one." }),
    modifiedAt: z.iso.datetime(),
    expiresAt: z.iso
      .datetime()
      .nullable()
      .meta({ description: "When the file expires; null if it does not." }),
    source: z
      .string()
      .nullable()
      .meta({ description: "The id of the file that it was made from; null for an upload." }),
    sourceTask: z
      .string()
      .nullable()
      .meta({ description: "The id of the task that made it; null for an upload." }),
    owner: z
      .string()
      .nullable()
      .meta({
        description:
          "Who uploaded it: the name of the token, or `grant:` and the name of the grant; null if a task made it, or if it " +
          "was uploaded to an earlier version.",
      }),
    metadata: z
      .record(z.string(), z.string())
      .nullable()
      .meta({ description: "What the grant, with which it was uploaded, says about it." }),
  })
  .meta({ id: "File" });

/** A file as the response to its upload shows it. */
export const storedFileSchema = fileSchema
  .extend({
    task: z.object({ id: z.string(), url: z.url() }).optional().meta({
      description: "The task that `?task=` started; of a file that is held, the one that checks it.",
    }),
    isHeld: z
      .boolean()
      .optional()
      .meta({ description: "True: nobody sees the file before its check has accepted it. Else missing." }),
  })
  .meta({ id: "StoredFile" });

/** For 202. */
export const HELD = "A rule has it checked: nobody sees it before the task in `task` has accepted it.";

export type StoredFile = z.output<typeof storedFileSchema>;

type File = z.output<typeof fileSchema>;
const metadataSchema = z.record(z.string(), z.string());

/** A row as callers see it; `base` is any URL of this Worker. */
export function toFile(row: FileRow, base: string): File {
  const { filename, id, ...rest } = toLine(row);
  return { filename, id, url: fileUrl(row.id, base), ...rest };
}

/** The same, for those who know the URL of this Worker. */
export function toLine(row: FileRow): Omit<File, "url"> {
  return {
    filename: row.filename,
    id: row.id,
    size: row.size,
    contentType: row.content_type,
    sha256: row.sha256,
    etag: etagOf(row),
    modifiedAt: new Date(row.modified_at_ms).toISOString(),
    expiresAt: row.expires_at_ms === null ? null : new Date(row.expires_at_ms).toISOString(),
    source: row.source ?? null,
    sourceTask: row.source_task ?? null,
    owner: row.owner ?? null,
    metadata: typeof row.metadata === "string" ? metadataSchema.parse(JSON.parse(row.metadata)) : null,
  };
}

export const fileUrl = (id: string, base: string) => new URL(`/files/${id}`, base).href;

/** What preconditions are compared with. */
export const validatorsOf = (row: FileRow): Validators => ({
  etag: etagOf(row),
  datedAtMs: row.dated_at_ms,
});

/**
 * A strong ETag that tells versions apart, not only bytes (RFC 9110 §8.8.1): the same bytes may come again under another
 * name or type, and whoever removes a version by its ETag does not mean the one after it.
 */
export const etagOf = ({ blob }: Pick<FileRow, "blob">) => `"${blob.slice(blob.lastIndexOf("/") + 1)}"`;

/** 100 years. */
const MAX_EXPIRES_IN_S = 100 * 365 * 86_400;

const seconds = z
  .string()
  .regex(/^\d+$/, "a whole number of seconds")
  .transform(Number)
  .pipe(z.number().min(1).max(MAX_EXPIRES_IN_S));

/**
 * Bodies of any type, described by plain JSON Schemas: for a zod schema the router would read the whole body into
 * memory to validate it.
 */
const ANYTHING: string = "*/*";
export const BYTES = { [ANYTHING]: { schema: { type: "string" as const, format: "binary" } } };
/** Such a body as an API explorer can send it without a file to choose. */
export const TEXT = { "text/plain": { schema: { type: "string" as const }, example: "Hello, Sluice.\n" } };

/** URLs and headers have their limits. */
const MAX_TASK_LENGTH = 8_192;

/** What any upload may say about the file, as query parameters (or, for tus, as metadata). */
export const uploadQuerySchema = z.object({
  expires_in: seconds
    .optional()
    .meta({ description: "The file expires this many seconds after the upload is complete." }),
  task: z
    .string()
    .max(MAX_TASK_LENGTH)
    .optional()
    .meta({
      description:
        "A task to start with each file: the name of a type that takes `{fileId}` alone, or JSON (URL-encoded) with `type`, " +
        "`input`, to which `fileId` is added, and `then`, `delay`, `priority` and `callback_url` as in `POST /tasks`.",
    }),
});

export type UploadQuery = z.output<typeof uploadQuerySchema>;
