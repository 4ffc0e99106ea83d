/**
 * Which headers travel on, in both directions. These are lists of what may, by purpose: a header that is in none of
 * them stays here. So whatever names another method, path, host or client (`X-HTTP-Method-Override`, `X-Original-URL`,
 * `X-Cluster-Client-IP`) does not reach an upstream, whichever of them it believes, and whatever would govern Sluice's
 * own origin or the servers on the way (`Set-Cookie`, `Speculation-Rules`, `X-Sendfile`, `CDN-Cache-Control`) does not
 * come back. An upstream's `request_headers` and `response_headers` add to the lists.
 */
import { parseHttpDate } from "../../kernel/http-date.ts";
import { passiveContentPolicy } from "../../kernel/passive-content.ts";
import { currentTraceparent, isRecording } from "../../kernel/trace.ts";
import { isReservedInRequests } from "../reserved-headers.ts";
import type { Upstream } from "../upstreams.ts";
import { contentLength } from "./content-length.ts";

/** Request headers that travel to every upstream, and say nothing about who is asking. */
const REQUEST_HEADERS = new Set(
  [
    // What is wanted, and on which condition.
    "accept accept-charset accept-datetime accept-language prefer priority want-content-digest want-repr-digest",
    "cache-control pragma range last-event-id",
    "if-match if-none-match if-modified-since if-unmodified-since if-range",
    // The content.
    "content-type content-encoding content-language content-disposition content-range",
    "content-digest repr-digest digest content-md5",
    // The software that asks, and the trace that the call is part of.
    "user-agent via traceparent tracestate",
  ].flatMap((names) => names.split(" ")),
);

/** Sluice sets these itself. */
const OWN_HEADERS = new Set(["accept-encoding", "x-request-id"]);

/** This too travels to every upstream, but its value is a caller's own. */
const PERSONAL_HEADERS = new Set(["idempotency-key"]);

/** Response headers that travel to every caller, besides those of rate limits. */
const RESPONSE_HEADERS = new Set(
  [
    // The content.
    "content-type content-length content-encoding content-language content-disposition content-range accept-ranges",
    "content-location content-digest repr-digest digest content-md5",
    // Its version, and how long it may be kept.
    "etag last-modified date age expires cache-control pragma vary",
    // Where to go from here, and when.
    "location link retry-after allow accept-patch accept-post preference-applied deprecation sunset ratelimit",
    "x-total-count",
    // What happened on the way.
    "via cache-status proxy-status",
  ].flatMap((names) => names.split(" ")),
);
const RATE_LIMIT = /^(x-)?rate-?limit-/;

/** True if the upstream's configuration sets this header. */
export const isConfigured = (upstream: Upstream, name: string): boolean =>
  Object.keys(upstream.headers).some((configured) => configured.toLowerCase() === name);

/** True if this header may identify who is asking. Every header may that is not known to be impersonal. */
export const isPersonal = (name: string): boolean => !REQUEST_HEADERS.has(name) && !OWN_HEADERS.has(name);

/** True if a header of this name (in lower case) that a caller sends travels to the upstream. */
export const travels = (upstream: Upstream, name: string): boolean =>
  REQUEST_HEADERS.has(name) || PERSONAL_HEADERS.has(name) || upstream.requestHeaders.includes(name);

/** Who wrote the headers of a call, and what Sluice adds to them. */
export interface Sender {
  /** Code of this Worker chooses the headers of its calls itself: the list does not apply to them. */
  isCode: boolean;
  requestId: string;
  /** The pseudonym of this Sluice. */
  via: string;
  /** The codings that whoever gets the response can read. */
  acceptEncoding: string;
}

/** The headers of a call, from those that its caller sent. */
export function toUpstream(received: Headers, upstream: Upstream, sender: Sender): Headers {
  const { isCode, requestId, via, acceptEncoding } = sender;
  const mayTravel = (name: string) => (isCode ? !isReservedInRequests(name) : travels(upstream, name));
  const headers = selected(received, mayTravel);
  if (!headers.has("user-agent")) headers.set("user-agent", USER_AGENT);
  headers.set("via", [received.get("via"), `1.1 ${via}`].filter(Boolean).join(", "));
  headers.set("accept-encoding", acceptEncoding);
  headers.set("x-request-id", requestId);
  for (const [name, value] of Object.entries(upstream.headers)) headers.set(name, value);
  return headers;
}

/**
 * The headers of a call with the trace that it is part of (W3C Trace Context §4.3), unless the upstream is to be told none. A
 * trace that is not recorded here is passed on as it came.
 */
export function withTrace(headers: Headers, { trace: isTold }: Upstream): Headers {
  const traceparent = currentTraceparent();
  if (isTold && (traceparent === undefined || (headers.has("traceparent") && !isRecording()))) return headers;
  const changed = new Headers(headers);
  if (isTold && traceparent !== undefined) changed.set("traceparent", traceparent);
  else for (const name of ["traceparent", "tracestate"]) changed.delete(name);
  return changed;
}

/** What Sluice calls itself, where the software that asks is not named. */
export const USER_AGENT = "sluice";

/** The headers of a response, from those that the upstream sent. */
export function toCaller(received: Headers, { responseHeaders }: Upstream): Headers {
  const headers = selected(
    received,
    (name) => RESPONSE_HEADERS.has(name) || RATE_LIMIT.test(name) || responseHeaders.includes(name),
  );
  const length = contentLength(received);
  if (length === undefined) headers.delete("content-length");
  else if (headers.has("content-length")) headers.set("content-length", String(length));
  // Whatever the body is, it now comes from Sluice's origin, and must not run in it.
  headers.set("content-security-policy", passiveContentPolicy(headers.get("content-type")));
  headers.set("x-content-type-options", "nosniff");
  return headers;
}

/** A connection's own headers, and those that `Connection` names, never travel (RFC 9110 §7.6.1). */
function selected(received: Headers, mayTravel: (name: string) => boolean): Headers {
  const named = (received.get("connection") ?? "").split(",").map((name) => name.trim().toLowerCase());
  return new Headers([...received].filter(([name]) => mayTravel(name) && !named.includes(name)));
}

/** True if a call with these headers has already passed through `via` (RFC 9110 §7.6.3). */
export function hasPassed(received: Headers, via: string): boolean {
  return (received.get("via") ?? "").split(",").some((hop) => hop.trim().split(/\s+/)[1] === via);
}

/**
 * Retry-After (RFC 9110 §10.2.3), seconds or a date in any of its three forms, as ms from now; undefined if it is absent
 * or malformed.
 */
export function retryAfterMs(headers: Headers, nowMs: number): number | undefined {
  const text = headers.get("retry-after")?.trim() ?? "";
  if (/^\d+$/.test(text)) return Number(text) * 1000;
  const atMs = parseHttpDate(text, nowMs);
  return atMs === undefined ? undefined : Math.max(0, atMs - nowMs);
}
