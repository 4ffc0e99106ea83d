/**
 * Responses to GET, kept in the Workers Cache of each data centre. A hit takes no permit.
 *
 * What may be stored, and for how long, follows the rules for shared caches in RFC 9111 (`http-cache-semantics`
 * decides). With `cache_seconds`, a response that says nothing about caching is stored for that time. With
 * `cache_seconds = 0` nothing is stored.
 *
 * Identical GETs that are in flight at the same time do not share one call. They arrive at different Workers, often
 * in different data centres. To share, one Worker or the semaphore would have to hold the bytes for the slowest
 * reader, and all of them would fail together.
 */
import CachePolicy from "http-cache-semantics";
import { errorFields, log } from "../../kernel/log.ts";
import type { UpstreamRequest } from "../client/call.ts";
import type { Caller } from "../client/call-under-permit.ts";
import { isConfigured, isPersonal } from "../client/headers.ts";
import type { Upstream } from "../upstreams.ts";

/** Request headers that a stored response may depend on. They are part of its key. */
const KEY_HEADERS = ["accept", "accept-language"];
/** A longer response is not stored. */
const MAX_STORED_BYTES = 2 * 1024 * 1024;

/** How a response came about, for `Cache-Status` (RFC 9211 §2): "hit", or why the upstream was called. */
export type CacheStatus =
  | "hit"
  | "fwd=uri-miss"
  | "fwd=uri-miss; stored"
  | "fwd=request"
  | "fwd=method"
  | "fwd=bypass";

/** Why the cache must not be used for a request; undefined if it may be. */
export function bypassReason(
  upstream: Upstream,
  { method, headers }: UpstreamRequest,
): CacheStatus | undefined {
  if (upstream.cacheSeconds === 0) return "fwd=bypass";
  if (method !== "GET") return "fwd=method";
  const isUnwanted =
    headers.has("range") ||
    headers.has("pragma") ||
    /no-cache|no-store|max-age=0/.test(headers.get("cache-control") ?? "");
  // A header such as X-Api-Key makes the response its sender's own. The configured headers are the same for
  // everybody.
  const isOwn = [...headers.keys()].some((name) => isPersonal(name) && !isConfigured(upstream, name));
  return isUnwanted || isOwn ? "fwd=request" : undefined;
}

/** The stored response, if there is one. A cache that fails counts as empty. */
export async function readCache(upstream: Upstream, request: UpstreamRequest): Promise<Response | undefined> {
  try {
    return await caches.default.match(keyOf(upstream, request));
  } catch (error) {
    log("warn", "cache not readable", { upstream: upstream.name, ...errorFields(error) });
    return undefined;
  }
}

/** The same response. If it may be stored, it is, once all of it has been read, with the headers it has here. */
export function storeInCache(
  caller: Caller,
  upstream: Upstream,
  request: UpstreamRequest,
  fresh: Response,
): { response: Response; isStored: boolean } {
  const response = withLifetime(upstream, fresh);
  if (!response.body || !mayStore(upstream, request, response)) return { response: fresh, isStored: false };
  const { status, headers } = response;
  const store = async (bytes: Uint8Array) => {
    try {
      await caches.default.put(keyOf(upstream, request), new Response(bytes, { status, headers }));
    } catch (error) {
      log("warn", "cache not writable", { upstream: upstream.name, ...errorFields(error) });
    }
  };
  const body = response.body.pipeThrough(collecting((bytes) => caller.ctx.waitUntil(store(bytes))));
  return { response: new Response(body, response), isStored: true };
}

function withLifetime({ cacheSeconds }: Upstream, fresh: Response): Response {
  const { headers } = fresh;
  if (
    cacheSeconds === undefined ||
    fresh.status !== 200 ||
    headers.has("cache-control") ||
    headers.has("expires")
  )
    return fresh;
  const response = new Response(fresh.body, fresh);
  response.headers.set("cache-control", `max-age=${cacheSeconds}`);
  return response;
}

function mayStore(upstream: Upstream, request: UpstreamRequest, { status, headers }: Response): boolean {
  if (Number(headers.get("content-length") ?? 0) > MAX_STORED_BYTES) return false;
  const varies = (headers.get("vary") ?? "").split(",").map((name) => name.trim().toLowerCase());
  if (varies.some((name) => name !== "" && name !== "accept-encoding" && !KEY_HEADERS.includes(name)))
    return false;
  // By setting `cache_seconds` the operator says that the responses are the same for everybody, whichever key gets
  // them.
  const headersSent = upstream.cacheSeconds === undefined ? lowerCased(upstream.headers) : {};
  const policy = new CachePolicy(
    { url: request.path, method: request.method, headers: headersSent },
    { status, headers: Object.fromEntries(headers) },
    { shared: true, cacheHeuristic: 0 },
  );
  return policy.storable() && policy.timeToLive() > 0;
}

const lowerCased = (headers: Readonly<Record<string, string>>) =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));

function keyOf({ name }: Upstream, { path, headers }: UpstreamRequest): Request {
  const variant = encodeURIComponent(KEY_HEADERS.map((header) => headers.get(header) ?? "").join("\n"));
  const conditions = ["if-none-match", "if-modified-since"].flatMap((header): [string, string][] => {
    const value = headers.get(header);
    return value === null ? [] : [[header, value]];
  });
  return new Request(`https://cache.sluice.internal/${name}/${variant}${path}`, { headers: conditions });
}

/**
 * Passes bytes on. At the end `onWhole` gets all of them, unless they are too many. They are collected in memory, and
 * not streamed into the cache, because the cache keeps the beginning of a stream that breaks off.
 */
function collecting(onWhole: (bytes: Uint8Array) => void): TransformStream<Uint8Array, Uint8Array> {
  let chunks: Uint8Array[] = [];
  let size = 0;
  return new TransformStream({
    transform(chunk, controller) {
      size += chunk.length;
      if (size > MAX_STORED_BYTES) chunks = [];
      else chunks.push(chunk);
      controller.enqueue(chunk);
    },
    flush() {
      if (size <= MAX_STORED_BYTES) onWhole(Buffer.concat(chunks));
    },
  });
}
