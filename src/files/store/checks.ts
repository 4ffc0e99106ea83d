/**
 * The task that decides whether a file may be seen (`before_publish` of a rule). It is a task type of the deployment, which
 * this pillar does not know; `FileTasks` starts it, as it does the tasks of uploads.
 */
import { exports } from "cloudflare:workers";
import { z } from "zod";
import { type HeldFile, versionOf } from "./held-files.ts";
import { fileIdSchema } from "./names.ts";

/** The input of a task type that a rule names in `before_publish`. */
export const heldFileSchema = z.object({
  fileId: fileIdSchema,
  version: z.uuid(),
  name: z.string(),
  type: z.string(),
  size: z.int(),
  sha256: z.string(),
  owner: z.string().nullable(),
});

export type CheckedFile = z.output<typeof heldFileSchema>;

/** What such a task returns. */
export const decisionSchema = z.union([
  z.object({ accepted: z.literal(true) }),
  z.object({ accepted: z.literal(false), reason: z.string().max(1000) }),
]);

export type Decision = z.output<typeof decisionSchema>;

export const checkedFile = ({ file }: Pick<HeldFile, "file">): CheckedFile => ({
  fileId: file.id,
  version: versionOf(file.blob),
  name: file.filename,
  type: file.content_type,
  size: file.size,
  sha256: file.sha256,
  owner: file.owner ?? null,
});

/** Starts the check of a held file, once however often it is called; null if it can no longer be started. */
export const startCheck = async (held: HeldFile): Promise<string | null> =>
  exports.FileTasks.startCheck(held.check, checkedFile(held), `check ${versionOf(held.file.blob)}`);
