/**
 * The Content-Security-Policy of bytes that are not Sluice's own: files, and responses of upstreams. They come from
 * Sluice's origin, and must not run in it, whatever they are. Audio and video must play.
 */

/** Nothing is loaded, and nothing runs: the page is in a sandbox, and in an origin of its own. */
const NOTHING = "default-src 'none'; sandbox";

/**
 * A browser plays audio and video in a small page of its own, which loads the same URL again, with Range. That needs
 * `media-src`, and the origin: from an origin of its own, the page would not get the bytes. Scripts still do not run,
 * and with `nosniff` a browser never reads audio or video as a page.
 */
const MEDIA = "default-src 'none'; media-src 'self'; style-src 'unsafe-inline'; sandbox allow-same-origin";

/** The policy of a response with this Content-Type. It needs `X-Content-Type-Options: nosniff` beside it. */
export function passiveContentPolicy(contentType: string | null): string {
  return /^\s*(audio|video)\/[\w.+-]+\s*(;|$)/i.test(contentType ?? "") ? MEDIA : NOTHING;
}
