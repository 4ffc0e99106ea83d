/**
 * Parses multipart bodies (RFC 2046 §5.1) part by part, on demand.
 *
 * It is written here because no parser that runs in workerd is good enough. Most hold the whole body in memory. The
 * one that streams (busboy and its descendants) silently drops or truncates headers that are too long or cut off,
 * and can wait forever at a boundary that is split between two chunks. This one pulls: it reads nothing that was not
 * requested, and anything malformed is a `Problem`.
 */
import { Problem } from "../../kernel/problem.ts";
import type { HeaderFields } from "../store/digests.ts";

/** The header of a part. Its values are bytes as latin1; `Buffer.from(value, "latin1")` restores them. */
export class PartHeader implements HeaderFields {
  readonly #fields: Map<string, string>;

  /** The names of the fields are in lower case. */
  constructor(fields: Map<string, string>) {
    this.#fields = fields;
  }

  get(name: string): string | null {
    return this.#fields.get(name.toLowerCase()) ?? null;
  }

  keys(): Iterable<string> {
    return this.#fields.keys();
  }
}

/** Sizes are in bytes. */
export interface HeaderLimits {
  headers: number;
  headerSize: number;
}

/** In bytes: the longest preamble before the first part, and the longest epilogue after the last. */
const MAX_SURROUNDING = 64 * 1024;
/** Spaces after a boundary, which some mail programs add. */
const MAX_PADDING = 128;

const CRLF = Buffer.from("\r\n");
const HEADER_END = Buffer.from("\r\n\r\n");
const FIELD_NAME = /^[\w!#$%&'*+.^`|~-]+$/;

export class MultipartReader {
  readonly #chunks: AsyncIterator<Uint8Array>;
  readonly #delimiter: Buffer;
  readonly #limits: HeaderLimits;
  /** Read and not consumed yet. It starts with a CRLF, because the first delimiter may be at the very beginning. */
  #buffer: Buffer = CRLF;
  /** Whether the delimiter in front of the buffer has been read. */
  #atDelimiter = false;
  #isPreamble = true;
  /** How much of the buffer is the line end before the content. It is kept because a delimiter may begin with it. */
  #lead = CRLF.length;
  #hasEnded = false;

  constructor(chunks: AsyncIterable<Uint8Array>, boundary: string, limits: HeaderLimits) {
    this.#chunks = chunks[Symbol.asyncIterator]();
    this.#delimiter = Buffer.from(`\r\n--${boundary}`, "latin1");
    this.#limits = limits;
  }

  /** Moves on to the next part and skips what was not read of this one; undefined after the last. */
  async next(): Promise<PartHeader | undefined> {
    let skipped = 0;
    if (!this.#atDelimiter) {
      for await (const bytes of this.content()) {
        skipped += bytes.length;
        if (this.#isPreamble && skipped > MAX_SURROUNDING)
          throw new Problem("malformed", "There is too much data before the first boundary.");
      }
    }
    this.#atDelimiter = false;
    this.#isPreamble = false;
    return (await this.#isEnd()) ? this.#readEpilogue() : this.#readHeader();
  }

  /** The bytes of this part that were not read yet. Each chunk is valid until the next is requested. */
  async *content(): AsyncGenerator<Uint8Array> {
    while (!this.#atDelimiter) {
      const found = this.#buffer.indexOf(this.#delimiter);
      // If there is none, the last bytes may still be the beginning of one.
      const end = found === -1 ? Math.max(0, this.#buffer.length - this.#delimiter.length + 1) : found;
      const lead = Math.min(this.#lead, end);
      this.#lead -= lead;
      const bytes = this.#buffer.subarray(lead, end);
      this.#atDelimiter = found !== -1;
      this.#buffer = this.#buffer.subarray(found === -1 ? end : end + this.#delimiter.length);
      if (bytes.length > 0) yield bytes;
      if (found === -1) await this.#readMore();
    }
  }

  /** Whether the body was read to its end, with all that follows the last boundary. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** Stops reading the body, wherever it is. */
  async close(): Promise<void> {
    await this.#chunks.return?.();
  }

  /** After a delimiter, `--` ends the body. A line end, perhaps after spaces, begins a part. */
  async #isEnd(): Promise<boolean> {
    for (;;) {
      const padding = this.#buffer.findIndex((byte) => byte !== 0x20 && byte !== 0x09);
      const from = padding === -1 ? this.#buffer.length : padding;
      if (from > MAX_PADDING) break;
      const [first, second] = this.#buffer.subarray(from, from + 2);
      if (first === 0x0d && second === 0x0a) {
        // The line end stays in the buffer: an empty header ends with it.
        this.#buffer = this.#buffer.subarray(from);
        return false;
      }
      if (from === 0 && first === 0x2d && second === 0x2d) return true;
      if (second !== undefined) break;
      await this.#readMore();
    }
    throw new Problem("malformed", "There is something else on the line of a boundary.");
  }

  async #readHeader(): Promise<PartHeader> {
    const { headers, headerSize } = this.#limits;
    for (;;) {
      const end = this.#buffer.indexOf(HEADER_END);
      if ((end === -1 ? this.#buffer.length - HEADER_END.length + 1 : end) > headerSize) {
        throw new Problem("too-large", `The header of a part has more than ${headerSize} bytes.`);
      }
      if (end !== -1) {
        const header = this.#buffer.subarray(0, end);
        if (header.includes(this.#delimiter)) {
          throw new Problem("malformed", "The header of a part is cut off by a boundary.");
        }
        this.#buffer = this.#buffer.subarray(end + CRLF.length);
        this.#lead = CRLF.length;
        return parseHeader(header.toString("latin1"), headers);
      }
      await this.#readMore();
    }
  }

  /** Reads what follows the last boundary, so that the client can finish sending, unless it is too much. */
  async #readEpilogue(): Promise<undefined> {
    for (let size = this.#buffer.length; size <= MAX_SURROUNDING; ) {
      const { done, value } = await this.#chunks.next();
      if (done === true) {
        this.#hasEnded = true;
        return undefined;
      }
      size += value.length;
    }
    return undefined;
  }

  async #readMore(): Promise<void> {
    const { done, value } = await this.#chunks.next();
    if (done === true) throw new Problem("malformed", "The body ends before its last boundary.");
    this.#buffer = Buffer.concat([this.#buffer, value]);
  }
}

function parseHeader(text: string, maxFields: number): PartHeader {
  // A line that begins with a space continues the line before (RFC 5322 §2.2.3).
  const lines = text
    .replaceAll(/\r\n(?=[\t ])/g, "")
    .split("\r\n")
    .filter(Boolean);
  if (lines.length > maxFields) {
    throw new Problem("too-large", `The header of a part has more than ${maxFields} fields.`);
  }
  const fields = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(":");
    const name = line.slice(0, Math.max(0, colon)).toLowerCase();
    if (!FIELD_NAME.test(name) || /[\r\n\0]/.test(line)) {
      throw new Problem("malformed", "A line in the header of a part is not a header field.");
    }
    // Another reader of this form may not pick the same one of the two.
    if (fields.has(name)) throw new Problem("malformed", `A part has the header field ${name} twice.`);
    fields.set(name, trimBlanks(line.slice(colon + 1)));
  }
  return new PartHeader(fields);
}

/** Not `trim`, which would take some bytes of UTF-8 for spaces. */
function trimBlanks(text: string): string {
  let [from, to] = [0, text.length];
  while (from < to && BLANKS.includes(text.charAt(from))) from++;
  while (from < to && BLANKS.includes(text.charAt(to - 1))) to--;
  return text.slice(from, to);
}

const BLANKS = " \t";
