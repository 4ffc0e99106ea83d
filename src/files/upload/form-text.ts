/**
 * The text of a form: names, and the values of fields. It is UTF-8 unless the form says something else (RFC 7578 §4.4 to
 * §4.6): for one field by the `charset` of its Content-Type, for the whole form by a field `_charset_`, which browsers
 * fill in, or by the `charset` of the request's Content-Type, which many clients and servers know. Text that is not in its charset is rejected: it could only be kept damaged.
 */
import { Problem } from "../../kernel/problem.ts";
import { charsetOf, essenceOf } from "../store/media-type.ts";

/** The name of the field that says the charset of the form (WHATWG HTML §4.10.22.4), compared without case. */
const CHARSET_FIELD = "_charset_";

interface RawField {
  name: string;
  bytes: Uint8Array;
  /** The Content-Type of the part; null if it has none. */
  type: string | null;
}

export class FormText {
  #charset: string | undefined;
  readonly #fields: RawField[] = [];

  /** `charset` is that of the request's Content-Type, if it has one. */
  constructor(charset: string | undefined) {
    if (charset !== undefined) this.#setCharset(charset);
  }

  /** A line in the header of a part, from its bytes. The form's charset counts from its field on. */
  readHeader(bytes: Uint8Array): string {
    const remedy = `name their charset in a field ${CHARSET_FIELD} before it`;
    return decode(bytes, this.#charset ?? "utf-8", "a name in it", remedy);
  }

  addField(field: RawField): void {
    this.#fields.push(field);
    if (field.name.toLowerCase() !== CHARSET_FIELD || field.bytes.length === 0) return;
    this.#setCharset(Buffer.from(field.bytes).toString("latin1"));
  }

  #setCharset(sent: string): void {
    const charset = sent.trim().toLowerCase();
    const { encoding } = decoderOf(charset);
    // Its own header would not be text in that encoding.
    if (encoding.startsWith("utf-16")) throw unknownCharset(charset);
    if (this.#charset !== undefined && this.#charset !== encoding) {
      throw new Problem("malformed", `The form has two charsets, ${this.#charset} and ${encoding}.`);
    }
    this.#charset = encoding;
  }

  /** All fields in their order. The form's charset also counts for those before its field. */
  fields(): { name: string; value: string }[] {
    return this.#fields.map(({ name, bytes, type }) => ({
      name,
      value: decode(bytes, this.#charsetFor(type), `the field ${JSON.stringify(name)}`, REMEDY),
    }));
  }

  #charsetFor(type: string | null): string {
    const own = type === null ? undefined : charsetOf(type);
    if (own !== undefined) return own;
    // JSON, for example, is always UTF-8.
    const isPlain = type === null || essenceOf(type).startsWith("text/");
    return (isPlain ? this.#charset : undefined) ?? "utf-8";
  }
}

const REMEDY = `name its charset in its Content-Type or in a field ${CHARSET_FIELD}`;

/** Other types of text, by their whole names or their endings. */
const TEXT_TYPES = new Set([
  "application/json",
  "application/xml",
  "application/x-www-form-urlencoded",
  // From clients that give the type of the form to each of its fields. It has no boundary, so it is no form.
  "multipart/form-data",
]);

/** Whether a part without a file name is a field: whether its type, if it has one, is text. */
export function isText(type: string | null): boolean {
  if (type === null) return true;
  const essence = essenceOf(type);
  return essence.startsWith("text/") || TEXT_TYPES.has(essence) || /\+(?:json|xml)$/.test(essence);
}

function decode(bytes: Uint8Array, charset: string, what: string, remedy: string): string {
  const order = byteOrderOf(charset, bytes);
  const decoder = decoderOf(order ?? charset);
  try {
    return decoder.decode(order === undefined ? bytes : bytes.subarray(2));
  } catch {
    throw new Problem(
      "malformed",
      `The form cannot be read: ${what} is not in ${decoder.encoding}; ${remedy}.`,
    );
  }
}

/** Labels of UTF-16 that say nothing of the order of its bytes (WHATWG Encoding §4.2). */
const UTF_16 = /^(?:utf-16|unicode|ucs-2|iso-10646-ucs-2|csunicode)$/;
/** US-ASCII is a part of UTF-8, whose other characters its senders mean; the decoder takes it for windows-1252. */
const ASCII = /^(?:us-ascii|ascii|ansi_x3\.4-1968)$/;

/** The order of the bytes of UTF-16, if a byte order mark says it. The mark is no part of the text (RFC 2781 §3.2). */
function byteOrderOf(charset: string, [first, second]: Uint8Array): "utf-16be" | "utf-16le" | undefined {
  if (!UTF_16.test(charset.trim().toLowerCase())) return undefined;
  if (first === 0xfe && second === 0xff) return "utf-16be";
  return first === 0xff && second === 0xfe ? "utf-16le" : undefined;
}

function decoderOf(charset: string): TextDecoder {
  const label = ASCII.test(charset.trim().toLowerCase()) ? "utf-8" : charset;
  try {
    return new TextDecoder(label, { fatal: true, ignoreBOM: true });
  } catch {
    throw unknownCharset(charset);
  }
}

const unknownCharset = (charset: string) =>
  new Problem(
    "unsupported-media",
    `The form has text in the charset ${JSON.stringify(charset.slice(0, 40))}, which cannot be read here; send UTF-8.`,
  );
