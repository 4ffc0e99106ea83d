/**
 * Multipart bodies (RFC 2046 §5.1), part by part, as far as somebody reads.
 *
 * Written here, because none of the parsers for workerd would do: most hold the whole body in memory, and the one
 * that streams (busboy's, and its descendants) drops or cuts headers that are too long or broken off, without a
 * word, and can wait for ever at a boundary that is split between two chunks. This one pulls: nothing is read that
 * nobody has asked for, and whatever is not as it must be is a `Problem`.
 */
import { Problem } from "../../kernel/problem.ts";

export interface PartHeader {
  /** Lower-case names; values as bytes in latin1, which `Buffer.from(value, "latin1")` gives back. */
  get(name: string): string | undefined;
}

/** Sizes are bytes. */
export interface HeaderLimits {
  headers: number;
  headerSize: number;
}

/** What may stand before the first part, and after the last. */
const MAX_AROUND = 64 * 1024;
/** Spaces after a boundary, which some mail programs put there. */
const MAX_PADDING = 128;

const CRLF = Buffer.from("\r\n");
const HEADER_END = Buffer.from("\r\n\r\n");
const FIELD_NAME = /^[\w!#$%&'*+.^`|~-]+$/;

export class MultipartReader {
  readonly #chunks: AsyncIterator<Uint8Array>;
  readonly #delimiter: Buffer;
  readonly #limits: HeaderLimits;
  /** Read, and not used yet. The first delimiter may stand at the very beginning, without a line before it. */
  #held: Buffer = CRLF;
  /** Whether the delimiter before what is held has been read. */
  #atDelimiter = false;
  #isPreamble = true;
  /** How much of what is held is the line end before the content: a delimiter may begin with it. */
  #lead = CRLF.length;

  constructor(chunks: AsyncIterable<Uint8Array>, boundary: string, limits: HeaderLimits) {
    this.#chunks = chunks[Symbol.asyncIterator]();
    this.#delimiter = Buffer.from(`\r\n--${boundary}`);
    this.#limits = limits;
  }

  /** Goes to the next part, past what has not been read of this one; undefined after the last. */
  async next(): Promise<PartHeader | undefined> {
    let skipped = 0;
    if (!this.#atDelimiter) {
      for await (const bytes of this.content()) {
        skipped += bytes.length;
        if (this.#isPreamble && skipped > MAX_AROUND)
          throw new Problem("malformed", "There is too much before the first boundary.");
      }
    }
    this.#atDelimiter = false;
    this.#isPreamble = false;
    return (await this.#isEnd()) ? this.#readEpilogue() : this.#readHeader();
  }

  /** The bytes of this part, or what is left of them. Each chunk is valid until the next is asked for. */
  async *content(): AsyncGenerator<Uint8Array> {
    while (!this.#atDelimiter) {
      const found = this.#held.indexOf(this.#delimiter);
      // Without it, at least the last bytes may be the beginning of one.
      const end = found === -1 ? Math.max(0, this.#held.length - this.#delimiter.length + 1) : found;
      const lead = Math.min(this.#lead, end);
      this.#lead -= lead;
      const bytes = this.#held.subarray(lead, end);
      this.#atDelimiter = found !== -1;
      this.#held = this.#held.subarray(found === -1 ? end : end + this.#delimiter.length);
      if (bytes.length > 0) yield bytes;
      if (found === -1) await this.#readMore();
    }
  }

  /** Ends the reading of the body, however far it is. */
  async close(): Promise<void> {
    await this.#chunks.return?.();
  }

  /** After a delimiter: `--` ends the body; a line end, perhaps after spaces, begins a part. */
  async #isEnd(): Promise<boolean> {
    for (;;) {
      const padding = this.#held.findIndex((byte) => byte !== 0x20 && byte !== 0x09);
      const from = padding === -1 ? this.#held.length : padding;
      if (from > MAX_PADDING) break;
      const [first, second] = this.#held.subarray(from, from + 2);
      if (first === 0x0d && second === 0x0a) {
        // The line end stays: a header that is empty ends with it.
        this.#held = this.#held.subarray(from);
        return false;
      }
      if (from === 0 && first === 0x2d && second === 0x2d) return true;
      if (second !== undefined) break;
      await this.#readMore();
    }
    throw new Problem("malformed", "There is something else in the line of a boundary.");
  }

  async #readHeader(): Promise<PartHeader> {
    const { headers, headerSize } = this.#limits;
    for (;;) {
      const end = this.#held.indexOf(HEADER_END);
      if ((end === -1 ? this.#held.length - HEADER_END.length + 1 : end) > headerSize) {
        throw new Problem("too-large", `The header of a part has more than ${headerSize} bytes.`);
      }
      if (end !== -1) {
        const header = this.#held.subarray(0, end);
        if (header.includes(this.#delimiter)) {
          throw new Problem("malformed", "The header of a part is broken off by a boundary.");
        }
        this.#held = this.#held.subarray(end + CRLF.length);
        this.#lead = CRLF.length;
        return parseHeader(header.toString("latin1"), headers);
      }
      await this.#readMore();
    }
  }

  /** Takes what comes after the end, so that its sender can end in peace, unless it is too much. */
  async #readEpilogue(): Promise<undefined> {
    for (let size = this.#held.length; size <= MAX_AROUND; ) {
      const { done, value } = await this.#chunks.next();
      if (done === true) return undefined;
      size += value.length;
    }
    return undefined;
  }

  async #readMore(): Promise<void> {
    const { done, value } = await this.#chunks.next();
    if (done === true) throw new Problem("malformed", "The body ends before its last boundary.");
    this.#held = Buffer.concat([this.#held, value]);
  }
}

function parseHeader(text: string, maxFields: number): PartHeader {
  // A line that begins with a space goes on with the one before (RFC 5322 §2.2.3).
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
      throw new Problem("malformed", "A line in the header of a part is no header field.");
    }
    // Which of the two would count, somebody else may see otherwise.
    if (fields.has(name)) throw new Problem("malformed", `A part has the header field ${name} twice.`);
    fields.set(name, trimBlanks(line.slice(colon + 1)));
  }
  return fields;
}

/** Not `trim`, which takes bytes of UTF-8 for spaces. */
function trimBlanks(text: string): string {
  let [from, to] = [0, text.length];
  while (from < to && BLANKS.includes(text.charAt(from))) from++;
  while (from < to && BLANKS.includes(text.charAt(to - 1))) to--;
  return text.slice(from, to);
}

const BLANKS = " \t";
