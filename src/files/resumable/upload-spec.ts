/** What the creation of a resumable upload says about the file it will become, in either protocol. */

import { v7 as uuidv7 } from "uuid";
import { z } from "zod";
import { Problem } from "../../kernel/problem.ts";
import { readDigestField } from "../store/digests.ts";
import { cleanMediaType } from "../store/media-type.ts";
import { checkFilename, cleanFilename } from "../store/names.ts";
import { uploadQuerySchema } from "../store/schema.ts";
import { checkTaskType } from "../store/upload-task.ts";
import type { UploadSpec } from "./session-storage.ts";

/** What the client says about the file; nothing in it is validated yet. */
export interface FileDescription {
  filename: string | undefined;
  contentType: string | undefined | null;
  /** Query parameters, or tus metadata of the same names. */
  query: Record<string, string | undefined>;
  headers: Headers;
}

/** The fields of the spec that the protocol determines. */
export type ProtocolFields = Pick<
  UploadSpec,
  "kind" | "length" | "endsAtLength" | "metadata" | "concat" | "sources"
>;

export const uploadIdSchema = z.uuid();

/** The spec of a new upload. Throws a `Problem` 400 or 422 if the description is invalid. */
export async function createSpec(description: FileDescription, fields: ProtocolFields): Promise<UploadSpec> {
  const { expires_in, task } = description.query;
  const query = uploadQuerySchema.safeParse({ expires_in, task });
  if (!query.success) {
    const errors = query.error.issues.map(({ path, message }) => ({
      at: `query/${path.join("/")}`,
      detail: message,
    }));
    throw new Problem("invalid", "The expires_in or task of the upload is invalid.", { errors });
  }
  await checkTaskType(query.data.task);
  const id = uuidv7();
  const filename = cleanFilename(description.filename ?? "") || id;
  checkFilename(filename);
  return {
    id,
    filename,
    contentType: cleanMediaType(description.contentType),
    expiresIn: query.data.expires_in ?? null,
    task: query.data.task ?? null,
    expected: expectedDigest(description.headers),
    ...fields,
  };
}

/** The sha-256 of the whole. Other digests cannot be used, because their state cannot be stored between requests. */
function expectedDigest(headers: Headers): UploadSpec["expected"] {
  const [first, ...rest] = readDigestField(headers, "Repr-Digest");
  const digest = [first, ...rest].find((expected) => expected?.algorithm === "sha256");
  if (digest) return { sha256: Buffer.from(digest.value).toString("hex"), header: digest.header };
  if (!first) return null;
  throw new Problem("malformed", "A resumable upload is verified by sha-256; send that in Repr-Digest.");
}
