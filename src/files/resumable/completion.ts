/**
 * The steps that make a received upload a file: complete in R2, committed to the catalogue, its task started. Every
 * step can be repeated, because an earlier run may have done it and died before it could record that.
 */
import { log } from "../../kernel/log.ts";
import { callObject } from "../../kernel/objects.ts";
import { span } from "../../kernel/spans.ts";
import { ByteReservation } from "../store/byte-reservation.ts";
import type { CommitResult } from "../store/catalogue.ts";
import type { GrantRefusal } from "../store/grant-use.ts";
import { uploadMemory } from "../store/memory-budget.ts";
import { PartBuffer } from "../store/parts.ts";
import { NO_PRECONDITIONS } from "../store/preconditions.ts";
import { expiryIn } from "../store/save-file.ts";
import type { NewFile } from "../store/schema.ts";
import { catalogueOf } from "../store/shards.ts";
import { TEND_AFTER_MS } from "../store/tended-sessions.ts";
import { startTask } from "../store/upload-task.ts";
import { originColumns } from "../store/uploader.ts";
import { MAX_LIFETIME_MS } from "./append-rules.ts";
import type { SessionRecord, SessionStorage } from "./session-storage.ts";

/** Longer than any upload lives: the session removes its bytes, and the catalogue only if the session did not. */
const RESERVATION_MS = MAX_LIFETIME_MS + 24 * 60 * 60 * 1000;

/** What the upload holds of the quotas; undefined if it has none. So far it holds `held` bytes. */
export function byteReservationOf(
  env: Env,
  { id, blob, origin, byteLimits: limits, createdAtMs }: SessionRecord,
  held: number,
): ByteReservation | undefined {
  const dueAtMs = createdAtMs + RESERVATION_MS;
  return (
    limits && new ByteReservation(env, { id, blob, owner: origin?.owner ?? null, limits, dueAtMs }, held)
  );
}

/** The multipart upload of a session; a new one if it has none yet. */
export async function openMultipart(env: Env, record: SessionRecord): Promise<R2MultipartUpload> {
  const { blob, uploadId } = record;
  // The catalogue may have recorded one that the session has not.
  const existing = uploadId ?? (await reserve(env, record, null));
  if (existing !== null) return env.FILES.resumeMultipartUpload(blob, existing);
  const multipart = await env.FILES.createMultipartUpload(blob);
  await reserve(env, record, multipart.uploadId);
  return multipart;
}

/** Makes one R2 object of the parts and the tail, once there is memory for that; the caller must hold none. */
export async function completeInR2(env: Env, storage: SessionStorage, record: SessionRecord): Promise<void> {
  const tailLength = record.offset - record.partCount * record.partSize;
  const share = await uploadMemory.take(tailLength);
  try {
    const tail = new PartBuffer(Number.POSITIVE_INFINITY, tailLength);
    for (const block of storage.tailBlocks()) tail.fill(block);
    await writeAll(env, storage, record, tail.bytes);
  } finally {
    share.release();
  }
}

async function writeAll(env: Env, storage: SessionStorage, record: SessionRecord, tail: Uint8Array) {
  const { blob, uploadId, offset } = record;
  const parts = storage.loadParts();
  const attributes = { "sluice.bytes": tail.length };
  try {
    if (uploadId === null || parts.length === 0) {
      await reserve(env, record, uploadId);
      await span("upload part", { attributes }, async () => env.FILES.put(blob, tail));
      // All parts it has came with a wrong checksum.
      if (uploadId !== null) await abortMultipart(env, blob, uploadId);
      return;
    }
    const multipart = env.FILES.resumeMultipartUpload(blob, uploadId);
    const sendTail = async () => multipart.uploadPart(parts.length + 1, tail);
    if (tail.length > 0) parts.push(await span("upload part", { attributes }, sendTail));
    await multipart.complete(parts);
  } catch (error) {
    // If only the response was lost, the object is there.
    const object = await env.FILES.head(blob);
    if (object?.size !== offset) throw error;
  }
}

/**
 * Commits the file and starts its task; a partial upload gets neither. Returns the session as it is then, or
 * undefined if the task could not be started, or why its grant does not allow the file.
 */
export async function publish(
  env: Env,
  record: SessionRecord,
): Promise<SessionRecord | GrantRefusal | undefined> {
  const { id, kind, blob, task, check, createdAtMs, origin } = record;
  // It may take long until the other pieces of the final upload arrive.
  if (kind === "partial") return { ...record, phase: "complete", expiresAtMs: createdAtMs + MAX_LIFETIME_MS };
  const files = [toNewFile(record)];
  const grant = origin?.grant ?? undefined;
  const committed: CommitResult = await callObject(async () =>
    catalogueOf(env, id).commit(
      files,
      NO_PRECONDITIONS,
      grant,
      check === undefined ? undefined : { check, task },
    ),
  );
  if (committed.is === "refused") return committed.refusal;
  // Its task starts when it is published.
  if (committed.is === "held") return { ...record, phase: "complete", taskId: committed.checks[0] ?? null };
  const { is } = committed;
  // An earlier run committed it, and the file has been removed or replaced since.
  if (is === "unreserved") log("info", "the file of an upload was committed before", { fileId: id });
  try {
    const taskId = task === null ? null : await startTask(task, id, blob);
    return { ...record, phase: "complete", taskId };
  } catch {
    return undefined; // startTask has logged it
  }
}

function toNewFile(record: SessionRecord): NewFile {
  const { id, blob, filename, contentType, offset, sha256, expiresIn } = record;
  const { source = null, sourceTask = null, origin } = record;
  return {
    id,
    blob,
    filename,
    content_type: contentType,
    size: offset,
    sha256: sha256 ?? "",
    expires_at_ms: expiryIn(expiresIn),
    source,
    source_task: sourceTask,
    ...originColumns(origin),
  };
}

/** Discards the bytes of a session, unless they belong to a file by now, which only the catalogue knows. */
export async function discardUpload(
  env: Env,
  { id, blob, uploadId, origin }: SessionRecord,
  why?: "digest",
): Promise<void> {
  if (uploadId !== null) await abortMultipart(env, blob, uploadId);
  await callObject(async () => catalogueOf(env, id).discard(blob, why));
  const grant = origin?.grant;
  if (grant) await callObject(async () => catalogueOf(env, id).releasePlace(grant, blob));
}

/** Has it counted that the bytes of a request did not have their checksum. Nothing depends on it, so a failure is no news. */
export async function countWrongChunk(env: Env, { id }: SessionRecord): Promise<void> {
  await Promise.allSettled([catalogueOf(env, id).countWrongChunk()]);
}

/** If it is completed already, or R2 itself has aborted it, there is nothing to abort. */
async function abortMultipart(env: Env, blob: string, uploadId: string): Promise<void> {
  await Promise.allSettled([env.FILES.resumeMultipartUpload(blob, uploadId).abort()]);
}

/**
 * From then on the catalogue tends the session: soon if it must go on without its client, since it waits for others or
 * has a task to start; else, because each time wakes it, only when it should have expired.
 */
export async function reserve(
  env: Env,
  record: SessionRecord,
  uploadId: string | null,
): Promise<string | null> {
  const { id, blob, kind, task, createdAtMs, expiresAtMs } = record;
  const tendAtMs = kind === "final" || task !== null ? undefined : expiresAtMs + TEND_AFTER_MS;
  const dueAtMs = createdAtMs + RESERVATION_MS;
  return callObject(async () => catalogueOf(env, id).reserve(blob, uploadId, dueAtMs, id, tendAtMs));
}
