/**
 * A call with all that comes around it: the checks of method and path, the headers in both directions, the cache, and
 * the response headers that say how it went. `/fetch/{upstream}/{path}` passes a received request on through here;
 * `/data` and calls from code use it too.
 */
import { Problem } from "../../kernel/problem.ts";
import type { ResponseHead, UpstreamRequest } from "../client/call.ts";
import type { Caller } from "../client/call-under-permit.ts";
import { claimIn, claimOf, type GivenClaim } from "../client/claim.ts";
import { acceptedBy, asCoded, CODE_ACCEPTS, decoded } from "../client/coding.ts";
import { upstreamProblem } from "../client/errors.ts";
import { hasPassed, type Sender, toCaller, toUpstream } from "../client/headers.ts";
import { targetOf } from "../client/path.ts";
import { mapReferences } from "../client/references.ts";
import { bodyOf } from "../client/request-body.ts";
import { callWithRetries, type UpstreamResponse } from "../client/retries.ts";
import { serverTiming } from "../client/server-timing.ts";
import type { RequestBody } from "../client/upload.ts";
import { addHandshake, asksForWebSocket, checkWebSocket, openedWebSocket } from "../client/websocket.ts";
import { checkUpstreamSecret } from "../header-secrets.ts";
import { METHODS, type Upstream } from "../upstreams.ts";
import {
  type CacheStatus,
  type CacheUse,
  cacheUseOf,
  readCache,
  storeInCache,
  withCacheDefaults,
  withKeyHeadersOnly,
} from "./cache.ts";
import { parseCacheControl } from "./cache-control.ts";
import { asksForStored } from "./freshness.ts";
import { invalidate } from "./invalidation.ts";
import { maxForwards, optionsOf } from "./max-forwards.ts";
import type { Place } from "./store.ts";
import { hasWorkersCache, readThrough } from "./workers-cache.ts";

/** A request as its caller wrote it. Not all of its headers travel. */
export interface CallerRequest extends Pick<UpstreamRequest, "method" | "path" | "headers" | "redirect"> {
  /** What the call claims: as its code says, or else as its headers do. */
  given?: GivenClaim;
  /** Called once the request is known to be allowed. */
  readBody: () => Promise<RequestBody>;
}

/** Passes a received request on to `path` of an upstream. Throws a `Problem` if it may not, or gets no response. */
export async function proxy(
  caller: Caller,
  upstream: Upstream,
  path: string,
  received: Request,
): Promise<Response> {
  const { method, headers } = received;
  const readBody = () => bodyOf(received, upstream.timeoutMs);
  const sender = { isCode: false, acceptEncoding: acceptedBy(received) };
  const { response, url } = await exchange(caller, upstream, { method, path, headers, readBody }, sender);
  mapReferences(response.headers, upstream, url);
  keepStrongTag(response.headers);
  return response;
}

/**
 * The edge compresses what it may transform, and weakens its ETag, which the upstream would then not find in an
 * If-Match or If-Range (RFC 9110 §8.8.3.2). What has a coding it leaves alone.
 */
function keepStrongTag(headers: Headers): void {
  if (!headers.get("etag")?.startsWith('"') || headers.has("content-encoding")) return;
  if (!parseCacheControl(headers.get("cache-control")).has("no-transform"))
    headers.append("cache-control", "no-transform");
}

/** A call that code of this Worker makes. Throws a `Problem` if it is not allowed, or gets no response. */
export async function callFromCode(
  caller: Caller,
  upstream: Upstream,
  request: CallerRequest,
): Promise<Response> {
  const sender = { isCode: true, acceptEncoding: CODE_ACCEPTS };
  const { response } = await exchange(caller, upstream, request, sender);
  return decoded(response, upstream);
}

interface Exchange {
  response: Response;
  /** Where the response came from. */
  url: URL;
}

