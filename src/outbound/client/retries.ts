/**
 * A call with its retries. A call is retried if it failed in a way that may pass, if repeating it is safe, and if the
 * upstream's retry budget allows it. Each try has a permit of its own; none is held between tries.
 */
import type { Upstream } from "../upstreams.ts";
import type { UpstreamRequest } from "./call.ts";
import { type Caller, callUnderPermit } from "./call-under-permit.ts";
import { type Timing, withTiming } from "./server-timing.ts";

/** A response, and how it came about. */
export interface UpstreamResponse extends Timing {
  /** Read or cancel its body: until then it holds a permit. */
  response: Response;
  /** True if it came from another URL than the one that was called. */
  isRedirected: boolean;
  /** Where it came from. */
  url: URL;
}

/** RFC 9110 §9.2.2. With an Idempotency-Key, any other method is as safe. */
const IDEMPOTENT = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE"]);
const FIRST_BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 10_000;

/**
 * Calls an upstream and returns its response, whatever the status. Throws a `Problem` if the upstream cannot be
 * reached, takes too long or redirects where it may not, or if the semaphore refuses a permit.
 */
export async function callWithRetries(
  caller: Caller,
  upstream: Upstream,
  request: UpstreamRequest,
): Promise<UpstreamResponse> {
  const total = { queuedMs: 0, upstreamMs: 0 };
  for (let tries = 1; ; tries++) {
    const isLast = tries > upstream.retries || !mayRepeat(request);
    const result = await callUnderPermit(caller, upstream, request, { isRetry: tries > 1, isLast });
    total.queuedMs += result.queuedMs;
    total.upstreamMs += result.upstreamMs;
    if ("error" in result && !result.mayRetry) throw withTiming(result.error, { ...total, tries });
    if ("response" in result && !result.mayRetry)
      return {
        ...total,
        tries,
        response: result.response,
        isRedirected: result.isRedirected,
        url: result.url,
      };
    const backoffMs = Math.random() * Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** tries);
    await scheduler.wait(Math.max(backoffMs, result.retryAfterMs), { signal: caller.signal });
  }
}

function mayRepeat({ method, headers, body }: UpstreamRequest): boolean {
  return (IDEMPOTENT.has(method) || headers.has("idempotency-key")) && !(body instanceof ReadableStream);
}
