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

/** A stored file, in one version. */
export interface ByteSource {
  info: { size: number };
  /** The bytes from an offset on, to the end or for a length. */
  chunks(range?: { offset: number; length?: number }): AsyncIterable<Uint8Array>;
}

export class TextBytes {
  readonly #source: ByteSource;
  readonly #isGzip: boolean;
  #charset: Charset;

  /** `charset`: as far as it is known. */
  constructor(source: ByteSource, isGzip: boolean, charset: Charset) {
    this.#source = source;
    this.#isGzip = isGzip;
    this.#charset = charset;
  }

  /** Known for certain once the bytes have been read. */
  get charset(): Charset {
    return this.#charset;
  }

  async *from(offset: number): AsyncGenerator<Uint8Array> {
    const raw = this.#isGzip ? gunzipFrom(this.#source, offset) : plainFrom(this.#source, offset);
    if (isUtf16(this.#charset)) return yield* toUtf8(raw, this.#charset);
    for await (const chunk of raw) {
      if (this.#charset === "ascii") this.#charset = settleCharset(chunk) ?? "ascii";
      yield chunk;
    }
  }
}

async function* plainFrom(source: ByteSource, offset: number): AsyncGenerator<Uint8Array> {
  if (offset < source.info.size) yield* source.chunks({ offset });
}

/**
 * Several gzip members one after the other are one file, which the platform's `DecompressionStream` refuses. Throws a
 * `NonRetryableError` for data that are not what gzip wrote.
 */
async function* gunzipFrom(source: ByteSource, offset: number): AsyncGenerator<Uint8Array> {
  const gunzip = createGunzip({ chunkSize: GUNZIP_CHUNK_BYTES });
  const packed = Readable.from(source.chunks());
  let readFailure: unknown;
  packed.on("error", (error) => {
    readFailure = error;
  });
  // What fails ends `gunzip` too, and the loop below throws it.
  pipeline(packed, gunzip, () => {});
  let dropped = 0;
  try {
    for await (const chunk of gunzip as AsyncIterable<Uint8Array>) {
      const rest = chunk.subarray(Math.min(chunk.length, offset - dropped));
      dropped += chunk.length - rest.length;
      if (rest.length > 0) yield rest;
    }
  } catch (error) {
    if (readFailure !== undefined) throw readFailure;
    const message = error instanceof Error ? error.message : String(error);
    throw new NonRetryableError(`It cannot be unpacked: ${message}. Is the gzip file whole?`, { cause: error });
  }
}

async function* toUtf8(chunks: AsyncIterable<Uint8Array>, charset: Charset): AsyncGenerator<Uint8Array> {
  const decoder = new TextDecoder(charset, { fatal: false, ignoreBOM: true });
  const encoder = new TextEncoder();
  for await (const chunk of chunks) yield encoder.encode(decoder.decode(chunk, { stream: true }));
  yield encoder.encode(decoder.decode());
}
