/**
 * What an upload session stores in its object's key-value storage:
 *
 *     session       the record below; it has the ETags of the latest parts that R2 has
 *     parts/000     the ETags of the first 64 parts
 *     tail/0        the bytes after the last part, in blocks of 1.75 MiB
 *     pin/<id>      of a partial upload: a final upload that needs its bytes, and until when they are kept for it
 *
 * Each key that is written or deleted costs, and its size does not: so they are few. Uploads that began with an earlier
 * release have a key part/00001 for each part, and blocks of 256 KiB, and keep them.
 *
 * Code of several versions may take turns with it. So a record keeps members that it does not know, gets new ones only
 * with a meaning for where they are missing, and says which version of the hash's state it has (running-hash.ts).
 *
 * Offset, parts and tail change together, in one transaction. Pins come and go while an append is under way, which
 * writes the record: so they are not in it.
 */
import { newBlobKey } from "../store/blob-writer.ts";
import type { ByteLimits } from "../store/byte-quota.ts";
import { partSizeFor } from "../store/parts.ts";
import type { Origin } from "../store/uploader.ts";
import {
  expiryOf,
  type Lifetime,
  MAX_LIFETIME_MS,
  type Piece,
  type Pins,
  type Progress,
} from "./append-rules.ts";
import { beginHash, type StoredHash } from "./running-hash.ts";

export interface SessionRecord extends Progress, Lifetime, StoredHash {
  id: string;
  /** The one in which it was created. Requests that name none are answered in this one. */
  protocol: "tus" | "ietf";
  filename: string;
  contentType: string;
  /** In seconds, from its completion on; null: the file does not expire. */
  expiresIn: number | null;
  /** A task type to start when the upload is complete. */
  task: string | null;
  /** Of a draft: the file that it is made from, and the task that makes it. Missing in records of earlier versions. */
  source?: string | null;
  sourceTask?: string | null;
  /** Who uploads it. Missing in drafts, and in records of earlier versions. */
  origin?: Origin;
  /** The quotas of stored bytes that hold for it. Missing without any, and in records of earlier versions. */
  byteLimits?: ByteLimits;
  /** What wants the bytes to be of `contentType`. Missing if nothing does, and in records of earlier versions. */
  fitsBy?: string;
  /** What its rule wants before the file is seen. Missing if nothing, and in records of earlier versions. */
  check?: string;
  /** Of a final upload, if a rule says so: how many bytes it can have. */
  maxBytes?: number;
  /** The sha256 that the whole must have, hexadecimal, and the header it came in. */
  expected: { sha256: string; header: string } | null;
  /** `Upload-Metadata` and `Upload-Concat` of the creation; tus returns both. */
  metadata: string | null;
  concat: string | null;
  /** For a final upload: the ids of its partial uploads, in their order. */
  sources: string[];
  /** What it knows about them, by their ids. */
  pieces: Record<string, Piece>;

  blob: string;
  partSize: number;
  partCount: number;
  uploadId: string | null;
  /** Of the parts after the last 64 that have a key of their own. Missing in uploads of 0.1.0. */
  etags?: string[];
  /** Hexadecimal, once the upload is complete in R2. */
  sha256: string | null;
  taskId: string | null;
}

/** What the creation of an upload determines. */
export type UploadSpec = Pick<
  SessionRecord,
  | "id"
  | "protocol"
  | "kind"
  | "length"
  | "endsAtLength"
  | "filename"
  | "contentType"
  | "expiresIn"
  | "task"
  | "source"
  | "sourceTask"
  | "origin"
  | "byteLimits"
  | "fitsBy"
  | "maxBytes"
  | "check"
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
  // A final upload may wait for its partials all that time.
  expiresAtMs: spec.kind === "final" ? nowMs + MAX_LIFETIME_MS : expiryOf(nowMs, nowMs),
  blob: newBlobKey(spec.id),
  partSize: partSizeFor(spec.length),
  partCount: 0,
  uploadId: null,
  etags: [],
  // A partial upload does not become a file: its bytes are hashed only if there is a digest to verify.
  ...beginHash(spec.kind !== "partial" || spec.expected !== null),
  sha256: null,
  taskId: null,
  pieces: {},
});

