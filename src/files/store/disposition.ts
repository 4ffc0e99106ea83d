/**
 * The parameters of a Content-Disposition (RFC 6266), in the header of a request or of a part of a form.
 *
 * Two kinds of quotes are in use. Browsers put a value in quotes as it is, with `%22`, `%0D` and `%0A` for the characters
 * that would end it (WHATWG HTML §4.10.22.8): a backslash is a backslash. Others write a quoted string (RFC 9110 §5.6.4),
 * where a backslash escapes the next character. One client writes all its values in one way. So a whole header is read in
 * one way, the first in which it is a list of parameters.
 */
import { decodeExtended } from "content-disposition";

/** A way to put a value in quotes: what it looks like, without the quotes, and what it means. */
interface Quotes {
  /** Sticky. */
  inner: RegExp;
  unescape: (inner: string) => string;
}

export const BROWSER_QUOTES: Quotes = {
  inner: /[^"]*/y,
  unescape: (inner) => inner.replaceAll("%22", '"').replaceAll(/%0d/gi, "\r").replaceAll(/%0a/gi, "\n"),
};

export const QUOTED_STRING: Quotes = {
  inner: /(?:[^"\\]|\\[^])*/y,
  unescape: (inner) => inner.replaceAll(/\\([^])/g, "$1"),
};

/**
 * The parameters after the type, by their names in lower case, read in the first of the `ways` that gives a list. Throws
 * what `malformed` makes of the reason if none does, or if a parameter comes twice or in pieces: other readers of the
 * header could see something else in it.
 */
export function readParameters(
  list: string,
  ways: Quotes[],
  malformed: (reason: string) => Error,
): Map<string, string> {
  const entries = firstList(list, ways);
  if (!entries) {
    throw malformed("cannot be read: it is not a list of parameters, or its quotes are not closed");
  }
  const parameters = new Map<string, string>();
  for (const [key, value] of entries) {
    const name = key.toLowerCase();
    if (parameters.has(name)) throw malformed(`has ${key} twice`);
    // RFC 2231 §3, which RFC 8187 §1 leaves out: without them, a file would pass for something without a name.
    if (/\*\d+\*?$/.test(name))
      throw malformed(`has a parameter in pieces, ${key}; send filename* (RFC 8187)`);
    parameters.set(name, value);
  }
  return parameters;
}

/** `filename*` (RFC 8187) takes precedence. Undefined if there is no name, null if none can be decoded. */
export function filenameOf(parameters: Map<string, string>): string | null | undefined {
  const plain = parameters.get("filename");
  const extended = parameters.get("filename*");
  return extended === undefined ? plain : (decodeExtended(extended) ?? plain ?? null);
}

function firstList(text: string, ways: Quotes[]): [string, string][] | undefined {
  for (const quotes of ways) {
    const entries = readList(text, quotes);
    if (entries) return entries;
  }
  return undefined;
}

const KEY = /;[\t ]*([^\s=;"]+)[\t ]*=[\t ]*/y;
const TOKEN = /[^;"]*/y;
/** Where a parameter can end: before the next one, or at the end. */
const END = /[\t ]*(?=;|$)/y;
/** A parameter may be empty (RFC 9110 §5.6.6), above all the last one. */
const NOTHING = /;[\t ]*(?=;|$)/y;

/** The parameters in their order; undefined if the text is not a list of them. */
function readList(text: string, quotes: Quotes): [string, string][] | undefined {
  const entries: [string, string][] = [];
  let at = 0;
  const read = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const found = pattern.exec(text);
    if (found) at = pattern.lastIndex;
    return found;
  };
  while (at < text.length) {
    if (read(NOTHING)) continue;
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
