/** A stream of bytes that can be read in pieces of any length, and put back: for formats that mix records and data. */
import { DamagedError } from "./huffman.ts";

export class ByteInput {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #buffer: Uint8Array = new Uint8Array();
  /** Of the next byte, in the file. */
  #position: number;

  constructor(chunks: AsyncIterable<Uint8Array>, position: number) {
    this.#chunks = chunks[Symbol.asyncIterator]();
    this.#position = position;
  }

  get position(): number {
    return this.#position;
  }

  /** All bytes that are at hand, or the next chunk; empty at the end. */
  async chunk(): Promise<Uint8Array> {
    await this.#fill(1);
    return this.#remove(this.#buffer.length);
  }

  /** Exactly so many bytes. Throws a `DamagedError` if the stream ends before. */
  async take(length: number): Promise<Uint8Array> {
    await this.#fill(length);
    if (this.#buffer.length < length) throw new DamagedError("it ends too early");
    return this.#remove(length);
  }

  /** Puts bytes back that were read last. */
  unread(bytes: Uint8Array): void {
    this.#buffer = Buffer.concat([bytes, this.#buffer]);
    this.#position -= bytes.length;
  }

  /** Ends the stream: nothing more is read. */
  async close(): Promise<void> {
    await this.#chunks.return?.();
  }

  async #fill(length: number): Promise<void> {
    while (this.#buffer.length < length) {
      const { done, value } = await this.#chunks.next();
      if (done) return;
      this.#buffer = this.#buffer.length === 0 ? value : Buffer.concat([this.#buffer, value]);
    }
  }

  #remove(length: number): Uint8Array {
    const bytes = this.#buffer.subarray(0, length);
    this.#buffer = this.#buffer.subarray(length);
    this.#position += length;
    return bytes;
  }
}
