/**
 * Calls through Workers Cache, which works at every address of the Worker, also on workers.dev. It keeps the responses of
 * an entrypoint (upstream-cache.ts), and lets requests for the same response wait for one call.
 *
 * It is for upstreams with `cache_seconds` that no request through Sluice changes. For others it would be wrong. Requests
 * whose responses cannot be kept would still wait for each other. And what has changed would have to be purged, which an
 * account may do five times a minute.
 *
 * A local runtime has no such cache. There, and wherever a response of the entrypoint does not say what the cache did, the
 * Cache API is used.
 */
import { exports } from "cloudflare:workers";
import { errorFields, log } from "../../kernel/log.ts";
import { Problem } from "../../kernel/problem.ts";
import { span } from "../../kernel/spans.ts";
import { countSubrequests } from "../../kernel/subrequests.ts";
import { currentTraceparent } from "../../kernel/trace.ts";
import { clientGone } from "../client/acquire-permit.ts";
import type { UpstreamRequest } from "../client/call.ts";
import type { Caller } from "../client/call-under-permit.ts";
import { asCoded } from "../client/coding.ts";
import { serverTiming } from "../client/server-timing.ts";
import { type EndTurn, takeTurn } from "../client/turns.ts";
import type { Upstream } from "../upstreams.ts";
import { type CacheStatus, type CacheUse, serve, variantOf } from "./cache.ts";
import { type CachedCall, type CachedResult, resultIn, toHeaders } from "./cached-call.ts";
import { asksForStored } from "./freshness.ts";
import { keyOfReadOnly } from "./store.ts";
import { PROBE_URL } from "./upstream-cache.ts";

/** What the cache did. Absent if there is none. */
const STATUS = "cf-cache-status";
/** Statuses of a response that was made for this request and has been kept. */
const KEPT = new Set(["MISS", "EXPIRED"]);

/** For how long it is taken for granted that the cache is, or is not, there. It comes and goes with a deploy only. */
const KNOWN_MS = 3_600_000;
let known = { isThere: false, atMs: Number.NEGATIVE_INFINITY };

/** Whether requests that may use the cache go through Workers Cache. */
export async function hasWorkersCache({ cacheSeconds, isChangedHere }: Upstream): Promise<boolean> {
  if (cacheSeconds === undefined || isChangedHere) return false;
  const sinceMs = Date.now() - known.atMs;
  if (sinceMs < 0 || sinceMs >= KNOWN_MS) known = { isThere: await isThere(), atMs: Date.now() };
  return known.isThere;
}

async function isThere(): Promise<boolean> {
  countSubrequests({ internal: 1 });
  try {
    return (await exports.UpstreamCache.fetch(PROBE_URL)).headers.has(STATUS);
  } catch (error) {
    log("warn", "cache not readable", errorFields(error));
    return false;
  }
}

interface CachedResponse {
  response?: Response;
  /** How it came about. */
  status: CacheStatus;
  /** Where it came from. */
  url: URL;
}

/**
 * The response to a GET, stored or new. There is none if only a call that goes past the cache, or no call at all, will do.
 * Throws a `Problem` if the call gets no response. A failing cache counts as empty.
 */
export async function readThrough(
  caller: Caller,
  upstream: Upstream,
  request: UpstreamRequest,
  url: URL,
  { mayStore, demands }: CacheUse & { mayRead: true },
): Promise<CachedResponse> {
  const { path, headers, redirect, claim } = request;
  const { requestId, name, priority } = caller;
  const isLookup = !mayStore || asksForStored(headers);
  const id = crypto.randomUUID();
  const variant = variantOf(headers);
  const call: CachedCall = {
    id,
    upstream: upstream.name,
    path,
    variant,
    isLookup,
    requestId,
    name,
    priority,
    ...claim,
  };
  const { result, wrapped } = await fetchThrough(
    caller,
    upstream,
    url,
    redirect === "error" ? { ...call, redirect } : call,
  );
  if (!result || "isMissing" in result) return { status: "fwd=uri-miss", url };
  if ("kind" in result) throw new Problem(result.kind, result.detail, { headers: result.headers });
  const { head } = result;
  const from = new URL(result.url);
  if (result.id !== id) {
    const hit = serve({ head, body: new Uint8Array(await wrapped.arrayBuffer()) }, headers, demands);
    return { ...(hit && { response: hit }), status: "hit", url: from };
  }
  const isStored = result.isStorable && KEPT.has(wrapped.headers.get(STATUS) ?? "");
  const response = asCoded(wrapped.body, { ...head, headers: new Headers(head.headers) });
  response.headers.append("server-timing", serverTiming(result.timing));
  if (head.status >= 400) response.headers.append("proxy-status", `sluice; received-status=${head.status}`);
  return { response, status: isStored ? "fwd=uri-miss; stored" : "fwd=uri-miss", url: from };
}

async function fetchThrough(
  { ctx, signal }: Caller,
  upstream: Upstream,
  url: URL,
  call: CachedCall,
): Promise<{ result: CachedResult; wrapped: Response } | { result?: never; wrapped?: never }> {
  const key = keyOfReadOnly(upstream, url, call.variant);
  let endTurn: EndTurn | undefined;
  try {
    endTurn = await takeTurn(ctx, signal);
    countSubrequests({ internal: 1 });
    const wrapped = await inSpan(upstream, async () => {
      const headers = toHeaders({ ...call, traceparent: currentTraceparent() });
      return exports.UpstreamCache.fetch(key.url, { headers, signal });
    });
    return { result: resultIn(wrapped.headers), wrapped };
  } catch (error) {
    if (signal.aborted) throw clientGone();
    log("warn", "cache not readable", { upstream: upstream.name, ...errorFields(error) });
    return {};
  } finally {
    endTurn?.();
  }
}

/** Says what the cache did: it may have waited for the call of another request, which is in that one's trace. */
async function inSpan({ name }: Upstream, read: () => Promise<Response>): Promise<Response> {
  let status: string | undefined;
  const attributes = { "sluice.upstream": name };
  const atEnd = () => ({ "sluice.cache": status });
  return span("cache read", { kind: "client", attributes, atEnd }, async () => {
    const response = await read();
    status = response.headers.get(STATUS)?.toLowerCase();
    return response;
  });
}
