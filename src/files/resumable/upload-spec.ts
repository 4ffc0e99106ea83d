/** What the creation of a resumable upload says about the file it will become, in either protocol. */

import { z } from "zod";
import { Problem } from "../../kernel/problem.ts";
import { holdFor } from "../store/held.ts";
import { cleanMediaType } from "../store/media-type.ts";
import { checkFilename, cleanFilename, fileIdSchema } from "../store/names.ts";
import { uploadQuerySchema } from "../store/schema.ts";
import { checkRules, type UploadLimits } from "../store/upload-rules.ts";
import { checkTask } from "../store/upload-task.ts";
import { checkBoundTask, grantedQuery, originOf, type Uploader } from "../store/uploader.ts";
import { readWholeDigest } from "./request-digests.ts";
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
  "protocol" | "kind" | "length" | "endsAtLength" | "metadata" | "concat" | "sources"
>;

/** A UUID, behind the prefix that its creator is bound to, if there is one. */
export const uploadIdSchema = fileIdSchema.refine((id) => z.uuid().safeParse(id.slice(-36)).success, {
  message: "an upload has a UUID as its id, or at the end of it",
});

/** The spec of the new upload `id`. Throws a `Problem` 400 or 422 if the description is invalid, or a rule forbids it. */
export async function createSpec(
  id: string,
  limits: UploadLimits,
  description: FileDescription,
  fields: ProtocolFields,
  uploader: Uploader,
): Promise<UploadSpec> {
  const { terms } = uploader;
  const sent = terms ? grantedQuery(terms, description.query) : description.query;
  const { expires_in, task } = sent;
  const query = uploadQuerySchema.safeParse({ expires_in, task });
  if (!query.success) {
    const errors = query.error.issues.map(({ path, message }) => ({
      at: `query/${path.join("/")}`,
      detail: message,
    }));
    throw new Problem("invalid", "The expires_in or task of the upload is invalid.", { errors });
  }
  checkBoundTask(uploader, query.data.task);
  await checkTask(query.data.task);
  if (terms && fields.kind !== "whole")
    throw new Problem("forbidden", "With a grant, an upload is whole: Upload-Concat is not allowed.");
  const contentType = cleanMediaType(description.contentType);
  const filename = cleanFilename(description.filename ?? "") || id;
  checkFilename(filename);
  // A piece of a file has no type of its own: what is made of it has.
  const fitsBy =
    fields.kind === "partial"
      ? null
      : checkRules(limits, terms, { filename, contentType, size: fields.length });
  const hold = fields.kind === "partial" ? undefined : await holdFor(limits, query.data.task);
  return {
    id,
    filename,
    contentType,
    origin: originOf(uploader),
    expiresIn: query.data.expires_in ?? null,
    task: query.data.task ?? null,
    expected: readWholeDigest(description.headers),
    ...(fitsBy === null ? {} : { fitsBy }),
    ...(hold ? { check: hold.check } : {}),
    ...(fields.kind === "final" && limits.by !== null ? { maxBytes: limits.maxBytes } : {}),
    ...fields,
  };
}
