/**
 * One try of a call, under a permit of its own.
 *
 * The permit is held until the last byte of the response has gone by, or its reader has gone away: while an upstream
 * sends, it is at work. A function that returns a `Response` ends long before that, so the end is observed on the
 * body.
 *
 * When the caller goes away, its call goes on until the head of the response has come, or until the timeout. Many
 * upstreams keep working for a client that has gone, and the permit must say so. If its own upload breaks off, there
 * is nothing left to work on, and the call ends at once.
 *
 * The upstream's breaker counts what the upstream did. What a client did, or this Worker, has the outcome `unknown`.
 */
import { errorFields, log } from "../../kernel/log.ts";
import { span } from "../../kernel/spans.ts";
import type { Feedback } from "../semaphore/permit-types.ts";
import type { Priority } from "../semaphore/wait-queue.ts";
import type { Upstream } from "../upstreams.ts";
import { acquirePermit, clientGone } from "./acquire-permit.ts";
import { type CallResult, call, type UpstreamRequest } from "./call.ts";
import type { Claim } from "./claim.ts";
import { contentLength } from "./content-length.ts";
import { isUnreachable, isUpstreamFault } from "./errors.ts";
import { feedbackOn, readRetryAfter } from "./feedback.ts";
import { withTrace } from "./headers.ts";
import type { Permit } from "./held-permit.ts";
import { CLOSING_MS, MAX_READ_AHEAD_BYTES, readAhead, trackResponseBody } from "./response-body.ts";
import { withTiming } from "./server-timing.ts";
import { type SilenceTimeout, startSilenceTimeout } from "./silence-timeout.ts";
import { type EndTurn, takeTurn } from "./turns.ts";
import { startUpload } from "./upload.ts";
import { relay } from "./websocket.ts";

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
  const { permit, queuedMs, endTurn } = await acquire(caller, upstream, request.claim, isRetry);
  const timeout = startSilenceTimeout(upstream.timeoutMs, [permit.signal]);
  const { end, released } = releaseAtEnd(caller, permit, timeout);
  const startedAtMs = Date.now();
  const fields = { upstream: upstream.name, requestId, fence: permit.fence };
  const timing = () => ({ queuedMs, upstreamMs: Date.now() - startedAtMs });
  try {
    const { body, sent } = startUpload(request, timeout);
    const { response, isRedirected, url } = await span(
      "upstream call",
      callSpan(upstream, request),
      async () => {
        const headers = withTrace(request.headers, upstream);
        return call(caller.env, upstream, { ...request, headers, body }, timeout);
      },
    );
    endTurn();
    // An upstream that refuses the request needs no more of it.
    if (response.status < 400) await sent;
    const retryAtMs = readRetryAfter(response.headers, upstream);
    const result = {
      ...timing(),
      isRedirected,
      url,
      mayRetry: false,
      retryAfterMs: retryAtMs === undefined ? 0 : retryAtMs - Date.now(),
    };
    log("info", "upstream responded", { ...fields, status: response.status, ...timing() });
    const feedback = () => feedbackOn(response.status, retryAtMs);
    const isRetryable =
      !isLast && !signal.aborted && isWorthRetrying(response.status, result.retryAfterMs, upstream);
    const isQuick = isSmall(response, upstream);
    permit.onHead(feedback(), isQuick);
    const passOn = (passed: Response) => ({
      ...result,
      response: untilEnd(passed, upstream, timeout, feedback, end),
    });
    if (response.webSocket)
      return { ...result, response: untilClosed(response, response.webSocket, permit, timeout, end) };
    if (!isRetryable && !isQuick) return passOn(response);
    const ahead = await readAhead(response, timeout);
    if (!ahead.isWhole) return passOn(ahead.response);
    end({ ...feedback(), wantsRetry: isRetryable });
    if (isRetryable) return { ...result, mayRetry: await released, response: ahead.response };
    // Lets the release leave, and the next caller be served, before this response is rendered: worth 0.05 of
    // utilisation.
    await scheduler.wait(0);
    return { ...result, response: ahead.response };
  } catch (error) {
    endTurn();
    log("warn", isUpstreamFault(error) ? "upstream failed" : "call failed", {
      ...fields,
      ...errorFields(error),
    });
    timeout.abort(error); // whatever is still being uploaded
    // The upstream gets a moment to see this call end before another takes its place.
    await scheduler.wait(CLOSING_MS);
    end({ outcome: outcomeOf(error), wantsRetry: isUnreachable(error) && !isLast && !signal.aborted });
    return { ...timing(), error, mayRetry: await released, retryAfterMs: 0 };
  }
}

/** Without the path, which may hold what is the caller's own. */
const callSpan = ({ name }: Upstream, { method }: UpstreamRequest) => ({
  kind: "client" as const,
  attributes: { "sluice.upstream": name, "http.request.method": method },
});

/** A permit, and a turn among the calls of this invocation, which lasts until the head of the response has come. */
async function acquire(caller: Caller, upstream: Upstream, claim: Claim | undefined, isRetry: boolean) {
  const { env, ctx, name, priority, signal, requestId } = caller;
  const requestedAtMs = Date.now();
  const options = { holder: `${name} ${requestId}`, name, priority, isRetry, signal, ...claim };
  let endTurn: EndTurn | undefined;
  try {
    endTurn = await takeTurn(ctx, signal).catch(() => {
      throw clientGone();
    });
    const attributes = { "sluice.upstream": upstream.name, "sluice.class": priority };
    const permit = await span("permit wait", { attributes }, async () =>
      acquirePermit(env, upstream, options),
    );
    return { permit, queuedMs: Date.now() - requestedAtMs, endTurn };
  } catch (error) {
    endTurn?.();
    throw withTiming(error, { queuedMs: Date.now() - requestedAtMs, upstreamMs: 0, tries: 1 });
  }
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
  { maxResponseBytes }: Upstream,
  timeout: SilenceTimeout,
  feedback: () => Feedback,
  end: (feedback: Feedback) => void,
): Response {
  const onEnd = (error?: unknown) => end(error === undefined ? feedback() : { outcome: outcomeOf(error) });
  return trackResponseBody(response, { timeout, maxBytes: maxResponseBytes, onEnd });
}

/** The same response. When its WebSocket has ended, in whatever way, `end` is called with how it went. */
function untilClosed(
  response: Response,
  socket: WebSocket,
  { signal }: Permit,
  timeout: SilenceTimeout,
  end: (feedback: Feedback) => void,
): Response {
  timeout.stop(); // a WebSocket may be silent
  const onEnd = (error?: unknown) => {
    const outcome = error === undefined ? "ok" : outcomeOf(error);
    setTimeout(() => end({ outcome }), CLOSING_MS);
  };
  return relay(response, socket, { signal, onEnd });
}

const outcomeOf = (error: unknown): Feedback["outcome"] => (isUpstreamFault(error) ? "failed" : "unknown");

/**
 * A small response is read at once, which is quicker than streaming it, and a slow client does not hold its permit.
 */
function isSmall({ body, headers }: Response, { maxResponseBytes }: Upstream): boolean {
  const length = contentLength(headers) ?? Infinity;
  const maxBytes = Math.min(MAX_READ_AHEAD_BYTES, maxResponseBytes);
  return body !== null && length <= maxBytes;
}

const RETRIED_STATUSES = new Set([429, 502, 503, 504]);

const isWorthRetrying = (status: number, afterMs: number, { maxWaitMs }: Upstream): boolean =>
  RETRIED_STATUSES.has(status) && afterMs <= maxWaitMs;
