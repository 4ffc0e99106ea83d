import { z } from "zod";
import type { Validators } from "./conditions.ts";

/** One file as the catalogue keeps it; times are ms since the epoch. */
export type FileRow = {
  id: string;
  /** The key of its bytes in R2: `files/{id}/{uuid}`, used once, so that no two versions share one. */
  blob: string;
  filename: string;
  content_type: string;
  /** In bytes. */
  size: number;
  /** Hexadecimal; quoted, it is the ETag. */
  sha256: string;
  modified_at_ms: number;
  /** 1 if this version came in the place of another. */
  is_replacement: number;
  /** From then on it is gone for readers; null: it stays. */
  expires_at_ms: number | null;
};

export const CREATE_TABLES = `
  CREATE TABLE IF NOT EXISTS file (
    id             TEXT PRIMARY KEY,
    blob           TEXT NOT NULL,
    filename       TEXT NOT NULL,
    content_type   TEXT NOT NULL,
    size           INTEGER NOT NULL,
    sha256         TEXT NOT NULL,
    modified_at_ms INTEGER NOT NULL,
    is_replacement INTEGER NOT NULL,
    expires_at_ms  INTEGER
  ) STRICT, WITHOUT ROWID;
  -- Collecting costs what has expired, not what is kept.
  CREATE INDEX IF NOT EXISTS file_expiring ON file (expires_at_ms) WHERE expires_at_ms IS NOT NULL;
  CREATE UNIQUE INDEX IF NOT EXISTS file_blob ON file (blob);

  -- Bytes in R2 that are no file's (any more, or yet), and from when on they may be removed.
  CREATE TABLE IF NOT EXISTS stray (
    blob       TEXT PRIMARY KEY,
    upload_id  TEXT,
    due_at_ms  INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS stray_due ON stray (due_at_ms);
`;

/** A file as its caller sees it. */
export const fileSchema = z
  .object({
    filename: z.string().meta({ description: "As the client sent it; never part of a key or path." }),
    id: z.string(),
    url: z.url(),
    size: z.int().meta({ description: "In bytes." }),
    contentType: z.string(),
    sha256: z.string().meta({ description: "Hexadecimal; quoted, it is the ETag." }),
    modifiedAt: z.iso.datetime(),
    expiresAt: z.iso.datetime().nullable().meta({ description: "From then on the file is gone." }),
  })
  .meta({ id: "File" });

/** A file as its uploader is answered. */
export const storedFileSchema = fileSchema
  .extend({
    task: z
      .object({ id: z.string(), url: z.url() })
      .optional()
      .meta({ description: "What `?task=` has started." }),
  })
  .meta({ id: "StoredFile" });

export type StoredFile = z.output<typeof storedFileSchema>;

/** A row as its caller sees it; `base` is any URL of this Worker. */
export function toFile(row: FileRow, base: string): z.output<typeof fileSchema> {
  return {
    filename: row.filename,
    id: row.id,
    url: fileUrl(row.id, base),
    size: row.size,
    contentType: row.content_type,
    sha256: row.sha256,
    modifiedAt: new Date(row.modified_at_ms).toISOString(),
    expiresAt: row.expires_at_ms === null ? null : new Date(row.expires_at_ms).toISOString(),
  };
}

export const fileUrl = (id: string, base: string) => new URL(`/files/${id}`, base).href;

/** What preconditions look at. */
export const validators = (row: FileRow): Validators => ({
  etag: etagOf(row),
  modifiedAtMs: row.modified_at_ms,
});

export const etagOf = ({ sha256 }: Pick<FileRow, "sha256">) => `"${sha256}"`;

/** The longest that a file can be asked to last, in seconds: 100 years. */
const MAX_EXPIRES_IN = 100 * 365 * 86_400;

const seconds = z
  .string()
  .regex(/^\d{1,10}$/, "a whole number of seconds")
  .transform(Number)
  .pipe(z.number().min(1).max(MAX_EXPIRES_IN));

/** A body that is no zod schema to the router: with one, the whole of it would be read into memory. */
const ANYTHING: string = "*/*";
export const BYTES = { [ANYTHING]: { schema: z.string().meta({ format: "binary" }) } };

/** What any upload may say of the file, as query parameters (or, for tus, metadata). */
export const uploadQuerySchema = z.object({
  expires_in: seconds.optional().meta({ description: "Seconds from now, after which the file is gone." }),
  task: z
    .string()
    .max(64)
    .optional()
    .meta({ description: "A task type to start with each file: its input is `{fileId}`." }),
});

export type UploadQuery = z.output<typeof uploadQuerySchema>;
