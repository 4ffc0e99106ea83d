/**
 * Which headers travel on. Those of one connection do not (RFC 9110 §7.6.1), nor does what the caller is to Sluice:
 * its credentials, cookies, addresses, and what Cloudflare and the browser say of it.
 */
import type { Upstream } from "../upstreams.ts";

const HOP_BY_HOP = [
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
];

const OF_THE_CALLER = new Set([
  ...HOP_BY_HOP,
  "authorization",
  "cookie",
  "host",
  "origin",
  "referer",
  "expect",
  "content-length",
  "accept-encoding",
  "forwarded",
  "true-client-ip",
  "x-real-ip",
  "x-client-ip",
  "cdn-loop",
  "x-request-id",
]);
const FAMILIES_OF_THE_CALLER = /^(x-forwarded-|cf-|sec-|proxy-)/;

/** What an answer may not bring along: cookies would be Sluice's own, and its policies are Sluice's to make. */
const OF_THE_UPSTREAM = new Set([
  ...HOP_BY_HOP,
  "set-cookie",
  "clear-site-data",
  "strict-transport-security",
  "public-key-pins",
  "alt-svc",
  "nel",
  "report-to",
  "reporting-endpoints",
  "content-security-policy",
  "content-security-policy-report-only",
  "refresh",
  "www-authenticate",
  "accept-ch",
  "service-worker-allowed",
  "x-request-id",
  "server-timing",
  "cf-cache-status",
]);

/** Whether the upstream's configuration sets this header. */
export const isConfigured = (upstream: Upstream, name: string): boolean =>
  Object.keys(upstream.headers).some((configured) => configured.toLowerCase() === name);

const SAYS_NOTHING_OF_ANYBODY =
  /^(accept|accept-language|user-agent|via|x-request-id|cache-control|pragma|range|if-.*|content-.*|dnt|priority|prefer|upgrade-insecure-requests|traceparent|tracestate)$/;

/** Whether an answer may depend on this header because of who is asking: any header may, that is not known not to. */
export const isPersonal = (name: string): boolean => !SAYS_NOTHING_OF_ANYBODY.test(name);

/** The headers of a call, from those of the request that asked for it. `via` is this Sluice's own pseudonym. */
export function toUpstream(received: Headers, upstream: Upstream, requestId: string, via: string): Headers {
  const named = connectionOptions(received);
  const headers = new Headers();
  for (const [name, value] of received) {
    if (!OF_THE_CALLER.has(name) && !FAMILIES_OF_THE_CALLER.test(name) && !named.has(name))
      headers.append(name, value);
  }
  if (!headers.has("user-agent")) headers.set("user-agent", "sluice");
  headers.set("via", [received.get("via"), `1.1 ${via}`].filter(Boolean).join(", "));
  headers.set("x-request-id", requestId);
  for (const [name, value] of Object.entries(upstream.headers)) headers.set(name, value);
  return headers;
}

/** The headers of an answer, from those of the upstream's. */
export function toCaller(received: Headers): Headers {
  const named = connectionOptions(received);
  const headers = new Headers();
  for (const [name, value] of received) {
    if (!OF_THE_UPSTREAM.has(name) && !name.startsWith("access-control-") && !named.has(name))
      headers.append(name, value);
  }
  // The runtime decodes the body when it is read, and encodes it again: its length is another then.
  if (headers.has("content-encoding")) headers.delete("content-length");
  // Whatever it is, it comes from this origin now, and must not run in it.
  headers.set("content-security-policy", "default-src 'none'; sandbox");
  headers.set("x-content-type-options", "nosniff");
  return headers;
}

/** Whether a call with these headers has passed through `via` already (RFC 9110 §7.6.3). */
export function hasPassed(received: Headers, via: string): boolean {
  return (received.get("via") ?? "").split(",").some((hop) => hop.trim().split(/\s+/)[1] === via);
}

const connectionOptions = (headers: Headers): Set<string> =>
  new Set((headers.get("connection") ?? "").split(",").map((name) => name.trim().toLowerCase()));

/** Retry-After (RFC 9110 §10.2.3), seconds or a date, as ms from now; undefined if there is none that can be read. */
export function retryAfterMs(headers: Headers, nowMs: number): number | undefined {
  const text = headers.get("retry-after")?.trim() ?? "";
  if (/^\d+$/.test(text)) return Number(text) * 1000;
  const at = text.endsWith("GMT") ? Date.parse(text) : Number.NaN;
  return Number.isNaN(at) ? undefined : Math.max(0, at - nowMs);
}
