/**
 * What an upload session has R2 and the catalogue do. Every step can be repeated: it may have been done before, by
 * somebody who could not say so any more.
 */
import { SHA256 } from "@stablelib/sha256";
import { log } from "../../kernel/log.ts";
import { RESTART_PAUSES_MS, retry } from "../../kernel/retry.ts";
import type { NewFile } from "../store/catalogue.ts";
import { NO_CONDITIONS } from "../store/conditions.ts";
import { startTask } from "../store/follow-up.ts";
import { catalogueOf } from "../store/shards.ts";
import type { SessionRecord, SessionStorage } from "./record.ts";
import { MAX_LIFE_MS } from "./rules.ts";

/** Beyond the longest life of an upload: its bytes are the session's to remove, and only after that the catalogue's. */
const RESERVED_MS = MAX_LIFE_MS + 24 * 60 * 60 * 1000;

/** The multipart upload of a session; a new one, if it has none yet. */
export async function openMultipart(env: Env, record: SessionRecord): Promise<R2MultipartUpload> {
  const { blob, uploadId } = record;
  // One may have been noted in the catalogue, and not in the session yet.
  const known = uploadId ?? (await reserve(env, record, null));
  if (known !== null) return env.FILES.resumeMultipartUpload(blob, known);
  const multipart = await env.FILES.createMultipartUpload(blob);
  await reserve(env, record, multipart.uploadId);
  return multipart;
}

/** The sha256 of all its bytes, hexadecimal; null for a partial upload, whose bytes are not hashed. */
export const digestOf = ({ hash }: SessionRecord): string | null =>
  hash && Buffer.from(new SHA256().restoreState(hash).digest()).toString("hex");

/** Makes one object of the parts and the tail. */
export async function completeInR2(env: Env, records: SessionStorage, record: SessionRecord): Promise<void> {
  const { blob, uploadId, offset } = record;
  const tail = Buffer.concat(records.loadTail());
  const parts = records.loadParts();
  try {
    if (uploadId === null || parts.length === 0) {
      await reserve(env, record, uploadId);
      await env.FILES.put(blob, tail);
      // Its parts have come with a wrong checksum.
      if (uploadId !== null) await abort(env, blob, uploadId);
      return;
    }
    const multipart = env.FILES.resumeMultipartUpload(blob, uploadId);
    if (tail.length > 0) parts.push(await multipart.uploadPart(parts.length + 1, tail));
    await multipart.complete(parts);
  } catch (error) {
    // Done already, if only the answer was lost.
    const object = await env.FILES.head(blob);
    if (object?.size !== offset) throw error;
  }
}

/**
 * Makes it a file, and starts its task; a partial upload becomes neither. Gives the session as it is then; undefined
 * if the task could not be started.
 */
export async function publish(env: Env, record: SessionRecord): Promise<SessionRecord | undefined> {
  const { id, kind, blob, task, createdAtMs } = record;
  // The pieces of a final upload may be a long time in coming.
  if (kind === "partial") return { ...record, phase: "complete", expiresAtMs: createdAtMs + MAX_LIFE_MS };
  const files = [toNewFile(record)];
  const { is } = await retry(
    async () => catalogueOf(env, id).commit(files, NO_CONDITIONS),
    RESTART_PAUSES_MS,
  );
  // It was committed before, and has been removed or replaced since.
  if (is === "unreserved") log("info", "an upload was published before", { fileId: id });
  try {
    const taskId = task === null ? null : await startTask(task, id, blob);
    return { ...record, phase: "complete", taskId };
  } catch {
    return undefined; // it is in the log
  }
}

function toNewFile({ id, blob, filename, contentType, offset, sha256, expiresIn }: SessionRecord): NewFile {
  const expires_at_ms = expiresIn === null ? null : Date.now() + expiresIn * 1000;
  return { id, blob, filename, content_type: contentType, size: offset, sha256: sha256 ?? "", expires_at_ms };
}

/** Gives up the bytes of a session, unless they are a file's by now: the catalogue alone knows that. */
export async function discard(env: Env, { id, blob, uploadId }: SessionRecord): Promise<void> {
  if (uploadId !== null) await abort(env, blob, uploadId);
  await retry(async () => catalogueOf(env, id).discard(blob), RESTART_PAUSES_MS);
}

/** It may have been completed, or R2 may have given it up itself: then there is nothing to abort. */
async function abort(env: Env, blob: string, uploadId: string): Promise<void> {
  await Promise.allSettled([env.FILES.resumeMultipartUpload(blob, uploadId).abort()]);
}

async function reserve(env: Env, { id, blob, createdAtMs }: SessionRecord, uploadId: string | null) {
  return retry(
    async () => catalogueOf(env, id).reserve(blob, uploadId, createdAtMs + RESERVED_MS),
    RESTART_PAUSES_MS,
  );
}
