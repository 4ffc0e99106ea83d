/**
 * Writing a stream of unknown length to R2, and reading it back.
 *
 * The bytes are gathered into parts of equal size, as a multipart upload asks; at most two are in memory, the one
 * being filled and the one being sent. A stream that ends within its first part is a single put. Nothing shows
 * before the record is written; if anything fails before, what has been sent is taken away again.
 */
import { createHash } from "node:crypto";
import { v7 as uuidv7 } from "uuid";
import { type FileRecord, recordKey, recordSchema, toMetadata } from "./schema.ts";

/** In bytes; the least that R2 takes. 10,000 of them make 48.8 GiB. */
export const PART_SIZE = 5 * 1024 * 1024;

export interface FileToStore {
  filename: string;
  contentType: string;
  chunks: AsyncIterable<Uint8Array>;
}

/** Stores a file under a new id. Rejects, leaving nothing behind, if the chunks do. */
export async function storeFile(bucket: R2Bucket, file: FileToStore): Promise<{ id: string } & FileRecord> {
  const id = uuidv7();
  const blobKey = `blobs/${id}`;
  const hash = createHash("sha256");
  let size = 0;
  let upload: MultipartWriter | undefined;
  try {
    let last = new Uint8Array(0);
    for await (const { part, isLast } of intoParts(file.chunks)) {
      hash.update(part);
      size += part.length;
      if (isLast) last = part;
      else await (upload ??= await MultipartWriter.create(bucket, blobKey)).write(part);
    }
    await upload?.complete(last);
    const record: FileRecord = {
      filename: file.filename,
      contentType: file.contentType,
      size,
      sha256: hash.digest("hex"),
    };
    if (upload) record.blob = blobKey;
    await bucket.put(recordKey(id), upload ? new Uint8Array(0) : last, {
      customMetadata: toMetadata(record),
    });
    return { id, ...record };
  } catch (error) {
    // The record too: when its put fails, it may have been written all the same.
    await Promise.allSettled([upload?.remove(), bucket.delete(recordKey(id))]);
    throw error;
  }
}

/** The record of a file, or undefined if there is none. */
export async function findFile(bucket: R2Bucket, id: string): Promise<FileRecord | undefined> {
  const object = await bucket.head(recordKey(id));
  return object ? recordSchema.parse(object.customMetadata) : undefined;
}

/** The bytes of a file. */
export async function openFile(
  bucket: R2Bucket,
  id: string,
  record: FileRecord,
): Promise<ReadableStream | undefined> {
  return (await bucket.get(record.blob ?? recordKey(id)))?.body;
}

export async function removeFile(bucket: R2Bucket, id: string): Promise<void> {
  await bucket.delete(recordKey(id));
  await bucket.delete(`blobs/${id}`);
}

/** Cuts a stream into parts of exactly `PART_SIZE`, and a last one that is shorter, or equal, or empty. */
async function* intoParts(chunks: AsyncIterable<Uint8Array>) {
  let gathered: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of chunks) {
    let rest = chunk;
    while (length + rest.length > PART_SIZE) {
      const cut = PART_SIZE - length;
      const part = Buffer.concat([...gathered, rest.subarray(0, cut)]);
      // Before the part is handed on, so that its bytes are in memory once.
      gathered = [];
      length = 0;
      rest = rest.subarray(cut);
      yield { part, isLast: false };
    }
    gathered.push(rest);
    length += rest.length;
  }
  yield { part: Buffer.concat(gathered), isLast: true };
}

/** A multipart upload that sends one part while the next is being filled. */
class MultipartWriter {
  readonly #bucket: R2Bucket;
  readonly #upload: R2MultipartUpload;
  #sent: Promise<R2UploadedPart[]> = Promise.resolve([]);

  constructor(bucket: R2Bucket, upload: R2MultipartUpload) {
    this.#bucket = bucket;
    this.#upload = upload;
  }

  static async create(bucket: R2Bucket, key: string): Promise<MultipartWriter> {
    return new MultipartWriter(bucket, await bucket.createMultipartUpload(key));
  }

  /** Resolves when the part before this one has been taken. */
  async write(part: Uint8Array): Promise<void> {
    const before = await this.#sent;
    this.#sent = this.#upload.uploadPart(before.length + 1, part).then((sent) => [...before, sent]);
    // Whoever writes, completes or removes next will see a failure; until then it is not unhandled.
    this.#sent.catch(() => {});
  }

  async complete(last: Uint8Array): Promise<void> {
    await this.write(last);
    await this.#upload.complete(await this.#sent);
  }

  /** Takes away whatever there is: the parts, or the object if it was complete already. */
  async remove(): Promise<void> {
    await Promise.allSettled([this.#sent]);
    await Promise.allSettled([this.#upload.abort()]);
    await this.#bucket.delete(this.#upload.key);
  }
}
