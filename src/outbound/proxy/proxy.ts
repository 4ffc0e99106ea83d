/**
 * A call with all that comes around it: the checks of method and path, the headers in both directions, the cache, and
 * the response headers that say how it went. `/fetch/{upstream}/{path}` passes a received request on through here;
 * `/data` and calls from code use it too.
 */
import { Problem } from "../../kernel/problem.ts";
import type { UpstreamRequest } from "../client/call.ts";
import type { Caller } from "../client/call-under-permit.ts";
import { upstreamProblem } from "../client/errors.ts";
import { hasPassed, toCaller, toUpstream } from "../client/headers.ts";
import { targetOf } from "../client/path.ts";
import { bodyOf } from "../client/request-body.ts";
import { callWithRetries, type UpstreamResponse } from "../client/retries.ts";
import { serverTiming } from "../client/server-timing.ts";
import type { RequestBody } from "../client/upload.ts";
import { addHandshake, asksForWebSocket, checkWebSocket } from "../client/websocket.ts";
import { METHODS, type Upstream } from "../upstreams.ts";
import { bypassReason, type CacheStatus, readCache, storeInCache } from "./cache.ts";

/** A request as its caller wrote it. Not all of its headers travel. */
export interface CallerRequest extends Pick<UpstreamRequest, "method" | "path" | "headers" | "redirect"> {
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
  return callThroughProxy(caller, upstream, { method, path, headers, readBody });
}

/** Calls an upstream. Throws a `Problem` if the call is not allowed, or gets no response. */
export async function callThroughProxy(
  caller: Caller,
  upstream: Upstream,
  { readBody, ...rest }: CallerRequest,
): Promise<Response> {
  checkMethod(upstream, rest.method);
  targetOf(upstream, rest.path);
  const isWebSocket = asksForWebSocket(rest.method, rest.headers);
  if (isWebSocket) checkWebSocket(upstream, rest.headers);
  const via = pseudonymOf(caller.env);
  if (hasPassed(rest.headers, via))
    throw upstreamProblem("loop-detected", "This request has passed through this Sluice before.");
  const request: UpstreamRequest = {
    ...rest,
    headers: toUpstream(rest.headers, upstream, caller.requestId, via),
    ...(await readBody()),
  };
  if (isWebSocket) addHandshake(request.headers, rest.headers);
  const bypassed = isWebSocket ? "fwd=request" : bypassReason(upstream, request);
  const stored = bypassed ? undefined : await readCache(upstream, request);
  if (stored) return withCacheStatus(new Response(stored.body, stored), "hit");
  const result = await callWithRetries(caller, upstream, request);
  return respond(caller, upstream, request, result, bypassed);
}

function respond(
  caller: Caller,
  upstream: Upstream,
  request: UpstreamRequest,
  result: UpstreamResponse,
  bypassed: CacheStatus | undefined,
): Response {
  const { status, statusText, body, headers, webSocket } = result.response;
  if (webSocket) return new Response(null, { status, webSocket, headers: toCaller(headers) });
  const fresh = new Response(body, { status, statusText, headers: toCaller(headers) });
  const { response, isStored } =
    bypassed || result.isRedirected
      ? { response: fresh, isStored: false }
      : storeInCache(caller, upstream, request, fresh);
  withCacheStatus(response, bypassed ?? (isStored ? "fwd=uri-miss; stored" : "fwd=uri-miss"));
  response.headers.append("server-timing", serverTiming(result));
  if (status >= 400) response.headers.append("proxy-status", `sluice; received-status=${status}`);
  return response;
}

function withCacheStatus(response: Response, status: CacheStatus): Response {
  response.headers.append("cache-status", `sluice; ${status}`);
  return response;
}

function checkMethod({ name, methods }: Upstream, method: string): void {
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
