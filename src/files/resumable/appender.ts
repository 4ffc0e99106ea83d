/**
 * Appends bytes to an upload session: from a request's body, into parts in R2 and a tail in the object's storage.
 *
 * Bytes are hashed and collected into a part. A full part is sent to R2 while the next is being filled, and once R2
 * has it, the session's offset moves to its end. What remains when the body ends becomes the tail. An append with
 * digests commits nothing until all of it has arrived and matches. If it does not match, later bytes replace the
 * parts that were already sent to R2.
 */
import { Problem } from "../../kernel/problem.ts";
import { retry } from "../../kernel/retry.ts";
import { span } from "../../kernel/spans.ts";
import { READ_SIZE } from "../store/body.ts";
import { HEAD_SIZE, HeadCheck } from "../store/content.ts";
import { Digests, type ExpectedDigest } from "../store/digests.ts";
import { type Share, uploadMemory } from "../store/memory-budget.ts";
import { PartBuffer } from "../store/parts.ts";
import { type BodyEnd, expiryOf } from "./append-rules.ts";
import type { HashMemory, RunningHash } from "./running-hash.ts";
import type { SessionRecord, SessionStorage } from "./session-storage.ts";

/** When R2 rejects a part, it is sent again after these pauses. */
const PART_RETRY_PAUSES_MS = [200, 1_000];

/** The bytes are not of the type that the upload must be of. */
export class UnfitContent extends Error {
  override readonly name = "UnfitContent";
  readonly by: string;

  constructor(why: string, by: string) {
    super(why);
    this.by = by;
  }
}

/** Opens the multipart upload with this id, or a new one. */
type OpenMultipart = (uploadId: string | null) => Promise<R2MultipartUpload>;

export class Appender {
  readonly #storage: SessionStorage;
  readonly #open: OpenMultipart;
  /** Of the bytes of this request; null if it has none to verify. */
  readonly #digests: Digests | null;
  /** The session as it is stored. */
  #committed: SessionRecord;
  /** The values that include the bytes since then. */
  #offset: number;
  #partCount: number;
  readonly #hash: RunningHash | null;
  readonly #memory: HashMemory;
  #part: PartBuffer;
  /** The part that is on its way to R2. */
  #sent: PartBuffer | undefined;
  /** Of an upload whose bytes must be of its type, until there are enough of them to say that they are. */
  readonly #head: HeadCheck | undefined;
  #unfit: UnfitContent | undefined;
  /** When bytes arrived last: a request that is stuck does not keep its upload alive. */
  #lastByteAtMs = Date.now();
  /** How many bytes of the part are stored as the tail. */
  #committedTail: number;
  #sending: Promise<unknown> = Promise.resolve();
  /** Parts that R2 has and that wait until the digests are verified. */
  readonly #heldParts: R2UploadedPart[] = [];
  /** Of the memory, for its buffers. */
  readonly #shares: Share[] = [];

  /**
   * As the constructor, once there is memory for its bytes. The caller must hold none, and must close it. If it is
   * `stopped` while it waits, it has no memory, and must not be given any bytes.
   */
  static async open(
    stopped: AbortSignal,
    ...args: ConstructorParameters<typeof Appender>
  ): Promise<Appender> {
    const [, { offset, partCount, partSize }, , , , contentLength] = args;
    const tail = offset - partCount * partSize;
    const buffer = Math.min(partSize, tail + (contentLength ?? partSize));
    const share = await uploadMemory.take(buffer + READ_SIZE, stopped);
    try {
      const appender = new Appender(...args);
      appender.#shares.push(share);
      return appender;
    } catch (error) {
      share.release();
      throw error;
    }
  }

  constructor(
    storage: SessionStorage,
    record: SessionRecord,
    memory: HashMemory,
    open: OpenMultipart,
    expected: ExpectedDigest[],
    /** How many bytes will arrive, if that is known. */
    contentLength: number | null,
  ) {
    this.#storage = storage;
    this.#open = open;
    this.#digests = expected.length > 0 ? new Digests(expected, []) : null;
    this.#committed = record;
    this.#offset = record.offset;
    this.#partCount = record.partCount;
    this.#memory = memory;
    this.#hash = memory.resume(record);
    this.#part = new PartBuffer(record.partSize, Math.min(record.partSize, contentLength ?? READ_SIZE));
    for (const block of storage.tailBlocks()) this.#part.fill(block);
    this.#committedTail = this.#part.length;
    if (record.fitsBy !== undefined && record.offset < HEAD_SIZE) {
      this.#head = new HeadCheck(record.contentType);
      this.#head.update(this.#part.bytes);
    }
  }

  /** Includes all bytes that arrived, committed or not. */
  get offset(): number {
    return this.#offset;
  }

