/**
 * The Content-Disposition of a part of a form (RFC 7578 §4.2).
 *
 * Two kinds of quotes are in use. Browsers put a value in quotes as it is, with `%22`, `%0D` and `%0A` for the characters
 * that would end it (WHATWG HTML §4.10.22.8): a backslash is a backslash. Others write a quoted string (RFC 9110 §5.6.4),
 * where a backslash escapes the next character. One client writes all its values in one way. So the whole header is
 * read the browsers' way if that gives a list of parameters, else as quoted strings. If neither does, it is rejected, so
 * that no file can pass for a field.
 */
import { decodeExtended } from "content-disposition";
import { Problem } from "../../kernel/problem.ts";

export interface FormDisposition {
  name: string;
  /** Undefined for a field. `filename*` (RFC 8187) takes precedence; "" if nothing can be decoded. */
  filename: string | undefined;
}

/** Throws a `Problem` 400 unless it is `form-data` with a name, and has each parameter at most once. */
export function parseFormDisposition(text: string): FormDisposition {
  const [type = ""] = text.split(";", 1);
  if (type.trim().toLowerCase() !== "form-data") throw malformed("is not form-data");
  const list = text.slice(type.length).trim();
  const entries = readParameters(list, BROWSER_QUOTES) ?? readParameters(list, QUOTED_STRING);
  if (!entries) {
    throw malformed("cannot be read: it is not a list of parameters, or its quotes are not closed");
  }
  const parameters = new Map<string, string>();
  for (const [key, value] of entries) {
    if (parameters.has(key.toLowerCase())) throw malformed(`has ${key} twice`);
    parameters.set(key.toLowerCase(), value);
  }
  const name = parameters.get("name");
  if (name === undefined) throw malformed("has no name");
  const extended = parameters.get("filename*");
  if (extended === undefined) return { name, filename: parameters.get("filename") };
  return { name, filename: decodeExtended(extended) ?? parameters.get("filename") ?? "" };
}

/** A way to put a value in quotes: what it looks like, without the quotes, and what it means. */
interface Quotes {
  /** Sticky. */
  inner: RegExp;
  unescape: (inner: string) => string;
}

const BROWSER_QUOTES: Quotes = {
  inner: /[^"]*/y,
  unescape: (inner) => inner.replaceAll("%22", '"').replaceAll(/%0d/gi, "\r").replaceAll(/%0a/gi, "\n"),
};

const QUOTED_STRING: Quotes = {
  inner: /(?:[^"\\]|\\[^])*/y,
  unescape: (inner) => inner.replaceAll(/\\([^])/g, "$1"),
};

const KEY = /;[\t ]*([^\s=;"]+)=/y;
const TOKEN = /[^;"]*/y;
/** Where a parameter can end: before the next one, or at the end, perhaps after a last semicolon. */
const END = /[\t ]*(?=;|$)/y;
const LAST_SEMICOLON = /;$/y;

/** The parameters in their order; undefined if the text is not a list of them. */
function readParameters(text: string, quotes: Quotes): [string, string][] | undefined {
  const entries: [string, string][] = [];
  let at = 0;
  const read = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const found = pattern.exec(text);
    if (found) at = pattern.lastIndex;
    return found;
  };
  while (at < text.length && !read(LAST_SEMICOLON)) {
    const key = read(KEY)?.[1];
    if (key === undefined) return undefined;
    if (text[at] === '"') {
      at++;
      const inner = read(quotes.inner)?.[0] ?? "";
      if (text[at++] !== '"') return undefined;
      entries.push([key, quotes.unescape(inner)]);
    } else {
      entries.push([key, read(TOKEN)?.[0].trim() ?? ""]);
    }
    if (!read(END)) return undefined;
  }
  return entries;
}

const malformed = (reason: string) =>
  new Problem("malformed", `The Content-Disposition of a part of the form ${reason}.`);
