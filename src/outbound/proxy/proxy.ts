/** `ANY /fetch/{upstream}/{path}`: a request that came in, sent on to an upstream, and the answer sent back. */
import { Problem } from "../../kernel/problem.ts";
import type { Ask } from "../client/call.ts";
import { type Answer, type Caller, fetchUpstream, serverTiming } from "../client/client.ts";
import { upstreamProblem } from "../client/errors.ts";
import { hasPassed, toCaller, toUpstream } from "../client/headers.ts";
import { targetOf } from "../client/path.ts";
import type { Method, Upstream } from "../upstreams.ts";
import { bypass, type CacheStatus, fromCache, intoCache } from "./cache.ts";

/** A body up to this many bytes is read before it is sent, so that it can be sent again. */
const MOST_REPEATABLE = 256 * 1024;

/** Sends a request on to `path` of an upstream. Throws a `Problem` if it may not be, or there is no answer. */
export async function proxy(
  caller: Caller,
  upstream: Upstream,
  path: string,
  request: Request,
  options: Pick<Ask, "redirect"> = {},
): Promise<Response> {
  checkMethod(upstream, request.method);
  targetOf(upstream, path);
  const via = pseudonymOf(caller.env);
  if (hasPassed(request.headers, via))
    throw upstreamProblem("loop-detected", "This request has come through this Sluice before.");
  const ask: Ask = {
    ...options,
    method: request.method,
    path,
    headers: toUpstream(request.headers, upstream, caller.requestId, via),
    body: await bodyOf(request),
  };
  const passedBy = bypass(upstream, ask);
  const kept = passedBy ? undefined : await fromCache(upstream, ask);
  if (kept) return withCacheStatus(new Response(kept.body, kept), "hit");
  const answer = await fetchUpstream(caller, upstream, ask);
  return respond(caller, upstream, ask, answer, passedBy);
}

function respond(
  caller: Caller,
  upstream: Upstream,
  ask: Ask,
  answer: Answer,
  passedBy: CacheStatus | undefined,
): Response {
  const { status, statusText, body } = answer.response;
  const fresh = new Response(body, { status, statusText, headers: toCaller(answer.response.headers) });
  const { response, isStored } =
    passedBy || answer.isRedirected
      ? { response: fresh, isStored: false }
      : intoCache(caller, upstream, ask, fresh);
  const told = withCacheStatus(response, passedBy ?? (isStored ? "fwd=uri-miss; stored" : "fwd=uri-miss"));
  told.headers.append("server-timing", serverTiming(answer));
  if (status >= 400) told.headers.append("proxy-status", `sluice; received-status=${status}`);
  return told;
}

function withCacheStatus(response: Response, status: CacheStatus): Response {
  response.headers.append("cache-status", `sluice; ${status}`);
  return response;
}

function checkMethod(upstream: Upstream, method: string): asserts method is Method {
  if (upstream.methods.some((allowed) => allowed === method)) return;
  const allow = upstream.methods.join(", ");
  throw new Problem("method-not-allowed", `"${upstream.name}" may be called with ${allow} only.`, {
    headers: { Allow: allow },
  });
}

/** The request's body: in memory if it is small, so that a retry or a redirect can send it again. */
async function bodyOf(request: Request): Promise<Ask["body"]> {
  if (!request.body) return null;
  const length = Number(request.headers.get("content-length") ?? Number.NaN);
  return length <= MOST_REPEATABLE ? new Uint8Array(await request.arrayBuffer()) : request.body;
}

/** What this Sluice calls itself in Via (RFC 9110 §7.6.3): the same everywhere, and no other Sluice's name. */
function pseudonymOf(env: Env): string {
  return `sluice-${env.SEMAPHORE.idFromName("via").toString().slice(0, 16)}`;
}
