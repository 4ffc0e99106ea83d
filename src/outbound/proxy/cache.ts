/**
 * Responses to GET, kept by the Cache API in each data centre, or by Workers Cache (workers-cache.ts). A hit takes no permit.
 *
 * What may be stored, and for how long, follows RFC 9111 (freshness.ts). With `cache_seconds`, a response that says
 * nothing about caching is stored for that time. With `cache_seconds = 0` nothing is stored.
 *
 * Invariant: a response that may be served to somebody else depends on nothing that its first caller sent, except what
 * is in its key. So a request whose response may be kept travels with the headers of the key only. A request with any
 * other header that could change its response does not use the cache.
 *
 * Identical GETs that are in flight at the same time share one call in Workers Cache only. They arrive at different
 * Workers. To share otherwise, one Worker or the semaphore would have to hold the bytes for the slowest reader, and all
 * of them would fail together.
 */
import { errorFields, log } from "../../kernel/log.ts";
import type { UpstreamRequest } from "../client/call.ts";
import type { Caller } from "../client/call-under-permit.ts";
import { readChunks, streamOfLength } from "../client/chunks.ts";
import { asCoded, normalizeAccepted } from "../client/coding.ts";
import { contentLength } from "../client/content-length.ts";
import { isConfigured, USER_AGENT } from "../client/headers.ts";
import type { Upstream } from "../upstreams.ts";
import { keepsAnything, mayKeep } from "./cache-probe.ts";
import { type Demands, initialAge, isUnchanged, lifetimeOf, readDemands } from "./freshness.ts";
import { findPlace, type Place, readStored, type Stored, type StoredHead, writeStored } from "./store.ts";

/** What a stored response may depend on: these headers of a request are in its key. */
export const KEY_HEADERS = ["accept", "accept-encoding", "accept-language", "via"];
/** Headers that say nothing about the response that is wanted. They do not travel if the response may be kept. */
const NEUTRAL_HEADERS = [
  "user-agent",
  "x-request-id",
  "traceparent",
  "tracestate",
  "priority",
  "cache-control",
];
/** They can be answered from the cache. An upstream would answer them with another response. */
const CONDITIONS = ["if-none-match", "if-modified-since"];

/** A longer response is not stored. */
export const MAX_STORED_BYTES = 2 * 1024 * 1024;

/** How a response came about, for `Cache-Status` (RFC 9211 §2): "hit", or why the upstream was called. */
export type CacheStatus =
  | "hit"
  | "fwd=uri-miss"
  | "fwd=uri-miss; stored"
  | "fwd=request"
  | "fwd=method"
  | "fwd=bypass";

/** How a request may use the cache. `mayStore`: its response may be kept. */
export type CacheUse =
  | { mayRead: false; mayStore: false; bypassed: CacheStatus }
  | { mayRead: true; mayStore: boolean; demands: Demands };

const bypass = (bypassed: CacheStatus): CacheUse => ({ mayRead: false, mayStore: false, bypassed });

export function cacheUseOf(
  upstream: Upstream,
  { method, headers, body, redirect }: UpstreamRequest,
): CacheUse {
  if (upstream.cacheSeconds === 0) return bypass("fwd=bypass");
  if (method !== "GET") return bypass("fwd=method");
  // What is stored is what followed redirects led to.
  if (redirect === "manual") return bypass("fwd=request");
  const own = [...headers.keys()].filter((name) => !isConfigured(upstream, name));
  const understood = [...KEY_HEADERS, ...NEUTRAL_HEADERS, ...CONDITIONS];
  const demands = readDemands(headers);
  if (body !== null || demands.isBypass || own.some((name) => !understood.includes(name)))
    return bypass("fwd=request");
  return { mayRead: true, mayStore: !own.some((name) => CONDITIONS.includes(name)), demands };
}

/** The request as it travels if its response may be kept: of its caller's headers, only those of the key. */
export function withKeyHeadersOnly(upstream: Upstream, request: UpstreamRequest): UpstreamRequest {
  const headers = new Headers({ "user-agent": USER_AGENT });
  for (const [name, value] of request.headers)
    if (isConfigured(upstream, name)) headers.set(name, value);
    else if (KEY_HEADERS.includes(name)) headers.set(name, keyValue(name, value));
  return { ...request, headers };
}

/** The value that is in the key, and travels. */
const keyValue = (name: string, value: string) =>
  name === "accept-encoding" ? normalizeAccepted(value) : value;

/** What of a request is in the key, in the order of `KEY_HEADERS`. */
export const variantOf = (headers: Headers): string[] =>
  KEY_HEADERS.map((name) => keyValue(name, headers.get(name) ?? ""));

/**
 * The stored response, if there is one that will do, and the place for a new one, unless the cache keeps nothing. A
 * failing cache counts as empty.
 */
