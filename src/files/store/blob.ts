/**
 * Writing the bytes of a new file to R2, when they come in one go: a form's file, or the body of a PUT.
 *
 * At most two parts are in memory, the one being filled and the one being sent. What ends within its first part is
 * a single put. The blob is reserved in the catalogue before R2 hears of it, so that it cannot be forgotten there.
 */
import { v7 as uuidv7 } from "uuid";
import { describeError, log } from "../../kernel/log.ts";
import { RESTART_PAUSES_MS, retry } from "../../kernel/retry.ts";
import { Digests, type Expected } from "./digests.ts";
import { intoParts, partSizeFor } from "./parts.ts";
import { catalogueOf } from "./shards.ts";

/** Bytes that are whole in R2, and not a file's yet. */
export interface StoredBlob {
  id: string;
  blob: string;
  size: number;
  /** Hexadecimal. */
  sha256: string;
}

export interface Incoming {
  /** The id of the file that it is to be. */
  id: string;
  chunks: AsyncIterable<Uint8Array>;
  /** Its length if that is known, from which follows the size of its parts. */
  length: number | null;
  /** Digests that it must have. */
  expected: Expected[];
}

/** How long a request can take to commit what it has reserved; nothing removes it earlier. */
const RESERVED_MS = 24 * 60 * 60 * 1000;

export const newBlobKey = (id: string) => `files/${id}/${uuidv7()}`;

/** Rejects, leaving nothing behind, if the chunks do, or if they are not the expected ones. */
export async function writeBlob(env: Env, { id, chunks, length, expected }: Incoming): Promise<StoredBlob> {
  const blob = newBlobKey(id);
  const reserve = async (uploadId: string | null) =>
    retry(
      async () => catalogueOf(env, id).reserve(blob, uploadId, Date.now() + RESERVED_MS),
      RESTART_PAUSES_MS,
    );
  // While the first bytes come in.
  const reserved = reserve(null);
  reserved.catch(() => {});
  const digests = new Digests(expected);
  let size = 0;
  let upload: MultipartWriter | undefined;
  try {
    for await (const { part, isLast } of intoParts(chunks, partSizeFor(length))) {
      digests.update(part);
      size += part.length;
      if (!upload && !isLast) {
        await reserved;
        upload = await MultipartWriter.create(env.FILES, blob);
        await reserve(upload.id);
      }
      // Not sent at all, if it is not what it should be.
      const sha256 = isLast ? digests.finish() : undefined;
      await reserved;
      if (!upload) await env.FILES.put(blob, part);
      else await upload.write(part);
      if (sha256 !== undefined) {
        await upload?.complete();
        return { id, blob, size, sha256 };
      }
    }
    throw new Error("there is always a last part");
  } catch (error) {
    await upload?.abort();
    // Else it might be reserved after it was discarded.
    await Promise.allSettled([reserved]);
    await discardBlob(env, { id, blob });
    log("info", "upload abandoned, and nothing of it kept", { fileId: id, error: describeError(error) });
    throw error;
  }
}

/** Takes away bytes that will not be a file's. What fails here, the catalogue does later. */
export async function discardBlob(env: Env, { id, blob }: Pick<StoredBlob, "id" | "blob">): Promise<void> {
  await Promise.allSettled([
    env.FILES.delete(blob),
    retry(async () => catalogueOf(env, id).discard(blob), RESTART_PAUSES_MS),
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
    return new MultipartWriter(await bucket.createMultipartUpload(key));
  }

  get id(): string {
    return this.#upload.uploadId;
  }

  /** Resolves when the part before this one has been taken. */
  async write(part: Uint8Array): Promise<void> {
    const before = await this.#sent;
    this.#sent = this.#upload.uploadPart(before.length + 1, part).then((sent) => [...before, sent]);
    // Whoever writes, completes or aborts next will see a failure; until then it is not unhandled.
    this.#sent.catch(() => {});
  }

  async complete(): Promise<void> {
    await this.#upload.complete(await this.#sent);
  }

  async abort(): Promise<void> {
    await Promise.allSettled([this.#sent]);
    await Promise.allSettled([this.#upload.abort()]);
  }
}
