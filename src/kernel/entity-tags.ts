/** Entity tags (RFC 9110 §8.8.3). */

/**
 * Whether a header that is `*` or a list of entity tags has `etag`, which is strong. A weak tag matches only in the weak
 * comparison (§8.8.3.2).
 */
export function listsTag(header: string, etag: string, comparison: "strong" | "weak"): boolean {
  if (header.trim() === "*") return true;
  const tags = header.matchAll(/(W\/)?("[\x21\x23-\x7e\x80-\xff]*")/g);
  return [...tags].some(([, weak, tag]) => tag === etag && (comparison === "weak" || weak === undefined));
}
