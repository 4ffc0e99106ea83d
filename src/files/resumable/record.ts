/**
 * What an upload session keeps, in its object's key-value storage:
 *
 *     session       the record below
 *     part/00001    the ETag of a part that R2 has
 *     tail/0        the bytes after the last part, in blocks of 256 KiB
 *
 * Offset, parts and tail change together, in one transaction.
 */
import { type SavedState, SHA256 } from "@stablelib/sha256";
import { newBlobKey } from "../store/blob.ts";
import { partSizeFor } from "../store/parts.ts";
import { expiryOf, type Lifetime, type Progress } from "./rules.ts";

export interface SessionRecord extends Progress, Lifetime {
  id: string;
  filename: string;
  contentType: string;
  /** Seconds from its completion on; null: the file stays. */
  expiresIn: number | null;
  /** A task type to start when it is complete. */
  task: string | null;
  /** The sha256 that the whole must have, hexadecimal, and the header that says so. */
  expected: { sha256: string; header: string } | null;
  /** The headers of the creation, as tus gives them back. */
  metadata: string | null;
  concat: string | null;
  /** The uploads that a final one is made of. */
  sources: string[];

  blob: string;
  partSize: number;
  partCount: number;
  uploadId: string | null;
  /** Of all the bytes so far; not kept for a partial upload, which is no file. */
  hash: SavedState | null;
  /** Hexadecimal, once it is sealed. */
  sha256: string | null;
  taskId: string | null;
}

/** What of it the creation says. */
export type UploadSpec = Pick<
  SessionRecord,
  | "id"
  | "kind"
  | "length"
  | "endsAtLength"
  | "filename"
  | "contentType"
  | "expiresIn"
  | "task"
  | "expected"
  | "metadata"
  | "concat"
  | "sources"
>;

export const newRecord = (spec: UploadSpec, nowMs: number): SessionRecord => ({
  ...spec,
  phase: "receiving",
  offset: 0,
  createdAtMs: nowMs,
  expiresAtMs: expiryOf(nowMs, nowMs),
  blob: newBlobKey(spec.id),
  partSize: partSizeFor(spec.length),
  partCount: 0,
  uploadId: null,
  // A partial upload is no file: its bytes are hashed only to be checked.
  hash: spec.kind === "partial" && !spec.expected ? null : new SHA256().saveState(),
  sha256: null,
  taskId: null,
  pins: {},
});

const BLOCK = 256 * 1024;

const partKey = (number: number) => `part/${String(number).padStart(5, "0")}`;
const tailKey = (block: number) => `tail/${block}`;

export class SessionStorage {
  readonly #storage: DurableObjectStorage;

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage;
  }

  load(): SessionRecord | undefined {
    return this.#storage.kv.get<SessionRecord>("session");
  }

  save(record: SessionRecord): void {
    this.#storage.kv.put("session", record);
  }

  /** Keeps parts that R2 has. The bytes of the tail are in the first of them. */
  saveParts(record: SessionRecord, parts: R2UploadedPart[]): void {
    const { kv } = this.#storage;
    this.#storage.transactionSync(() => {
      kv.put("session", record);
      for (const { partNumber, etag } of parts) kv.put(partKey(partNumber), etag);
      if (parts.length > 0) this.#deleteTail();
    });
  }

  /** Keeps parts that R2 has, if there are any, and the bytes after them, of which `kept` are kept already. */
  saveAll(record: SessionRecord, parts: R2UploadedPart[], tail: Uint8Array, kept: number): void {
    const { kv } = this.#storage;
    this.#storage.transactionSync(() => {
      this.saveParts(record, parts);
      for (let block = Math.floor(kept / BLOCK); block * BLOCK < tail.length; block++) {
        kv.put(tailKey(block), tail.slice(block * BLOCK, (block + 1) * BLOCK));
      }
    });
  }

  loadTail(): Uint8Array[] {
    const blocks: Uint8Array[] = [];
    for (let block = 0; ; block++) {
      const bytes = this.#storage.kv.get<Uint8Array>(tailKey(block));
      if (bytes === undefined) return blocks;
      blocks.push(bytes);
    }
  }

  loadParts(): R2UploadedPart[] {
    return [...this.#storage.kv.list<string>({ prefix: "part/" })].map(([key, etag]) => ({
      partNumber: Number(key.slice("part/".length)),
      etag,
    }));
  }

  /** Keeps the record alone: the rest is of no use once R2 has the whole. */
  saveSealed(record: SessionRecord): void {
    const { kv } = this.#storage;
    this.#storage.transactionSync(() => {
      kv.put("session", record);
      this.#deleteTail();
      for (let number = 1; number <= record.partCount + 1; number++) kv.delete(partKey(number));
    });
  }

  #deleteTail(): void {
    for (let block = 0; this.#storage.kv.delete(tailKey(block)); block++);
  }
}
