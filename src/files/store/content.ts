/**
 * Whether a file can be what its uploader says it is, by its first bytes, for those who restrict types.
 *
 * The decision is made once, from the first 4,096 bytes, or from all of them if there are fewer. So it is the same in
 * however many pieces they arrive. Whoever says nothing about the type (`application/octet-stream`) says nothing wrong.
 */
import { Problem } from "../../kernel/problem.ts";
import { beginsAs, FAMILIES, hasType } from "./magic-numbers.ts";
import { charsetOf, essenceOf } from "./media-type.ts";

/** In bytes: how much of a file is looked at. */
export const HEAD_SIZE = 4096;

/**
 * Why a file with this head cannot be of this type, as a sentence; undefined if it can be. `isWhole`: there are no more
 * bytes than these.
 */
export function contradiction(type: string, head: Uint8Array, isWhole: boolean): string | undefined {
  const essence = essenceOf(type);
  if (essence === "application/octet-stream") return undefined;
  const seen = whatElse(type, essence, head, isWhole);
  return seen === undefined ? undefined : `The file says that it is ${essence}, and ${seen}.`;
}

/** What is wrong with the bytes, if they cannot be of this type. */
function whatElse(type: string, essence: string, head: Uint8Array, isWhole: boolean): string | undefined {
  const families = FAMILIES.filter((family) => hasType(family, essence));
  if (families.length > 0) {
    return families.some((family) => beginsAs(family, head)) ? undefined : `begins ${asSeen(head, isWhole)}`;
  }
  if (isTextType(essence)) return whatElseThanText(type, essence, head, isWhole);
  const found = FAMILIES.find((family) => beginsAs(family, head));
  const isMedia = /^(?:image|audio|video|font)\//.test(essence);
  if (found?.isContainer && !isMedia) return undefined;
  if (found || isHtml(head) || (isMedia && isText(head, isWhole))) return `begins ${asSeen(head, isWhole)}`;
  return undefined;
}

/** For a message. */
function asSeen(head: Uint8Array, isWhole: boolean): string {
  const [name] = FAMILIES.find((family) => beginsAs(family, head))?.types ?? [];
  if (name !== undefined) return `as ${name} does`;
  if (head.length === 0) return "with no byte";
  if (isHtml(head)) return "as text/html does";
  return isText(head, isWhole) ? "as text does" : "as no such file does";
}

const isTextType = (essence: string) =>
  /^text\/|[+](?:json|xml|yaml)$/.test(essence) ||
  /^application\/(?:json|xml|javascript|ecmascript|yaml|toml|sql|graphql|(?:x-)?ndjson|x-sh|x-www-form-urlencoded)$/.test(
    essence,
  );

/** Text is UTF-8 without NUL: here another charset would hide what it is. */
function whatElseThanText(
  type: string,
  essence: string,
  head: Uint8Array,
  isWhole: boolean,
): string | undefined {
  const charset = charsetOf(type)?.toLowerCase() ?? "utf-8";
  if (!["utf-8", "utf8", "us-ascii"].includes(charset)) return `in ${charset}: only UTF-8 can be checked`;
  if (!isText(head, isWhole)) return "is not UTF-8 without NUL";
  if (head.length === 0) return undefined;
  const text = FAMILIES.find((family) => family.isText && beginsAs(family, head));
  if (text) return `begins ${asSeen(head, isWhole)}`;
  const start = startOf(head);
  if (essence === "application/json" || essence.endsWith("+json"))
    return start === "" || /^[[{"\-\dtfn]/.test(start) ? undefined : "does not begin as JSON does";
  // Before its root, an SVG may have a declaration, comments and a document type.
  if (essence === "image/svg+xml")
    return /<svg[\s>:]/i.test(start) && !isHtml(head) ? undefined : "has no <svg>";
  if (essence === "application/xhtml+xml" || essence === "text/html" || essence === "text/markdown")
    return undefined;
  if (isHtml(head)) return "begins as text/html does";
  if (essence.endsWith("+xml") || essence.endsWith("/xml"))
    return start === "" || start.startsWith("<") ? undefined : "does not begin as XML does";
  return undefined;
}

/** Whether there is no NUL and all of it is UTF-8, apart from a character that the end of the head cuts. */
function isText(head: Uint8Array, isWhole: boolean): boolean {
  if (head.includes(0)) return false;
  try {
    new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(head, { stream: !isWhole });
    return true;
  } catch {
    return false;
  }
}

/** The first characters, after a byte order mark and white space; those beyond ASCII do not matter. */
const startOf = (head: Uint8Array): string =>
  Buffer.from(head.buffer, head.byteOffset, head.length)
    .toString("latin1")
    .replace(/^(?:\xef\xbb\xbf)?[\t\n\f\r ]*/, "");

/** As browsers guess it (WHATWG MIME Sniffing §7.1), apart from a mere comment. */
const isHtml = (head: Uint8Array): boolean =>
  /^<(?:!doctype html|html|head|script|iframe|h1|div|font|table|a|style|title|b|body|br|p)[\s>/]/i.test(
    startOf(head).replace(/^(?:<!--[^]*?-->\s*)+/, ""),
  );

/** Collects the head of a file that passes by, and judges it. Holds no more than that. */
export class HeadCheck {
  readonly #type: string;
  #head = new Uint8Array(0);
  #isDone = false;

  constructor(type: string) {
    this.#type = type;
  }

  /** The next bytes; they may be reused afterwards. Returns why the file is refused, once that is known. */
  update(chunk: Uint8Array): string | undefined {
    if (this.#isDone || chunk.length === 0) return undefined;
    const piece = chunk.subarray(0, HEAD_SIZE - this.#head.length);
    const head = new Uint8Array(this.#head.length + piece.length);
    head.set(this.#head);
    head.set(piece, this.#head.length);
    this.#head = head;
    return head.length < HEAD_SIZE ? undefined : this.#judge(false);
  }

  /** There are no more bytes. Returns why the file is refused, if it is and `update` has not said so. */
  finish(): string | undefined {
    return this.#isDone ? undefined : this.#judge(true);
  }

  #judge(isWhole: boolean): string | undefined {
    this.#isDone = true;
    return contradiction(this.#type, this.#head, isWhole);
  }
}

/** RFC 9110 §15.5.16: also "as a result of inspecting the data directly". `by`: what restricts the types. */
export const unfitContent = (why: string, by: string): Problem =>
  new Problem("unsupported-media", `${why} ${by} takes only files that are what they say.`);
