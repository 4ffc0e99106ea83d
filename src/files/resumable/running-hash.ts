/**
 * The sha256 over all bytes of an upload so far.
 *
 * The platform's own hash is several times as fast as any whose state can be stored. So the object of an upload keeps it
 * in memory, from one request to the next. When the object is started anew in between, the hash is lost, and what
 * it had seen is read back from R2 once the upload is complete there: rare, and still less work than a hash in
 * JavaScript would be.
 *
 * A record says how its hash is kept, and a way that is not known is an error: read wrongly, it would make a wrong sha256
 * of right bytes. Version 1, of the releases before, has the state of @stablelib/sha256; it goes on as it began.
 */

import { createHash, type Hash } from "node:crypto";
import { type SavedState, SHA256 } from "@stablelib/sha256";
import { readChunks } from "../store/body.ts";

const STATE = 1;
const MEMORY = 2;

export interface StoredHash {
  /** Null for an upload whose bytes are not hashed; all other ways of version 2 are errors to code that knows only 1. */
  hash: SavedState | "in memory" | "not hashed" | null;
  /** Missing in records of 0.1.0, which have version 1. */
  hashVersion?: number;
}

interface HashedRecord extends StoredHash {
  /** How many bytes have been stored. */
  offset: number;
}

export const beginHash = (isHashed: boolean): Required<StoredHash> => ({
  hash: isHashed ? "in memory" : "not hashed",
  hashVersion: MEMORY,
});

export interface RunningHash {
  update(bytes: Uint8Array): void;
  copy(): RunningHash;
  /** Hexadecimal. It can be asked several times. */
  digest(): string;
  /** What the record stores of it. */
  readonly stored: StoredHash["hash"];
}

class NativeHash implements RunningHash {
  readonly stored = "in memory";
  readonly #hash: Hash;

  constructor(hash = createHash("sha256")) {
    this.#hash = hash;
  }

  update(bytes: Uint8Array): void {
    this.#hash.update(bytes);
  }

  copy(): NativeHash {
    return new NativeHash(this.#hash.copy());
  }

  digest(): string {
    return this.#hash.copy().digest("hex");
  }
}

class StoredStateHash implements RunningHash {
  readonly #hash: SHA256;

  constructor(state: SavedState) {
    this.#hash = new SHA256().restoreState(state);
  }

  get stored(): SavedState {
    return this.#hash.saveState();
  }

  update(bytes: Uint8Array): void {
    this.#hash.update(bytes);
  }

  copy(): StoredStateHash {
    return new StoredStateHash(this.stored);
  }

  digest(): string {
    return Buffer.from(new SHA256().restoreState(this.stored).digest()).toString("hex");
  }
}

/** In bytes; what is read back in one go costs some seconds of CPU, of which the platform gives a request 30. */
const MAX_READ_BACK = 8 * 1024 * 1024 * 1024;

/** What the object of one upload remembers of its hash. */
export class HashMemory {
  readonly #maxReadBack: number;
  #hash: RunningHash = new NativeHash();
  /** How many bytes of the upload it has seen. */
  #offset = 0;

  constructor(maxReadBack = MAX_READ_BACK) {
    this.#maxReadBack = maxReadBack;
  }

  /**
   * The hash of all bytes that are stored, to go on with; null if the bytes are not hashed, or it is lost. Throws an
   * `Error` if the record is of a later version: then only code of that version can go on.
   */
  resume(record: HashedRecord): RunningHash | null {
    const { hash, hashVersion = STATE, offset } = record;
    if (hash === null || hash === "not hashed") return null;
    if (hashVersion === STATE && typeof hash === "object") return new StoredStateHash(hash);
    if (hashVersion === MEMORY) return offset === this.#offset ? this.#hash.copy() : null;
    throw new Error(
      `The hash of this upload has version ${hashVersion}, and this release of Sluice reads ${MEMORY}: ` +
        "deploy the release that began the upload.",
    );
  }

  /** Remembers the hash of the first `offset` bytes, which are stored. It must not change afterwards. */
  keep(offset: number, hash: RunningHash): void {
    this.#offset = offset;
    this.#hash = hash;
  }

  /** Another upload begins in this object. */
  forget(): void {
    this.keep(0, new NativeHash());
  }

  /** The sha256 of all bytes, hexadecimal; null if they are not hashed; undefined if it is lost. */
  digest(record: HashedRecord): string | null | undefined {
    const hash = this.resume(record);
    if (hash) return hash.digest();
    return record.hash === "in memory" ? undefined : null;
  }

  /**
   * The sha256, after reading what it lacks from R2, which must have all bytes. Undefined if that was too much at once:
   * it goes on with the next call.
   */
  async readBack(bucket: R2Bucket, blob: string, record: HashedRecord): Promise<string | undefined> {
    if (this.#offset > record.offset) this.forget();
    const length = Math.min(record.offset - this.#offset, this.#maxReadBack);
    if (length > 0) await this.#read(bucket, blob, length);
    return this.#offset === record.offset ? this.#hash.digest() : undefined;
  }

  async #read(bucket: R2Bucket, blob: string, length: number): Promise<void> {
    const end = this.#offset + length;
    const object = await bucket.get(blob, { range: { offset: this.#offset, length } });
    for await (const chunk of readChunks(object?.body ?? null)) {
      this.#hash.update(chunk);
      this.#offset += chunk.length;
    }
    if (this.#offset !== end) throw new Error(`R2 has only ${this.#offset} of the bytes up to ${end}`);
  }
}
