/**
 * The bytes of a text file from an offset on, as the readers of rows take them: unpacked if it is gzip, and in a charset
 * in which a delimiter is one byte, so UTF-16 becomes UTF-8.
 *
 * An offset is one of the unpacked bytes. Into gzip there is no way in but from the start, so what comes before the offset
 * is unpacked again and dropped.
 */
import { pipeline, Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { NonRetryableError } from "../../tasks/index.ts";
import { type Charset, isUtf16, settleCharset } from "./charset.ts";

const GUNZIP_CHUNK_BYTES = 64 * 1024;
/** Each run unpacks from the start again, at some 200 MB/s, and has 30 s of CPU time. */
const MAX_UNPACKED_BYTES = 2 * 1024 ** 3;

/** A stored file, in one version. */
export interface ByteSource {
  info: { size: number };
  /** The bytes from an offset on, to the end or for a length. */
  chunks(range?: { offset: number; length?: number }): AsyncIterable<Uint8Array>;
  /** The same; each chunk is valid only until the next is requested. */
  views(range?: { offset: number; length?: number }): AsyncIterable<Uint8Array>;
}

export class TextBytes {
  readonly #source: ByteSource;
  readonly #isGzip: boolean;
  #charset: Charset;
  readonly #maxUnpackedBytes: number;
  #readBytes = 0;

  /** `charset`: as far as it is known. */
  constructor(source: ByteSource, isGzip: boolean, charset: Charset, maxUnpackedBytes = MAX_UNPACKED_BYTES) {
    this.#maxUnpackedBytes = maxUnpackedBytes;
    this.#source = source;
    this.#isGzip = isGzip;
    this.#charset = charset;
  }

  /** Known for certain once the bytes have been read. */
  get charset(): Charset {
    return this.#charset;
  }

  /** How much of the stored bytes has been read, from 0 to 1. */
  get readRatio(): number {
    return Math.min(1, this.#readBytes / Math.max(1, this.#source.info.size));
  }

  /** Each chunk is valid only until the next is requested. */
  async *from(offset: number): AsyncGenerator<Uint8Array> {
    const raw = this.#isGzip ? gunzip(this.#stored(0), offset, this.#maxUnpackedBytes) : this.#stored(offset);
    if (isUtf16(this.#charset)) return yield* toUtf8(raw, this.#charset);
    for await (const chunk of raw) {
      if (this.#charset === "ascii") this.#charset = settleCharset(chunk) ?? "ascii";
      yield chunk;
    }
  }

  async *#stored(offset: number): AsyncGenerator<Uint8Array> {
    this.#readBytes = offset;
    if (offset >= this.#source.info.size) return;
    // What unpacks reads ahead, so its chunks must stay.
    const chunks = this.#isGzip ? this.#source.chunks({ offset }) : this.#source.views({ offset });
    for await (const chunk of chunks) {
      this.#readBytes += chunk.length;
      yield chunk;
    }
  }
}

class TooLongError extends Error {}

/**
 * Several gzip members one after the other are one file, which the platform's `DecompressionStream` refuses. Throws a
 * `NonRetryableError` for data that are not what gzip wrote.
 */
async function* gunzip(
  stored: AsyncIterable<Uint8Array>,
  offset: number,
  maxBytes: number,
): AsyncGenerator<Uint8Array> {
  const unpacking = createGunzip({ chunkSize: GUNZIP_CHUNK_BYTES });
  const packed = Readable.from(stored);
  let readFailure: unknown;
  packed.on("error", (error) => {
    readFailure = error;
  });
  // What fails ends `unpacking` too, and the loop below throws it.
  pipeline(packed, unpacking, () => {});
  let dropped = 0;
  let unpacked = 0;
  try {
    for await (const chunk of unpacking as AsyncIterable<Uint8Array>) {
      unpacked += chunk.length;
      if (unpacked > maxBytes) throw new TooLongError();
      const rest = chunk.subarray(Math.min(chunk.length, offset - dropped));
      dropped += chunk.length - rest.length;
      if (rest.length > 0) yield rest;
    }
  } catch (error) {
    if (readFailure !== undefined) throw readFailure;
    if (error instanceof TooLongError)
      throw new NonRetryableError(
        `It has more than ${maxBytes} bytes unpacked, and gzip can only be read from its start: unpack it first.`,
      );
    const message = error instanceof Error ? error.message : String(error);
    throw new NonRetryableError(`It cannot be unpacked: ${message}. Is the gzip file whole?`, {
      cause: error,
    });
  }
}

async function* toUtf8(chunks: AsyncIterable<Uint8Array>, charset: Charset): AsyncGenerator<Uint8Array> {
  const decoder = new TextDecoder(charset, { fatal: false, ignoreBOM: true });
  const encoder = new TextEncoder();
  for await (const chunk of chunks) yield encoder.encode(decoder.decode(chunk, { stream: true }));
  yield encoder.encode(decoder.decode());
}
