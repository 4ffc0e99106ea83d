/**
 * The address of a page: its path and query on the upstream's origin, in one form.
 *
 * Pages link to one another in many spellings. Two that name the same resource by RFC 3986 §6.2.2 get one address, so
 * that a page is not fetched twice. What only a server could know (whether `/a` and `/a/` are the same page) is left alone.
 *
 * Invariant: an address begins with a slash, has no fragment, is at most `MAX_ADDRESS_LENGTH` characters of ASCII, none of
 * which JSON escapes, and is its own address.
 */

/** Longer ones are traps, or carry data. */
export const MAX_ADDRESS_LENGTH = 2_000;

/** Characters that mean the same percent-encoded or not (RFC 3986 §2.3). */
const UNRESERVED = /[\w.~-]/;

/**
 * Why a link is not followed: `foreign` leads to another origin, or to something that is not a page on the web
 * (`mailto:`); `malformed` is no URL, or too long.
 */
export type BadAddress = "foreign" | "malformed";

/** The address that a reference has on the page at `base`, an absolute URL; or why it has none on `origin`. */
export function addressOf(reference: string, base: string, origin: string): { address: string } | BadAddress {
  const text = reference.trim();
  if (!URL.canParse(text, base)) return "malformed";
  const url = new URL(text, base);
  const isOwn = url.origin === origin && url.username === "" && url.password === "";
  if (!isOwn) return "foreign";
  const address = normalizeEscapes(url.pathname + url.search.replaceAll("\\", "%5C"));
  return address.length > MAX_ADDRESS_LENGTH ? "malformed" : { address };
}

/** One spelling for each escape: upper case, and none where none is needed (RFC 3986 §6.2.2.1, §6.2.2.2). */
function normalizeEscapes(path: string): string {
  return path.replaceAll(/%[0-9a-f]{2}/gi, (escape) => {
    const character = String.fromCharCode(Number.parseInt(escape.slice(1), 16));
    return UNRESERVED.test(character) ? character : escape.toUpperCase();
  });
}

/** What a server sends for these names is not a page. Not asking saves a call. */
const NOT_A_PAGE =
  /\.(?:avif|bmp|css|csv|docx?|eot|exe|gif|gz|ico|jpe?g|js|json|m4a|mjs|mov|mp3|mp4|ogg|pdf|png|pptx?|rss|svg|tar|ttf|wasm|wav|webm|webp|woff2?|xlsx?|xml|zip)$/i;

/** Whether an address may be that of a page, by the end of its path. */
export const mayBePage = (address: string): boolean => !NOT_A_PAGE.test(address.split("?", 1)[0] ?? "");
