/**
 * URLs that may hold secrets, as they may be shown: a query has API keys, the part before the host has a password, and
 * the end of a link to a file is as good as a token.
 */

/** The URL without user, password, query and fragment. `url` must be absolute. */
export function cleanUrl(url: string): string {
  const { origin, pathname } = new URL(url);
  return origin + pathname;
}

/** What of a text can be a URL, or a path. In JSON text too, where it ends at a quote or at an escape. */
const WORD = /[^\s"\\<>]+/g;
const LINK_TOKEN = /(\/links\/)[^/?#]+/g;

/** The text with every URL in it cleaned. An ellipsis stands for what is left out. */
export function cleanText(text: string): string {
  if (!text.includes("://") && !text.includes("/links/")) return text;
  return text.replaceAll(WORD, (word) => cleanWord(word).replaceAll(LINK_TOKEN, "$1…"));
}

function cleanWord(word: string): string {
  const scheme = word.indexOf("://");
  if (scheme === -1) return word;
  const host = scheme + 3;
  const end = word.slice(host).search(/[?#]/);
  const shown = end === -1 ? word.slice(host) : word.slice(host, host + end);
  const path = shown.indexOf("/");
  const authority = path === -1 ? shown : shown.slice(0, path);
  const rest = path === -1 ? "" : shown.slice(path);
  const bare = authority.slice(authority.lastIndexOf("@") + 1);
  return `${word.slice(0, host)}${bare}${rest}${end === -1 ? "" : "?…"}`;
}
