/**
 * Writes the bytes of a new file to R2 when they arrive in one request: a file of a form, or the body of a PUT.
 *
 * If their length is known, that is one put, which streams. Else it is a multipart upload: at most two parts are in
 * memory, one is filled while the other is sent, and a file that ends within its first part is one put too. All uploads
 * share that memory. The blob is reserved in the catalogue before R2 hears of it, so that the catalogue can always find
 * and remove it.
 */
import { v7 as uuidv7 } from "uuid";
import { describeError, log } from "../../kernel/log.ts";
import { callObject } from "../../kernel/objects.ts";
import { Problem } from "../../kernel/problem.ts";
import { span } from "../../kernel/spans.ts";
import { countSubrequests } from "../../kernel/subrequests.ts";
import { READ_SIZE } from "./body.ts";
import { byteLimitsOf } from "./byte-quota.ts";
import { ByteReservation } from "./byte-reservation.ts";
import { HeadCheck, unfitContent } from "./content.ts";
import { Digests, type ExpectedDigest } from "./digests.ts";
import { uploadMemory } from "./memory-budget.ts";
import { intoParts, partSizeFor } from "./parts.ts";
import { callCatalogue, catalogueOf } from "./shards.ts";
import { MAX_PUT_SIZE, putStream } from "./streamed-put.ts";

/** Bytes that are complete in R2 and do not belong to a file yet. */
export interface StoredBlob {
  id: string;
  blob: string;
  size: number;
  /** Hexadecimal. */
  sha256: string;
}

export interface IncomingBlob {
  /** The id of the file that the bytes will belong to. */
  id: string;
  chunks: AsyncIterable<Uint8Array>;
  /** Whose quota of bytes it takes from; null: nobody owns it. */
  owner: string | null;
  /** In bytes, null if unknown. */
  length: number | null;
  /** In bytes, if the length is unknown but known not to be more: then the file may take less memory. */
  maxLength?: number | null;
  /** Digests that the bytes must have. */
  expected: ExpectedDigest[];
  /** The type that they must be of, and what wants that. */
  fit?: { contentType: string; by: string } | undefined;
}

/** How long a request may take to commit what it reserved; the catalogue does not remove it earlier. */
const RESERVATION_MS = 24 * 60 * 60 * 1000;

export const newBlobKey = (id: string) => `files/${id}/${uuidv7()}`;

/** Rejects and leaves nothing behind if reading the chunks fails, or if they do not have the expected digests. */
export async function writeBlob(env: Env, incoming: IncomingBlob): Promise<StoredBlob> {
  const { id, length, owner } = incoming;
  const blob = newBlobKey(id);
  const limits = byteLimitsOf(env, owner);
  const quota =
    limits && new ByteReservation(env, { id, blob, owner, limits, dueAtMs: Date.now() + RESERVATION_MS });
  const reserve = async (uploadId: string | null) =>
    callCatalogue(async () => catalogueOf(env, id).reserve(blob, uploadId, Date.now() + RESERVATION_MS));
  // Runs while the first bytes arrive.
  const reserved: Promise<unknown> = quota && length !== null ? quota.hold(length) : reserve(null);
  reserved.catch(() => {});
  const target = { env, blob, reserved, reserve };
  try {
    const written =
      length !== null && length <= MAX_PUT_SIZE
        ? await writeAtOnce(target, incoming, length)
        : await writeInParts(target, quota && length === null ? covered(incoming, quota) : incoming);
    // So that a portion too many is in nobody's way: the next file of a form may need it.
    await quota?.trim(written.size);
    return { id, blob, ...written };
  } catch (error) {
    // Otherwise the reservation could arrive after the discard.
    await Promise.allSettled([reserved]);
    const isWrong = error instanceof Problem && error.kind === "digest-mismatch";
    await discardBlob(env, { id, blob }, isWrong ? "digest" : "other");
    log("info", "upload abandoned, its bytes are discarded", { fileId: id, error: describeError(error) });
    throw error;
  }
}

/** Of unknown length: no byte is taken for which the quota has no room. */
const covered = (incoming: IncomingBlob, quota: ByteReservation): IncomingBlob => ({
  ...incoming,
  chunks: quota.covering(incoming.chunks, incoming.maxLength ?? Number.POSITIVE_INFINITY),
});

/** A blob in R2, and its reservation in the catalogue, which R2 must not be written to before. */
interface Target {
  env: Env;
  blob: string;
  reserved: Promise<unknown>;
  /** Records the multipart upload that writes the blob. */
  reserve: (uploadId: string) => Promise<unknown>;
}

type Written = Pick<StoredBlob, "size" | "sha256">;

/** One put, which streams. */
async function writeAtOnce(
  { env, blob, reserved }: Target,
  { chunks, expected, fit }: IncomingBlob,
  length: number,
): Promise<Written> {
  const share = await uploadMemory.take(READ_SIZE);
  try {
    const digests = new Digests(expected);
    const content = new ContentCheck(fit);
    let sha256 = "";
    await reserved;
    countSubrequests({ internal: 1 });
    await span("upload part", { attributes: { "sluice.bytes": length } }, async () =>
      putStream(env.FILES, blob, hashed(chunks, digests, content), length, () => {
        content.finish();
        sha256 = digests.finish();
      }),
    );
    return { size: length, sha256 };
  } finally {
    share.release();
  }
}

