/**
 * Which headers travel on, and which stay here. Headers of a single connection stay (RFC 9110 §7.6.1). So does
 * everything that concerns the caller and Sluice: credentials, cookies, addresses, and what Cloudflare and the
 * browser add about the caller.
 */
import { parseHttpDate } from "../../kernel/http-date.ts";
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

/** Request headers that do not travel to the upstream. */
const NOT_TO_UPSTREAM = new Set([
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
const PREFIXES_NOT_TO_UPSTREAM = /^(x-forwarded-|cf-|sec-|proxy-)/;

/** Response headers that do not travel to the caller: cookies would be Sluice's own, and so would policies. */
const NOT_TO_CALLER = new Set([
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

/** True if the upstream's configuration sets this header. */
export const isConfigured = (upstream: Upstream, name: string): boolean =>
  Object.keys(upstream.headers).some((configured) => configured.toLowerCase() === name);

const IMPERSONAL =
  /^(accept|accept-language|user-agent|via|x-request-id|cache-control|pragma|range|if-.*|content-.*|dnt|priority|prefer|upgrade-insecure-requests|traceparent|tracestate)$/;

/** True if this header may identify who is asking. Every header may that is not known to be impersonal. */
export const isPersonal = (name: string): boolean => !IMPERSONAL.test(name);

/** The headers of a call, from those that its caller sent. `via` is the pseudonym of this Sluice. */
export function toUpstream(received: Headers, upstream: Upstream, requestId: string, via: string): Headers {
  const named = connectionOptions(received);
  const headers = new Headers();
  for (const [name, value] of received) {
    if (!NOT_TO_UPSTREAM.has(name) && !PREFIXES_NOT_TO_UPSTREAM.test(name) && !named.has(name))
      headers.append(name, value);
  }
  if (!headers.has("user-agent")) headers.set("user-agent", "sluice");
  headers.set("via", [received.get("via"), `1.1 ${via}`].filter(Boolean).join(", "));
  headers.set("x-request-id", requestId);
  for (const [name, value] of Object.entries(upstream.headers)) headers.set(name, value);
  return headers;
}

/** The headers of a response, from those that the upstream sent. */
export function toCaller(received: Headers): Headers {
  const named = connectionOptions(received);
  const headers = new Headers();
  for (const [name, value] of received) {
    if (!NOT_TO_CALLER.has(name) && !name.startsWith("access-control-") && !named.has(name))
      headers.append(name, value);
  }
  // The runtime decodes the body when it is read and encodes it again, which changes its length.
  if (headers.has("content-encoding")) headers.delete("content-length");
  // Whatever the body is, it now comes from Sluice's origin, and must not run in it.
  headers.set("content-security-policy", "default-src 'none'; sandbox");
  headers.set("x-content-type-options", "nosniff");
  return headers;
}

/** True if a call with these headers has already passed through `via` (RFC 9110 §7.6.3). */
export function hasPassed(received: Headers, via: string): boolean {
  return (received.get("via") ?? "").split(",").some((hop) => hop.trim().split(/\s+/)[1] === via);
}

const connectionOptions = (headers: Headers): Set<string> =>
  new Set((headers.get("connection") ?? "").split(",").map((name) => name.trim().toLowerCase()));

/** Retry-After (RFC 9110 §10.2.3), seconds or a date in any of its three forms, as ms from now; undefined if it is absent or malformed. */
export function retryAfterMs(headers: Headers, nowMs: number): number | undefined {
  const text = headers.get("retry-after")?.trim() ?? "";
  if (/^\d+$/.test(text)) return Number(text) * 1000;
  const atMs = parseHttpDate(text, nowMs);
  return atMs === undefined ? undefined : Math.max(0, atMs - nowMs);
}
