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
const USER = /:\/\/[^/?#]*@/g;
const LINK_TOKEN = /(\/links\/)[^/?#]+/g;

/** The text with every URL in it cleaned. An ellipsis stands for what is left out. */
export function cleanText(text: string): string {
  if (!text.includes("://") && !text.includes("/links/")) return text;
  return text.replaceAll(WORD, (word) => cleanWord(word).replaceAll(LINK_TOKEN, "$1…"));
}

/** One URL may stand in the path of another. */
function cleanWord(word: string): string {
  const scheme = word.indexOf("://");
  if (scheme === -1) return word;
  const bare = word.replaceAll(USER, "://");
  const end = bare.slice(scheme + 3).search(/[?#]/);
  return end === -1 ? bare : `${bare.slice(0, scheme + 3 + end)}?…`;
}
