/** What the creation of a resumable upload says of the file it is to be, whichever protocol it speaks. */

import { v7 as uuidv7 } from "uuid";
import { z } from "zod";
import { Problem } from "../../kernel/problem.ts";
import { rfc9530Digests } from "../store/digests.ts";
import { checkTaskType } from "../store/follow-up.ts";
import { checkFilename, cleanFilename, mediaType } from "../store/names.ts";
import { uploadQuerySchema } from "../store/schema.ts";
import type { UploadSpec } from "./record.ts";

/** Said by the client, none of it checked. */
export interface Said {
  filename: string | undefined;
  contentType: string | undefined | null;
  /** As query parameters, or as tus metadata of the same names. */
  query: Record<string, string | undefined>;
  headers: Headers;
}

/** What the protocol has made of the creation. */
export type Plan = Pick<UploadSpec, "kind" | "length" | "endsAtLength" | "metadata" | "concat" | "sources">;

export const uploadIdSchema = z.uuid();

/** The spec of a new upload. Throws a `Problem` if something about it cannot be. */
export async function makeSpec(said: Said, rest: Plan): Promise<UploadSpec> {
  const query = uploadQuerySchema.safeParse({ expires_in: said.query.expires_in, task: said.query.task });
  if (!query.success) {
    const errors = query.error.issues.map(({ path, message }) => ({
      at: `query/${path.join("/")}`,
      detail: message,
    }));
    throw new Problem("invalid", "The upload's expires_in or task is not what it should be.", { errors });
  }
  await checkTaskType(query.data.task);
  const id = uuidv7();
  const filename = cleanFilename(said.filename ?? "") || id;
  checkFilename(filename);
  return {
    id,
    filename,
    contentType: mediaType(said.contentType),
    expiresIn: query.data.expires_in ?? null,
    task: query.data.task ?? null,
    expected: expectedDigest(said.headers),
    ...rest,
  };
}

/** The sha-256 that the whole must have. Of other digests, the state cannot be kept between requests. */
function expectedDigest(headers: Headers): UploadSpec["expected"] {
  const [first, ...rest] = rfc9530Digests(headers, "Repr-Digest");
  const digest = [first, ...rest].find((expected) => expected?.algorithm === "sha256");
  if (digest) return { sha256: Buffer.from(digest.value).toString("hex"), header: digest.header };
  if (!first) return null;
  throw new Problem("malformed", "A resumable upload is verified by sha-256; send that in Repr-Digest.");
}