/** One call, answered from the cache where that is possible. */
async function exchange(
  caller: Caller,
  upstream: Upstream,
  { readBody, given, ...rest }: CallerRequest,
  sender: Pick<Sender, "isCode" | "acceptEncoding">,
): Promise<Exchange> {
  const forwards = maxForwards(rest.method, rest.headers);
  if (forwards === 0) return { response: optionsOf(upstream), url: targetOf(upstream, rest.path) };
  checkMethod(upstream, rest.method);
  const url = targetOf(upstream, rest.path);
  const claim = given
    ? claimOf(upstream, url.pathname, rest.headers, given)
    : claimIn(upstream, url.pathname, rest.headers);
  checkUpstreamSecret(upstream);
  const isWebSocket = asksForWebSocket(rest.method, rest.headers);
  if (isWebSocket) checkWebSocket(upstream, rest.headers, sender);
  const via = pseudonymOf(caller.env);
  if (hasPassed(rest.headers, via))
    throw upstreamProblem("loop-detected", "This request has passed through this Sluice before.");
  const request: UpstreamRequest = {
    ...rest,
    claim,
    headers: toUpstream(rest.headers, upstream, { ...sender, requestId: caller.requestId, via }),
    ...(await readBody()),
  };
  if (isWebSocket) addHandshake(request.headers, rest.headers);
  if (forwards !== undefined) request.headers.set("max-forwards", String(forwards - 1));
  const use = cacheUseOf(upstream, request);
  const through =
    use.mayRead && (await hasWorkersCache(upstream))
      ? await readThrough(caller, upstream, request, url, use)
      : undefined;
  if (through?.response)
    return { response: withCacheStatus(through.response, through.status), url: through.url };
  const { hit, place } = through ? {} : await readCache(upstream, request, url, use);
  if (hit) return { response: withCacheStatus(hit, "hit"), url };
  if (asksForStored(rest.headers)) throw notStored();
  const sent = use.mayStore ? withKeyHeadersOnly(upstream, request) : request;
  const result = await callAndInvalidate(caller, upstream, sent);
  // A redirect may lead elsewhere tomorrow.
  const storedAt = result.isRedirected ? undefined : place;
  return { response: respond(caller, upstream, result, use, storedAt), url: result.url };
}

/** Makes the call. Whatever comes of it, what it has changed is no longer served from the cache. */
async function callAndInvalidate(
  caller: Caller,
  upstream: Upstream,
  request: UpstreamRequest,
): Promise<UpstreamResponse> {
  const heads: ResponseHead[] = [];
  try {
    return await callWithRetries(caller, upstream, { ...request, onHead: (head) => heads.push(head) });
  } finally {
    await invalidate(upstream, heads);
  }
}

function respond(
  caller: Caller,
  upstream: Upstream,
  result: UpstreamResponse,
  use: CacheUse,
  place: Place | undefined,
): Response {
  const { response: sent, upstreamMs } = result;
  if (sent.webSocket) return openedWebSocket(sent, sent.webSocket, toCaller(sent.headers, upstream));
  const receivedAtMs = Date.now();
  const headers = place ? withCacheDefaults(upstream, sent, receivedAtMs) : sent.headers;
  const { status, statusText } = sent;
  const fresh = asCoded(sent.body, { status, statusText, headers: toCaller(headers, upstream) });
  const { response, isStored } = place
    ? storeInCache(caller, upstream, place, fresh, { headers, receivedAtMs, upstreamMs })
    : { response: fresh, isStored: false };
  const forwarded = isStored ? "fwd=uri-miss; stored" : "fwd=uri-miss";
  withCacheStatus(response, use.mayRead ? forwarded : use.bypassed);
  response.headers.append("server-timing", serverTiming(result));
  if (status >= 400) response.headers.append("proxy-status", `sluice; received-status=${status}`);
  return response;
}

function withCacheStatus(response: Response, status: CacheStatus): Response {
  response.headers.append("cache-status", `sluice; ${status}`);
  return response;
}

const notStored = () =>
  new Problem(
    "not-stored",
    "Nothing that will do is stored, and the request has Cache-Control: only-if-cached.",
    {
      headers: { "Cache-Status": "sluice; detail=only-if-cached" },
    },
  );

/** Throws a `Problem` 405 that says how to allow the method. */
export function checkMethod({ name, methods }: Upstream, method: string): void {
  if (methods.some((allowed) => allowed === method)) return;
  const allow = methods.join(", ");
  const isPossible = METHODS.some((possible) => possible === method);
  const list = [...methods, method].map((one) => `"${one}"`).join(", ");
  const advice = ` To allow ${method}, set methods = [${list}] under [vars.UPSTREAMS.${name}] in wrangler.toml.`;
  const detail = `The upstream "${name}" may be called with ${allow} only.${isPossible ? advice : ""}`;
  throw new Problem("method-not-allowed", detail, { headers: { Allow: allow } });
}

/** What this Sluice calls itself in Via (RFC 9110 §7.6.3): the same in every isolate, and unlike any other Sluice. */
function pseudonymOf(env: Env): string {
  return `sluice-${env.SEMAPHORE.idFromName("via").toString().slice(0, 16)}`;
}