/** In bytes. One value can have 2 MB. */
const BLOCK_SIZE = 1792 * 1024;
const OLD_BLOCK_SIZE = 256 * 1024;
/** How many ETags one key has. */
const GROUP_SIZE = 64;

const groupKey = (group: number) => `parts/${String(group).padStart(3, "0")}`;
const oldPartKey = (number: number) => `part/${String(number).padStart(5, "0")}`;
const tailKey = (block: number) => `tail/${block}`;
const PIN = "pin/";

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

  /**
   * Stores parts that R2 has, the last ones of the record, and returns the record as it is then. The first of them
   * contains the bytes of the tail, so the tail is deleted.
   */
  saveParts(record: SessionRecord, parts: R2UploadedPart[]): SessionRecord {
    return this.#storage.transactionSync(() => {
      const saved = this.#addParts(record, parts);
      this.save(saved);
      if (parts.length > 0) this.#deleteTail();
      return saved;
    });
  }

  /** Stores parts that R2 has, if any, and the bytes after them, of which `storedBytes` are stored already. */
  saveAll(
    record: SessionRecord,
    parts: R2UploadedPart[],
    tail: Uint8Array,
    storedBytes: number,
  ): SessionRecord {
    const size = record.etags ? BLOCK_SIZE : OLD_BLOCK_SIZE;
    return this.#storage.transactionSync(() => {
      const saved = this.saveParts(record, parts);
      for (let block = Math.floor(storedBytes / size); block * size < tail.length; block++) {
        this.#storage.kv.put(tailKey(block), tail.slice(block * size, (block + 1) * size));
      }
      return saved;
    });
  }

  #addParts(record: SessionRecord, parts: R2UploadedPart[]): SessionRecord {
    const { kv } = this.#storage;
    if (!record.etags) {
      for (const { partNumber, etag } of parts) kv.put(oldPartKey(partNumber), etag);
      return record;
    }
    let { etags } = record;
    for (const { partNumber, etag } of parts) {
      const index = (partNumber - 1) % GROUP_SIZE;
      etags = [...etags.slice(0, index), etag];
      if (etags.length === GROUP_SIZE) kv.put(groupKey(Math.floor((partNumber - 1) / GROUP_SIZE)), etags);
    }
    return { ...record, etags };
  }

  /** The tail, block by block, so that its reader holds it once only. */
  *tailBlocks(): Generator<Uint8Array> {
    for (let block = 0; ; block++) {
      const bytes = this.#storage.kv.get<Uint8Array>(tailKey(block));
      if (bytes === undefined) return;
      yield bytes;
    }
  }

  loadParts(): R2UploadedPart[] {
    const { kv } = this.#storage;
    const old = [...kv.list<string>({ prefix: "part/" })].map(([, etag]) => etag);
    const groups = [...kv.list<string[]>({ prefix: "parts/" })].flatMap(([, etags]) => etags);
    const { etags: latest = [] } = this.load() ?? {};
    const etags = [...old, ...groups, ...(latest.length < GROUP_SIZE ? latest : [])];
    return etags.map((etag, i) => ({ partNumber: i + 1, etag }));
  }

  loadPins(): Pins {
    const pins = this.#storage.kv.list<number>({ prefix: PIN });
    return new Map([...pins].map(([key, untilMs]) => [key.slice(PIN.length), untilMs]));
  }

  savePin(holder: string, untilMs: number): void {
    this.#storage.kv.put(PIN + holder, untilMs);
  }

  deletePins(holders: Iterable<string>): void {
    for (const holder of holders) this.#storage.kv.delete(PIN + holder);
  }

  /** Stores only the record: parts and tail are not needed once R2 has the whole. */
  saveCompleted(record: SessionRecord): void {
    const { kv } = this.#storage;
    this.#storage.transactionSync(() => {
      this.save(record.etags ? { ...record, etags: [] } : record);
      this.#deleteTail();
      // "part/" or "parts/", all of them before the first is deleted.
      const keys = [...kv.list({ prefix: "part" })].map(([key]) => key);
      for (const key of keys) kv.delete(key);
    });
  }

  #deleteTail(): void {
    for (let block = 0; this.#storage.kv.delete(tailKey(block)); block++);
  }
}