export async function readCache(
  upstream: Upstream,
  { headers }: UpstreamRequest,
  url: URL,
  use: CacheUse,
): Promise<{ hit?: Response; place?: Place }> {
  if (!use.mayRead || !mayKeep()) return {};
  try {
    const place = await findPlace(upstream, url, variantOf(headers), { isNew: use.mayStore });
    const stored = place && (await readStored(place));
    const hit = stored && serve(stored, headers, use.demands);
    if (hit) return { hit };
    return use.mayStore && place && (await keepsAnything()) ? { place } : {};
  } catch (error) {
    log("warn", "cache not readable", { upstream: upstream.name, ...errorFields(error) });
    return {};
  }
}

/** The stored response with its present age (RFC 9111 §4, §5.1); undefined if it is too old for the request. */
export function serve({ head, body }: Stored, asked: Headers, demands: Demands): Response | undefined {
  const ageS = head.initialAgeS + Math.max(0, Date.now() - head.receivedAtMs) / 1000;
  const isFresh = ageS < head.lifetimeS && ageS <= demands.maxAgeS;
  if (!isFresh || head.lifetimeS - ageS < demands.minFreshS) return undefined;
  const headers = new Headers(head.headers);
  headers.set("age", String(Math.floor(ageS)));
  if (!isUnchanged(asked, { status: head.status, headers })) return asCoded(body, { ...head, headers });
  for (const [name] of head.headers) if (/^content-(?!location|security)/.test(name)) headers.delete(name);
  return new Response(null, { status: 304, headers });
}

/** What a cache needs of a response besides what its caller gets. */
export interface Origin {
  /** As the upstream sent them, with those that do not travel on. */
  headers: Headers;
  receivedAtMs: number;
  upstreamMs: number;
}

/**
 * The upstream's headers, with what a cache adds: a Date (RFC 9110 §6.6.1) and, with `cache_seconds`, a lifetime for a
 * response that has none.
 */
export function withCacheDefaults(
  { cacheSeconds }: Upstream,
  { status, headers }: Response,
  nowMs: number,
): Headers {
  const completed = new Headers(headers);
  if (!headers.has("date")) completed.set("date", new Date(nowMs).toUTCString());
  const isSilent = ["cache-control", "expires", "pragma", "set-cookie"].every((name) => !headers.has(name));
  if (cacheSeconds !== undefined && status === 200 && isSilent)
    completed.set("cache-control", `max-age=${cacheSeconds}`);
  return completed;
}

/** What to keep of a response besides its body, with the headers it has here; undefined if it may not be stored. */
export function headToStore(
  upstream: Upstream,
  { status, statusText, headers, body }: Response,
  origin: Origin,
): StoredHead | undefined {
  const lifetimeS = lifetimeOf({ status, headers: origin.headers }, sharingOf(upstream));
  const initialAgeS = initialAge(origin.headers, origin.receivedAtMs, origin.upstreamMs);
  const isTooLong = (contentLength(headers) ?? 0) > MAX_STORED_BYTES;
  if (!body || isTooLong || lifetimeS <= initialAgeS) return undefined;
  return {
    status,
    statusText,
    headers: [...headers],
    receivedAtMs: origin.receivedAtMs,
    initialAgeS,
    lifetimeS,
  };
}

/** The same response. If it may be stored, it is, once all of it has been read. */
export function storeInCache(
  caller: Caller,
  upstream: Upstream,
  place: Place,
  response: Response,
  origin: Origin,
): { response: Response; isStored: boolean } {
  const head = headToStore(upstream, response, origin);
  if (!response.body || !head) return { response, isStored: false };
  const store = async (body: Uint8Array) => {
    try {
      await writeStored(upstream, place, { head, body });
    } catch (error) {
      log("warn", "cache not writable", { upstream: upstream.name, ...errorFields(error) });
    }
  };
  const collected = collecting(response.body, contentLength(response.headers), (bytes) =>
    caller.ctx.waitUntil(store(bytes)),
  );
  return { response: asCoded(collected, response), isStored: true };
}

/**
 * By setting `cache_seconds` the operator says that the responses are the same for everybody, whichever key gets them.
 */
const sharingOf = (upstream: Upstream) => ({
  keyHeaders: KEY_HEADERS,
  isAuthorized: upstream.cacheSeconds === undefined && isConfigured(upstream, "authorization"),
});

/**
 * The same body, with the length that is given. At its end `onWhole` gets all of it, unless it is too long. It is
 * collected in memory, and not streamed into the cache, because the cache keeps the beginning of a stream that breaks
 * off.
 */
function collecting(
  body: ReadableStream<Uint8Array>,
  length: number | undefined,
  onWhole: (bytes: Uint8Array) => void,
): ReadableStream<Uint8Array> {
  const reader = readChunks(body);
  let chunks: Uint8Array[] = [];
  let size = 0;
  return streamOfLength(length, {
    async pull(controller) {
      const chunk = await reader.read();
      if (!chunk) {
        if (size <= MAX_STORED_BYTES && size === (length ?? size)) onWhole(Buffer.concat(chunks));
        return controller.close();
      }
      size += chunk.length;
      if (size > MAX_STORED_BYTES) chunks = [];
      else chunks.push(chunk);
      controller.enqueue(chunk);
    },
    cancel: (reason) => reader.cancel(reason),
  });
}