  /**
   * Adds bytes; the chunk may be reused afterwards. Rejects if R2 does not accept a part, and with `UnfitContent`. Bytes
   * that have a digest are judged when that is known to be right (`checkContent`).
   */
  async append(chunk: Uint8Array): Promise<void> {
    this.#digests?.update(chunk);
    this.#judge(chunk);
    if (!this.#digests) this.checkContent();
    this.#lastByteAtMs = Date.now();
    for (let left = chunk; left.length > 0; ) {
      const rest = this.#part.fill(left);
      if (rest.length === left.length) throw new RangeError("more bytes than the upload has");
      const taken = left.subarray(0, left.length - rest.length);
      this.#hash?.update(taken);
      this.#offset += taken.length;
      left = rest;
      // The part that completes the upload waits for `commit`: the bytes after it may get the request rejected.
      if (this.#part.isFull && this.#offset !== this.#committed.length) await this.#send();
    }
  }

  /** Throws `UnfitContent` if so many bytes have arrived that they are known not to be of their type. */
  checkContent(): void {
    if (this.#unfit) throw this.#unfit;
  }

  #judge(chunk: Uint8Array): void {
    const why = this.#head?.update(chunk);
    if (why !== undefined) this.#unfit = new UnfitContent(why, this.#committed.fitsBy ?? "");
  }

  /** A digest of the request that its bytes do not have, if there is one. To be called once, after all of them. */
  wrongDigest(): ExpectedDigest | undefined {
    return this.#digests?.end().wrong;
  }

  /** The session including all bytes that have arrived. */
  get state(): SessionRecord {
    return {
      ...this.#committed,
      offset: this.#offset,
      partCount: this.#partCount,
      hash: this.#hash?.stored ?? this.#committed.hash,
    };
  }

  /** Stores everything that has arrived: from now on it is acknowledged. Returns the session as it is then. */
  async commit(change: Pick<SessionRecord, "phase" | "length">): Promise<SessionRecord> {
    if (this.#part.isFull) await this.#send();
    await this.#sending;
    const record = this.#touch({ ...this.state, ...change });
    const parts = this.#heldParts.splice(0);
    this.#committed = this.#storage.saveAll(record, parts, this.#part.bytes, this.#committedTail);
    this.#committedTail = this.#part.length;
    this.#remember(record, this.#hash?.copy());
    return this.#committed;
  }

  /** Waits until nothing is under way that could still write to the session. */
  async settle(): Promise<void> {
    await Promise.allSettled([this.#sending]);
  }

  /** As `settle`, and frees the memory. Nothing can be appended afterwards. */
  async close(): Promise<void> {
    await this.settle();
    this.#part = new PartBuffer(0);
    this.#sent = undefined;
    for (const share of this.#shares.splice(0)) share.release();
  }

  async #send(): Promise<void> {
    // At most one part is on its way while another is filled; the two buffers take turns.
    await this.#sending;
    const { bytes } = this.#part;
    const partNumber = ++this.#partCount;
    this.#sending = this.#upload(partNumber, bytes, this.state, this.#hash?.copy());
    // Whoever awaits it next sees a failure. Until then it must not count as unhandled.
    this.#sending.catch(() => {});
    const other = this.#sent?.emptied() ?? this.#secondBuffer();
    if (other) {
      [this.#part, this.#sent] = [other, this.#part];
    } else {
      await this.#sending;
      this.#part.emptied();
    }
  }

  /** Undefined if there is no memory for it now. */
  #secondBuffer(): PartBuffer | undefined {
    const { partSize } = this.#committed;
    const share = uploadMemory.takeNow(partSize);
    if (!share) return undefined;
    this.#shares.push(share);
    return new PartBuffer(partSize, partSize);
  }

  /** Sends a part and commits it, unless digests must be verified first. */
  async #upload(
    partNumber: number,
    bytes: Uint8Array,
    record: SessionRecord,
    hash: RunningHash | undefined,
  ): Promise<void> {
    const multipart = await this.#open(this.#committed.uploadId);
    if (multipart.uploadId !== this.#committed.uploadId) {
      // Only the id is stored, and before the multipart upload has any parts, so that it can be found again.
      this.#committed = { ...this.#committed, uploadId: multipart.uploadId };
      const stored = this.#storage.load();
      if (stored) this.#storage.save({ ...stored, uploadId: multipart.uploadId });
    }
    const attributes = { "sluice.part": partNumber, "sluice.bytes": bytes.length };
    const part = await span("upload part", { attributes }, async () =>
      retry(async () => multipart.uploadPart(partNumber, bytes), PART_RETRY_PAUSES_MS),
    );
    if (this.#digests) {
      this.#heldParts.push(part);
    } else {
      this.#committed = this.#storage.saveParts(this.#touch(record), [part]);
      this.#remember(record, hash);
    }
    this.#committedTail = 0;
  }

  /** A hash whose state the record has needs no memory. */
  #remember({ offset, hash: stored }: SessionRecord, hash: RunningHash | undefined): void {
    if (hash && stored === "in memory") this.#memory.keep(offset, hash);
  }

  /** The record with its new expiry, as the state that counts as stored. */
  #touch(record: SessionRecord): SessionRecord {
    const { uploadId } = this.#committed;
    this.#committed = {
      ...record,
      uploadId,
      expiresAtMs: expiryOf(record.createdAtMs, this.#lastByteAtMs),
    };
    return this.#committed;
  }
}

/**
 * Appends the chunks, until the upload has `maxLength` bytes, or `maxContent` more; returns how they ended. If they are
 * fewer than the `contentLength` bytes that were announced, they broke off, whatever the stream says.
 */
export async function appendBody(
  appender: Appender,
  {
    maxLength,
    maxContent = Number.POSITIVE_INFINITY,
    contentLength,
  }: { maxLength: number; maxContent?: number | undefined; contentLength: number | null },
  chunks: AsyncIterable<Uint8Array>,
  stopped: AbortSignal,
): Promise<BodyEnd> {
  const announced = appender.offset + (contentLength ?? 0);
  const lastOffset = Math.min(maxLength, appender.offset + maxContent);
  try {
    for await (const chunk of chunks) {
      const room = lastOffset - appender.offset;
      await appender.append(chunk.subarray(0, room));
      if (chunk.length > room) return lastOffset === maxLength ? "overflow" : "too-much";
    }
    if (stopped.aborted) return "preempted";
    return appender.offset < announced ? "interrupted" : "ended";
  } catch (error) {
    if (stopped.aborted) return "preempted";
    if (error instanceof Problem) return "interrupted";
    throw error;
  }
}
