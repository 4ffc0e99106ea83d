/**
 * A page that is the same for everybody: made once in an isolate for each origin, with an ETag, so that a client that has
 * it gets a 304 (RFC 9110 §13.1.2).
 */
import { createHash } from "node:crypto";
import { listsTag } from "./entity-tags.ts";

/** Anybody can make up origins that lead to this Worker. */
const MAX_ORIGINS = 8;

/** `make` gives the text for the origin under which the Worker is called, for instance `https://sluice.example.com`. */
export function servePage(
  headers: Record<string, string>,
  make: (origin: string) => string | Promise<string>,
): (request: Request) => Promise<Response> {
  const pages = new Map<string, { text: string; etag: string }>();
  return async ({ url, headers: sent }) => {
    const { origin } = new URL(url);
    let page = pages.get(origin);
    if (!page) {
      const text = await make(origin);
      page = { text, etag: `"${createHash("sha256").update(text).digest("base64url")}"` };
      if (pages.size === MAX_ORIGINS) pages.clear();
      pages.set(origin, page);
    }
    const { text, etag } = page;
    // A client may keep it, and asks each time: it needs a token, and the next deploy may change it.
    const validators = { ETag: etag, "Cache-Control": "private, no-cache" };
    // The edge weakens the ETag of what it compresses.
    if (listsTag(sent.get("If-None-Match") ?? "", etag, "weak"))
      return new Response(null, { status: 304, headers: validators });
    return new Response(text, { headers: { ...headers, ...validators } });
  };
}
