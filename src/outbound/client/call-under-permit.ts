/**
 * One try of a call, under a permit of its own.
 *
 * The permit is held until the last byte of the response has gone by, or its reader has gone away: while an upstream
 * sends, it is at work. A function that returns a `Response` ends long before that, so the end is observed on the
 * body.
 *
 * When the caller goes away, its call goes on until the head of the response has come, or until the timeout. Many
 * upstreams keep working for a client that has gone, and the permit must say so.
 */
import { errorFields, log } from "../../kernel/log.ts";
import { Problem } from "../../kernel/problem.ts";
import type { Feedback } from "../semaphore/permit-types.ts";
import type { Priority } from "../semaphore/wait-queue.ts";
import type { Upstream } from "../upstreams.ts";
import { acquirePermit, type Permit } from "./acquire-permit.ts";
import { CLOSING_MS, MAX_READ_AHEAD_BYTES, readAhead, trackRequestBody, trackResponseBody } from "./body.ts";
import { type CallResult, call, type UpstreamRequest } from "./call.ts";
import { retryAfterMs } from "./headers.ts";
import { withTiming } from "./server-timing.ts";
import { type SilenceTimeout, startSilenceTimeout } from "./silence-timeout.ts";

/** On whose behalf a call is made. */
export interface Caller {
  env: Env;
  ctx: Pick<ExecutionContext, "waitUntil">;
  requestId: string;
  /** Shown to people who look at the semaphore. */
  name: string;
  /** `background` for calls that nobody waits for. */
  priority: Priority;
  /** Aborts when nobody wants the response any longer. */
  signal: AbortSignal;
}

/** What came of a try, and whether another may follow, after `retryAfterMs`. */
export type TryResult = (CallResult | { error: unknown }) & {
  queuedMs: number;
  upstreamMs: number;
  mayRetry: boolean;
  retryAfterMs: number;
};

interface TryOptions {
  isRetry: boolean;
  isLast: boolean;
}

/** Acquires a permit, makes the call, and releases the permit when the call is over. Throws if there is no permit. */
export async function callUnderPermit(
  caller: Caller,
  upstream: Upstream,
  request: UpstreamRequest,
  { isRetry, isLast }: TryOptions,
): Promise<TryResult> {
  const { signal, requestId } = caller;
  const permit = await acquire(caller, upstream, isRetry);
  const timeout = startSilenceTimeout(upstream.timeoutMs, [permit.signal]);
  const { end, released } = releaseAtEnd(caller, permit, timeout);
  const startedAtMs = Date.now();
  const fields = { upstream: upstream.name, requestId, fence: permit.fence };
  const timing = () => ({ queuedMs: permit.queuedMs, upstreamMs: Date.now() - startedAtMs });
  try {
    const { response, isRedirected, url } = await call(
      caller.env,
      upstream,
      trackRequestBody(request, timeout),
      timeout,
    );
    const result = {
      ...timing(),
      isRedirected,
      url,
      mayRetry: false,
      retryAfterMs: retryAfterMs(response.headers, Date.now()) ?? 0,
    };
    log("info", "upstream responded", { ...fields, status: response.status, ...timing() });
    const isRetryable = !isLast && !signal.aborted && isWorthRetrying(response, upstream);
    if (!isRetryable && !isSmall(response, upstream)) {
      return { ...result, response: untilEnd(response, upstream, timeout, end) };
    }
    const ahead = await readAhead(response, timeout);
    if (!ahead.isWhole) return { ...result, response: untilEnd(ahead.response, upstream, timeout, end) };
    end({ ...feedbackOn(response), wantsRetry: isRetryable });
    if (isRetryable) return { ...result, mayRetry: await released, response: ahead.response };
    // Lets the release leave, and the next caller be served, before this response is rendered: worth 0.05 of
    // utilisation.
    await scheduler.wait(0);
    return { ...result, response: ahead.response };
  } catch (error) {
    log("warn", "upstream failed", { ...fields, ...errorFields(error) });
    // The upstream gets a moment to see this call end before another takes its place.
    await scheduler.wait(CLOSING_MS);
    const kind = error instanceof Problem ? error.kind : undefined;
    const isUnreachable = kind === "upstream-unreachable";
    const outcome = isUnreachable || kind === "upstream-timeout" ? "failed" : "unknown";
    end({ outcome, wantsRetry: isUnreachable && !isLast && !signal.aborted });
    return { ...timing(), error, mayRetry: await released, retryAfterMs: 0 };
  }
}

async function acquire(caller: Caller, upstream: Upstream, isRetry: boolean): Promise<Permit> {
  const { env, name, priority, signal, requestId } = caller;
  const requestedAtMs = Date.now();
  const options = { holder: `${name} ${requestId}`, priority, isRetry, signal };
  return acquirePermit(env, upstream, options).catch((error: unknown) => {
    throw withTiming(error, { queuedMs: Date.now() - requestedAtMs, upstreamMs: 0, tries: 1 });
  });
}

/** `end` releases the permit, once. `released` resolves to true if the call failed and may be retried. */
function releaseAtEnd({ ctx }: Caller, permit: Permit, timeout: SilenceTimeout) {
  const { promise: released, resolve } = Promise.withResolvers<boolean>();
  // Registered before the call begins: the call goes on, and its permit is released, after the client has gone.
  ctx.waitUntil(released);
  let hasEnded = false;
  const end = (feedback: Feedback): void => {
    if (hasEnded) return;
    hasEnded = true;
    timeout.stop();
    resolve(permit.release(feedback));
  };
  return { end, released };
}

/** The same response. When its body has ended, in whatever way, `end` is called with how it went. */
function untilEnd(
  response: Response,
  upstream: Upstream,
  timeout: SilenceTimeout,
  end: (feedback: Feedback) => void,
): Response {
  // When a body breaks off, we cannot tell whether the upstream or the reader stopped.
  const onEnd = (error?: unknown) => end(error === undefined ? feedbackOn(response) : { outcome: "unknown" });
  if (response.body)
    return new Response(
      trackResponseBody(response.body, timeout, upstream.maxResponseBytes, onEnd),
      response,
    );
  onEnd();
  return response;
}

/**
 * A small response is read at once, which is quicker than streaming it, and a slow client does not hold its permit.
 */
function isSmall({ body, headers }: Response, { maxResponseBytes }: Upstream): boolean {
  const length = Number(headers.get("content-length") ?? Number.NaN);
  const maxBytes = Math.min(MAX_READ_AHEAD_BYTES, maxResponseBytes);
  return body !== null && length <= maxBytes;
}

const RETRIED_STATUSES = new Set([429, 502, 503, 504]);

function isWorthRetrying({ status, headers }: Response, upstream: Upstream): boolean {
  return RETRIED_STATUSES.has(status) && (retryAfterMs(headers, Date.now()) ?? 0) <= upstream.maxWaitMs;
}

/** 429, and 503 with Retry-After, mean overload. Any other 5xx is a failure. */
function feedbackOn({ status, headers }: Response): Feedback {
  const askedMs = status === 429 || status === 503 ? retryAfterMs(headers, Date.now()) : undefined;
  if (askedMs !== undefined) return { outcome: "overloaded", retryAfterMs: askedMs };
  if (status === 429) return { outcome: "overloaded" };
  return { outcome: status >= 500 ? "failed" : "ok" };
}
