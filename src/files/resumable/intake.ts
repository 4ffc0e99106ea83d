/**
 * Taking bytes into an upload session: from a request's body, into parts in R2 and a tail in the object's storage.
 *
 * Bytes are hashed and gathered into a part; a full part goes to R2 while the next is being filled, and once R2 has
 * it, the session's offset moves up to its end. What remains when the body ends becomes the tail. An addition with a
 * checksum is held: it moves nothing before all of it has come and is found to be right; parts that R2 was given too
 * early are replaced by those that come in their stead.
 */
import { createHash, type Hash } from "node:crypto";
import { SHA256 } from "@stablelib/sha256";
import { Problem } from "../../kernel/problem.ts";
import { retry } from "../../kernel/retry.ts";
import type { Expected } from "../store/digests.ts";
import { PartBuffer, READ_SIZE } from "../store/parts.ts";
import type { SessionRecord, SessionStorage } from "./record.ts";
import { type BodyEnd, expiryOf } from "./rules.ts";

/** A part that R2 refuses is sent again. */
const SEND_AGAIN_MS = [200, 1_000];

/** The multipart upload with this id, or a new one. */
type OpenMultipart = (uploadId: string | null) => Promise<R2MultipartUpload>;

export class Intake {
  readonly #storage: SessionStorage;
  readonly #open: OpenMultipart;
  readonly #checksum: { expected: Expected; hash: Hash } | null;
  /** As it is kept. */
  #kept: SessionRecord;
  /** As it will be, with the bytes that have come since. */
  #offset: number;
  #partCount: number;
  readonly #hash: SHA256 | null;
  #part: PartBuffer;
  /** Lent to R2 until it has taken it. */
  #sent: PartBuffer | undefined;
  /** When bytes came last: a request that is stuck does not keep its upload alive. */
  #heardAtMs = Date.now();
  /** How much of the part is kept as the tail. */
  #keptTail: number;
  #sending: Promise<unknown> = Promise.resolve();
  /** Sent, and held back because of a checksum. */
  readonly #held: R2UploadedPart[] = [];

  constructor(
    storage: SessionStorage,
    record: SessionRecord,
    open: OpenMultipart,
    expected: Expected | null,
    /** How much is to come, if that is known. */
    contentLength: number | null,
  ) {
    this.#storage = storage;
    this.#open = open;
    this.#checksum = expected && { expected, hash: createHash(expected.algorithm) };
    this.#kept = record;
    this.#offset = record.offset;
    this.#partCount = record.partCount;
    this.#hash = record.hash && new SHA256().restoreState(record.hash);
    this.#part = new PartBuffer(record.partSize, Math.min(record.partSize, contentLength ?? READ_SIZE));
    for (const block of storage.loadTail()) this.#part.fill(block);
    this.#keptTail = this.#part.length;
  }

  /** With all that has come, kept or not. */
  get offset(): number {
    return this.#offset;
  }

  /** Takes bytes; the chunk may be used again afterwards. Rejects if R2 does not take a part. */
  async take(chunk: Uint8Array): Promise<void> {
    this.#checksum?.hash.update(chunk);
    this.#heardAtMs = Date.now();
    for (let left = chunk; left.length > 0; ) {
      const rest = this.#part.fill(left);
      if (rest.length === left.length) throw new RangeError("more bytes than the upload has");
      const taken = left.subarray(0, left.length - rest.length);
      this.#hash?.update(taken);
      this.#offset += taken.length;
      left = rest;
      // The part that ends the upload waits for `keep`: what comes after it may have it refused.
      if (this.#part.isFull && this.#offset !== this.#kept.length) await this.#send();
    }
  }

  /** False if these are not the bytes that the checksum was sent for. */
  isRight(): boolean {
    if (!this.#checksum) return true;
    const { expected, hash } = this.#checksum;
    return hash.digest().equals(expected.value);
  }

  /** The session with all that has come so far. */
  get state(): SessionRecord {
    return {
      ...this.#kept,
      offset: this.#offset,
      partCount: this.#partCount,
      hash: this.#hash && this.#hash.saveState(),
    };
  }

  /** Keeps all that has come: from now on it is acknowledged. Gives the session as it is then. */
  async keep(change: Pick<SessionRecord, "phase" | "length">): Promise<SessionRecord> {
    if (this.#part.isFull) await this.#send();
    await this.#sending;
    const record = this.#stamp({ ...this.state, ...change });
    this.#storage.saveAll(record, this.#held.splice(0), this.#part.bytes, this.#keptTail);
    this.#keptTail = this.#part.length;
    return record;
  }

  /** Waits until nothing is under way any more that could write to the session. */
  async settle(): Promise<void> {
    await Promise.allSettled([this.#sending]);
  }

  async #send(): Promise<void> {
    // At most one is under way, beside the one that is being filled; and those two take turns.
    await this.#sending;
    const { bytes } = this.#part;
    const partNumber = ++this.#partCount;
    const { partSize } = this.#kept;
    [this.#part, this.#sent] = [this.#sent?.emptied() ?? new PartBuffer(partSize, partSize), this.#part];
    const record = this.state;
    this.#sending = this.#upload(partNumber, bytes, record);
    // Whoever awaits it next will see a failure; until then it is not unhandled.
    this.#sending.catch(() => {});
  }

  /** Sends a part, and keeps it, unless a checksum is to be awaited. */
  async #upload(partNumber: number, bytes: Uint8Array, record: SessionRecord): Promise<void> {
    const multipart = await this.#open(this.#kept.uploadId);
    if (multipart.uploadId !== this.#kept.uploadId) {
      // Before there are parts of it, so that it can be found again; and nothing else yet.
      this.#kept = { ...this.#kept, uploadId: multipart.uploadId };
      const stored = this.#storage.load();
      if (stored) this.#storage.save({ ...stored, uploadId: multipart.uploadId });
    }
    const part = await retry(async () => multipart.uploadPart(partNumber, bytes), SEND_AGAIN_MS);
    if (this.#checksum) {
      this.#held.push(part);
    } else {
      this.#storage.saveParts(this.#stamp(record), [part]);
    }
    this.#keptTail = 0;
  }

  #stamp(record: SessionRecord): SessionRecord {
    const { uploadId } = this.#kept;
    this.#kept = { ...record, uploadId, expiresAtMs: expiryOf(record.createdAtMs, this.#heardAtMs) };
    return this.#kept;
  }
}

/** Puts the chunks into the intake, up to `most` bytes of the whole; tells how they ended. */
export async function receive(
  intake: Intake,
  most: number,
  chunks: AsyncIterable<Uint8Array>,
  stopped: AbortSignal,
): Promise<BodyEnd> {
  try {
    for await (const chunk of chunks) {
      const room = most - intake.offset;
      await intake.take(chunk.subarray(0, room));
      if (chunk.length > room) return "overflow";
    }
    return stopped.aborted ? "preempted" : "ended";
  } catch (error) {
    if (stopped.aborted) return "preempted";
    if (error instanceof Problem) return "interrupted";
    throw error;
  }
}
