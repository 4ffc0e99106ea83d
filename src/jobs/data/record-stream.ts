/**
 * Bytes that come in chunks, given on as whole records; constant memory, whatever comes.
 *
 * Invariant: `offset` bytes have been read to their end, and are gone. The records depend on the bytes alone and not on
 * the chunks in which they come, so an analysis that is repeated from a checkpoint sees the same ones.
 */
import { LF } from "./csv-scanner.ts";
import { PADDING_BYTES } from "./hashing.ts";

/** A longer record is malformed. */
export const MAX_RECORD_BYTES = 1024 * 1024;
/** What is pushed at once, at most. */
export const MAX_PUSH_BYTES = 256 * 1024;
/** Fewer bytes are not worth a look. */
const MIN_PENDING_BYTES = 128 * 1024;
const MAX_BYTES = MAX_RECORD_BYTES + MIN_PENDING_BYTES + 2 * MAX_PUSH_BYTES;

export interface RecordReader {
  /**
   * Reads the record that begins at `start`, and returns where the next one begins; -1 if its end is not there yet. There
   * is a line feed after the last byte, and `PADDING_BYTES` after that. `offset` is that of `start` in the stream. When more than `MAX_RECORD_BYTES` are
   * there it must not return -1, nor when `isLast`.
   */
  readRecord(bytes: Uint8Array, start: number, end: number, isLast: boolean, offset: number): number;
  /** Called before records are read: since the last time, the bytes may have moved and become more. */
  load?(bytes: Uint8Array<ArrayBuffer>): void;
  /** Called after records were read: what is still needed of their bytes must be taken now. */
  flush?(): void;
}

export class RecordStream {
  readonly #bytes = new Uint8Array(MAX_BYTES + 1 + PADDING_BYTES);
  readonly #reader: RecordReader;
  #start = 0;
  #end = 0;
  /** How many bytes must be there before it is worth looking for the end of a record again. */
  #wantedBytes = MIN_PENDING_BYTES;
  offset: number;

  constructor(reader: RecordReader, offset: number) {
    this.#reader = reader;
    this.offset = offset;
  }

  /** At most `MAX_PUSH_BYTES`. */
  push(chunk: Uint8Array): void {
    if (this.#end + chunk.length > MAX_BYTES) {
      this.#bytes.copyWithin(0, this.#start, this.#end);
      this.#end -= this.#start;
      this.#start = 0;
    }
    this.#bytes.set(chunk, this.#end);
    this.#end += chunk.length;
    this.#bytes[this.#end] = LF;
  }

  /** Reads records up to the first that begins at `limit` or after it: then it is true. `isLast`: no more bytes come. */
  read(limit: number, isLast: boolean): boolean {
    if (!isLast && this.#end - this.#start < this.#wantedBytes) return false;
    this.#reader.load?.(this.#bytes);
    const isAtLimit = this.#readRecords(limit, isLast);
    this.#reader.flush?.();
    const pending = this.#end - this.#start;
    this.#wantedBytes = Math.min(
      Math.max(MIN_PENDING_BYTES, 2 * pending),
      MAX_RECORD_BYTES + MIN_PENDING_BYTES,
    );
    return isAtLimit;
  }

  #readRecords(limit: number, isLast: boolean): boolean {
    while (this.#start < this.#end) {
      if (this.offset >= limit) return true;
      const next = this.#reader.readRecord(this.#bytes, this.#start, this.#end, isLast, this.offset);
      if (next < 0) break;
      this.offset += next - this.#start;
      this.#start = next;
    }
    return false;
  }
}