/** Throws a `Problem` 415 as soon as the bytes cannot be of the type that they must be of. */
class ContentCheck {
  readonly #head: HeadCheck | undefined;
  readonly #by: string;

  constructor(fit: IncomingBlob["fit"]) {
    this.#head = fit && new HeadCheck(fit.contentType);
    this.#by = fit?.by ?? "";
  }

  update(chunk: Uint8Array): void {
    this.#throwIf(this.#head?.update(chunk));
  }

  finish(): void {
    this.#throwIf(this.#head?.finish());
  }

  #throwIf(why: string | undefined): void {
    if (why !== undefined) throw unfitContent(why, this.#by);
  }
}

async function* hashed(
  chunks: AsyncIterable<Uint8Array>,
  digests: Digests,
  content: ContentCheck,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    content.update(chunk);
    digests.update(chunk);
    yield chunk;
  }
}

/** A multipart upload; one put if all bytes fit into the first part. */
async function writeInParts(target: Target, incoming: IncomingBlob): Promise<Written> {
  const { length, maxLength } = incoming;
  const partSize = partSizeFor(length);
  const buffer = Math.min(partSize, length ?? maxLength ?? partSize);
  const shares = [await uploadMemory.take(buffer + READ_SIZE)];
  // A share for the second part, if there is one now.
  const hasSecondBuffer = () => {
    const share = uploadMemory.takeNow(partSize);
    if (share) shares.push(share);
    return share !== undefined;
  };
  try {
    return await sendParts(target, incoming, intoParts(incoming.chunks, partSize, hasSecondBuffer));
  } finally {
    for (const share of shares) share.release();
  }
}

async function sendParts(
  { env, blob, reserved, reserve }: Target,
  { expected, fit }: IncomingBlob,
  parts: ReturnType<typeof intoParts>,
): Promise<Written> {
  const digests = new Digests(expected);
  const content = new ContentCheck(fit);
  let size = 0;
  let upload: MultipartWriter | undefined;
  try {
    for await (const { part, isLast, isReused } of parts) {
      content.update(part);
      if (isLast) content.finish();
      digests.update(part);
      size += part.length;
      if (!upload && !isLast) {
        await reserved;
        upload = await MultipartWriter.create(env.FILES, blob);
        await reserve(upload.id);
      }
      // Before the last part is sent: bytes with a wrong digest must not become complete.
      const sha256 = isLast ? digests.finish() : undefined;
      await reserved;
      if (!upload) {
        countSubrequests({ internal: 1 });
        await span("upload part", { attributes: { "sluice.bytes": size } }, async () =>
          env.FILES.put(blob, part),
        );
      } else await upload.write(part);
      if (isReused) await upload?.settle();
      if (sha256 !== undefined) {
        await upload?.complete();
        return { size, sha256 };
      }
    }
    throw new Error("there is always a last part");
  } catch (error) {
    await upload?.abort();
    throw error;
  }
}

/** Removes bytes that will not become a file. If something fails here, the catalogue removes them later. */
export async function discardBlob(
  env: Env,
  { id, blob }: Pick<StoredBlob, "id" | "blob">,
  why: "digest" | "other" = "other",
): Promise<void> {
  await Promise.allSettled([
    env.FILES.delete(blob),
    callObject(async () => catalogueOf(env, id).discard(blob, why)),
  ]);
}

/** A multipart upload that sends one part while the next is being filled. */
class MultipartWriter {
  readonly #upload: R2MultipartUpload;
  #sent: Promise<R2UploadedPart[]> = Promise.resolve([]);

  constructor(upload: R2MultipartUpload) {
    this.#upload = upload;
  }

  static async create(bucket: R2Bucket, key: string): Promise<MultipartWriter> {
    // It, and its end.
    countSubrequests({ internal: 2 });
    return new MultipartWriter(await bucket.createMultipartUpload(key));
  }

  get id(): string {
    return this.#upload.uploadId;
  }

  /** Resolves when R2 has the part before this one. */
  async write(part: Uint8Array): Promise<void> {
    const before = await this.#sent;
    countSubrequests({ internal: 1 });
    const attributes = { "sluice.part": before.length + 1, "sluice.bytes": part.length };
    const upload = async () => this.#upload.uploadPart(before.length + 1, part);
    this.#sent = span("upload part", { attributes }, upload).then((sent) => [...before, sent]);
    // The next write, complete or abort sees a failure. Until then it must not count as unhandled.
    this.#sent.catch(() => {});
  }

  /** Resolves when R2 has all parts so far. */
  async settle(): Promise<void> {
    await this.#sent;
  }

  async complete(): Promise<void> {
    await this.#upload.complete(await this.#sent);
  }

  async abort(): Promise<void> {
    await Promise.allSettled([this.#sent]);
    await Promise.allSettled([this.#upload.abort()]);
  }
}
