import { z } from "zod";

/**
 * A file in R2.
 *
 * The object `files/{id}` is the file's record, in its custom metadata, and makes the file visible: it is written
 * last, in one put, when everything about the file is known. A file up to one part long is that object's body. The
 * bytes of a longer one, which must be sent before its digest is known, are in the object that `blob` names.
 */
export const recordSchema = z.object({
  /** Percent-encoded in the metadata, which is ASCII. */
  filename: z.string().transform(decodeURIComponent),
  contentType: z.string(),
  size: z.coerce.number().int().min(0),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  blob: z.string().optional(),
});

export type FileRecord = z.output<typeof recordSchema>;

/** The record as custom metadata; `recordSchema` reads it back. */
export function toMetadata({
  filename,
  size,
  contentType,
  sha256,
  blob,
}: FileRecord): Record<string, string> {
  const required = {
    filename: encodeURIComponent(filename),
    size: String(size),
    contentType,
    sha256,
  };
  return blob === undefined ? required : { ...required, blob };
}

export const recordKey = (id: string) => `files/${id}`;

/** A stored file, as its uploader is answered. */
export const storedFileSchema = z
  .object({
    filename: z.string().meta({ description: "As the client sent it; never part of a key or path." }),
    id: z.string(),
    url: z.url(),
    size: z.int().meta({ description: "In bytes." }),
    contentType: z.string(),
    sha256: z.string().meta({ description: "Hexadecimal." }),
  })
  .meta({ id: "StoredFile" });
