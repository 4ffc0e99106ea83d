/**
 * Answers to GET, kept in the Workers Cache of each data centre. A hit takes no permit.
 *
 * What may be kept, and for how long, is what a shared cache may do by RFC 9111 (`http-cache-semantics` decides); with
 * `cache_seconds`, an answer that says nothing of caching is kept for so long. With `cache_seconds = 0` nothing is.
 *
 * Identical GETs that are under way at the same time do not share one call. They reach different Workers, often in
 * different data centres; to share, one of them, or the semaphore, would have to hold the bytes for the slowest of
 * the others, and all would fail with the one.
 */
import CachePolicy from "http-cache-semantics";
import { errorFields, log } from "../../kernel/log.ts";
import type { Ask } from "../client/call.ts";
import type { Caller } from "../client/client.ts";
import { isConfigured, isPersonal } from "../client/headers.ts";
import type { Upstream } from "../upstreams.ts";

/** Request headers that a kept answer may depend on: they are part of its key. */
const IN_KEY = ["accept", "accept-language"];
/** An answer that is longer is not kept. In bytes. */
const MOST_KEPT = 2 * 1024 * 1024;

/** How an answer came about, for `Cache-Status` (RFC 9211 §2): "hit", or why the upstream was asked. */
export type CacheStatus =
  | "hit"
  | "fwd=uri-miss"
  | "fwd=uri-miss; stored"
  | "fwd=request"
  | "fwd=method"
  | "fwd=bypass";

/** Whether the cache may be asked at all, and if not, why. */
export function bypass(upstream: Upstream, { method, headers }: Ask): CacheStatus | undefined {
  if (upstream.cacheSeconds === 0) return "fwd=bypass";
  if (method !== "GET") return "fwd=method";
  const isUnwanted =
    headers.has("range") ||
    headers.has("pragma") ||
    /no-cache|no-store|max-age=0/.test(headers.get("cache-control") ?? "");
  // A header such as X-Api-Key makes the answer its sender's own. Those of the configuration are the same for all.
  const isOwn = [...headers.keys()].some((name) => isPersonal(name) && !isConfigured(upstream, name));
  return isUnwanted || isOwn ? "fwd=request" : undefined;
}

/** The answer that is kept, if one is. A cache that fails is an empty one. */
export async function fromCache(upstream: Upstream, ask: Ask): Promise<Response | undefined> {
  try {
    return await caches.default.match(keyOf(upstream, ask));
  } catch (error) {
    log("warn", "cache not readable", { upstream: upstream.name, ...errorFields(error) });
    return undefined;
  }
}

/** The same answer; if it may be kept, it is, once all of it has been read. Its headers are those to be kept. */
export function intoCache(
  caller: Caller,
  upstream: Upstream,
  ask: Ask,
  answer: Response,
): { response: Response; isStored: boolean } {
  const response = withLifetime(upstream, answer);
  if (!response.body || !mayKeep(upstream, ask, response)) return { response: answer, isStored: false };
  const { status, headers } = response;
  const keep = async (bytes: Uint8Array) => {
    try {
      await caches.default.put(keyOf(upstream, ask), new Response(bytes, { status, headers }));
    } catch (error) {
      log("warn", "cache not writable", { upstream: upstream.name, ...errorFields(error) });
    }
  };
  const body = response.body.pipeThrough(collecting((bytes) => caller.ctx.waitUntil(keep(bytes))));
  return { response: new Response(body, response), isStored: true };
}

function withLifetime({ cacheSeconds }: Upstream, answer: Response): Response {
  const { headers } = answer;
  if (
    cacheSeconds === undefined ||
    answer.status !== 200 ||
    headers.has("cache-control") ||
    headers.has("expires")
  )
    return answer;
  const response = new Response(answer.body, answer);
  response.headers.set("cache-control", `max-age=${cacheSeconds}`);
  return response;
}

function mayKeep(upstream: Upstream, ask: Ask, { status, headers }: Response): boolean {
  if (Number(headers.get("content-length") ?? 0) > MOST_KEPT) return false;
  const varies = (headers.get("vary") ?? "").split(",").map((name) => name.trim().toLowerCase());
  if (varies.some((name) => name !== "" && name !== "accept-encoding" && !IN_KEY.includes(name)))
    return false;
  // With `cache_seconds` the operator has said that the upstream's answers are the same for all, whatever key gets them.
  const headersSent = upstream.cacheSeconds === undefined ? lowerCased(upstream.headers) : {};
  const request = { url: ask.path, method: ask.method, headers: headersSent };
  const policy = new CachePolicy(
    request,
    { status, headers: Object.fromEntries(headers) },
    { shared: true, cacheHeuristic: 0 },
  );
  return policy.storable() && policy.timeToLive() > 0;
}

const lowerCased = (headers: Readonly<Record<string, string>>) =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));

function keyOf({ name }: Upstream, { path, headers }: Ask): Request {
  const variant = encodeURIComponent(IN_KEY.map((header) => headers.get(header) ?? "").join("\n"));
  const conditions = ["if-none-match", "if-modified-since"].flatMap((header): [string, string][] => {
    const value = headers.get(header);
    return value === null ? [] : [[header, value]];
  });
  return new Request(`https://cache.sluice.internal/${name}/${variant}${path}`, { headers: conditions });
}

/**
 * The same bytes; `onWhole` is given all of them at the end, unless they are too many. In memory, and not as a stream
 * that is still going on: the cache keeps what it has got of one that breaks off.
 */
function collecting(onWhole: (bytes: Uint8Array) => void): TransformStream<Uint8Array, Uint8Array> {
  let chunks: Uint8Array[] = [];
  let size = 0;
  return new TransformStream({
    transform(chunk, controller) {
      size += chunk.length;
      if (size > MOST_KEPT) chunks = [];
      else chunks.push(chunk);
      controller.enqueue(chunk);
    },
    flush() {
      if (size <= MOST_KEPT) onWhole(Buffer.concat(chunks));
    },
  });
}
