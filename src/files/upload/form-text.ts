/**
 * The text of a form: names, and the values of fields. It is UTF-8 unless the form says something else (RFC 7578 §4.4 to
 * §4.6): for one field by the `charset` of its Content-Type, for the whole form by a field `_charset_`, which browsers
 * fill in. Text that is not in its charset is rejected: it could only be kept damaged.
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

  /** A line in the header of a part, from its bytes. The form's charset counts from its field on. */
  readHeader(bytes: Uint8Array): string {
    const remedy = `name their charset in a field ${CHARSET_FIELD} before it`;
    return decode(bytes, this.#charset ?? "utf-8", "a name in it", remedy);
  }

  addField(field: RawField): void {
    this.#fields.push(field);
    if (field.name.toLowerCase() !== CHARSET_FIELD || field.bytes.length === 0) return;
    const charset = Buffer.from(field.bytes).toString("latin1").trim().toLowerCase();
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
  const decoder = decoderOf(charset);
  try {
    return decoder.decode(bytes);
  } catch {
    throw new Problem(
      "malformed",
      `The form cannot be read: ${what} is not in ${decoder.encoding}; ${remedy}.`,
    );
  }
}

function decoderOf(charset: string): TextDecoder {
  try {
    return new TextDecoder(charset, { fatal: true, ignoreBOM: true });
  } catch {
    throw unknownCharset(charset);
  }
}

const unknownCharset = (charset: string) =>
  new Problem(
    "unsupported-media",
    `The form has text in the charset ${JSON.stringify(charset.slice(0, 40))}, which cannot be read here; send UTF-8.`,
  );
