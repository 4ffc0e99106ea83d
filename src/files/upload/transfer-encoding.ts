/**
 * Content-Transfer-Encoding of a part of a form (RFC 2045 §6). RFC 7578 §4.7 deprecates it, but clients still send it, as
 * curl does for `-F 'file=@x;encoder=base64'`. The bytes are decoded as they arrive.
 */
import { Problem } from "../../kernel/problem.ts";
import { UNENCODED } from "../store/upload-headers.ts";

type Chunks = AsyncIterable<Uint8Array>;

/**
 * The bytes that were encoded. Throws a `Problem` 415 for an encoding that is not known here; the chunks reject with a
 * `Problem` 400 if they are not in the encoding.
 */
export function decodeTransfer(encoding: string | null, chunks: Chunks): Chunks {
  const name = encoding?.toLowerCase() ?? "binary";
  if (UNENCODED.includes(name)) return chunks;
  switch (name) {
    case "base64":
      return decodeBase64(chunks);
    case "quoted-printable":
      return decodeQuotedPrintable(chunks);
    default:
      throw new Problem(
        "unsupported-media",
        "The Content-Transfer-Encoding of a part is none of binary, 8bit, 7bit, base64 and quoted-printable.",
      );
  }
}

/** §6.8. Between lines there may be blanks. Other characters would be ignored there, and are an error here. */
async function* decodeBase64(chunks: Chunks): AsyncGenerator<Uint8Array> {
  let left = "";
  let isPadded = false;
  for await (const chunk of chunks) {
    const text = left + toText(chunk).replaceAll(/[\r\n\t ]+/g, "");
    if (isPadded ? text !== "" : !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) throw notEncoded("base64");
    const whole = text.length - (text.length % 4);
    left = text.slice(whole);
    // Padding ends the content, however it is cut into chunks.
    isPadded ||= text.slice(0, whole).endsWith("=");
    if (isPadded && left !== "") throw notEncoded("base64");
    if (whole > 0) yield Buffer.from(text.slice(0, whole), "base64");
  }
  if (left !== "") throw notEncoded("base64");
}

/** §6.7. */
async function* decodeQuotedPrintable(chunks: Chunks): AsyncGenerator<Uint8Array> {
  const decoder = new QuotedPrintable();
  for await (const chunk of chunks) yield decoder.decode(chunk);
  yield decoder.end();
}

const [TAB, LF, CR, SPACE, EQUALS] = [0x09, 0x0a, 0x0d, 0x20, 0x3d];

/** Blanks in a row, whose line has 76 characters at most by the standard. */
const MAX_BLANKS = 64 * 1024;

/**
 * Byte by byte, because whatever changes the meaning of a byte may be in another chunk. After `=` come two digits, or
 * the end of a line, which then joins the next one. Blanks at the end of a line were added on the way.
 */
class QuotedPrintable {
  #state: "text" | "cr" | "escape" | "digit" | "soft" = "text";
  #blanks: number[] = [];
  #high = 0;
  #out = new Uint8Array();
  #length = 0;

  decode(chunk: Uint8Array): Uint8Array {
    this.#begin(chunk.length);
    for (const byte of chunk) this.#next(byte);
    return this.#out.subarray(0, this.#length);
  }

  /** A line break that is escaped may be missing at the end. */
  end(): Uint8Array {
    if (this.#state === "digit") throw notEncoded("quoted-printable");
    this.#begin(0);
    if (this.#state === "cr") this.#emit(CR);
    return this.#out.subarray(0, this.#length);
  }

  /** No byte becomes more than one; before the first may come what was held back. */
  #begin(inputLength: number): void {
    this.#out = new Uint8Array(inputLength + this.#blanks.length + 1);
    this.#length = 0;
  }

  #next(byte: number): void {
    switch (this.#state) {
      case "text":
        return this.#text(byte);
      case "cr":
        this.#state = "text";
        if (byte === LF) this.#blanks = [];
        this.#emit(CR);
        return this.#text(byte);
      case "escape":
        if (isBlank(byte) || byte === CR || byte === LF) return this.#softBreak(byte);
        this.#high = digit(byte);
        this.#state = "digit";
        return;
      case "digit":
        this.#emit(this.#high * 16 + digit(byte));
        this.#state = "text";
        return;
      case "soft":
        return this.#softBreak(byte);
    }
  }

  #text(byte: number): void {
    if (isBlank(byte)) {
      if (this.#blanks.push(byte) > MAX_BLANKS) throw notEncoded("quoted-printable");
    } else if (byte === CR) {
      this.#state = "cr";
    } else if (byte === LF) {
      this.#blanks = [];
      this.#emit(LF);
    } else if (byte === EQUALS) {
      this.#state = "escape";
    } else {
      this.#emit(byte);
    }
  }

  #softBreak(byte: number): void {
    if (byte !== LF && byte !== CR && !isBlank(byte)) throw notEncoded("quoted-printable");
    this.#state = byte === LF ? "text" : "soft";
    // The blanks in front of `=` are not at the end of the joined line.
    this.#flushBlanks();
  }

  /** The blanks before a byte that is not the end of a line belong to the text, as it does. */
  #emit(byte: number): void {
    this.#flushBlanks();
    this.#out[this.#length++] = byte;
  }

  #flushBlanks(): void {
    if (this.#blanks.length === 0) return;
    for (const blank of this.#blanks) this.#out[this.#length++] = blank;
    this.#blanks = [];
  }
}

const isBlank = (byte: number) => byte === SPACE || byte === TAB;

function digit(byte: number): number {
  const value = Number.parseInt(String.fromCharCode(byte), 16);
  if (Number.isNaN(value)) throw notEncoded("quoted-printable");
  return value;
}

const toText = (chunk: Uint8Array): string =>
  Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength).toString("latin1");

const notEncoded = (encoding: string) =>
  new Problem("malformed", `A part of the form says that it is in ${encoding}, and is not.`);
