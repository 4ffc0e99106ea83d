/**
 * The outbound client: a call to an upstream under its semaphore, made again where that is of use.
 *
 * Each try has a permit of its own, and none is held between tries. The permit is held until the last byte of the
 * answer has gone by, or its reader has gone away: an upstream is still at work while it sends. Returning a
 * `Response` ends a function long before that, so the end is watched for on the body.
 *
 * A caller that goes away does not take its call back: many an upstream goes on working for nobody, and the permit
 * says that it works. So the call goes on until the head of the answer is here, or its time is over.
 */
import { errorFields, log } from "../../kernel/log.ts";
import { Problem } from "../../kernel/problem.ts";
import type { Feedback } from "../semaphore/protocol.ts";
import type { Priority } from "../semaphore/wait-queue.ts";
import type { Upstream } from "../upstreams.ts";
import { type Ask, call } from "./call.ts";
import { retryAfterMs } from "./headers.ts";
import { acquirePermit } from "./permit.ts";
import {
  CLOSING_MS,
  MOST_READ_AHEAD,
  readAhead,
  startWatch,
  type Watch,
  watchBody,
  watchUpload,
} from "./watch.ts";

/** On whose behalf a call is made. */
export interface Caller {
  env: Env;
  ctx: Pick<ExecutionContext, "waitUntil">;
  requestId: string;
  /** For people who look at the semaphore. */
  name: string;
  /** `background` for what nobody waits for. */
  priority: Priority;
  /** Aborted when nobody wants the answer any more. */
  signal: AbortSignal;
}

export interface Answer {
  /** Its body must be read or cancelled. */
  response: Response;
  /** It is not that of the URL that was asked for. */
  isRedirected: boolean;
  /** Over all tries. */
  queuedMs: number;
  /** From the permit to the head of the answer, over all tries. */
  upstreamMs: number;
  tries: number;
}

/** RFC 9110 §9.2.2; with an Idempotency-Key, any other method is as good. */
const IDEMPOTENT = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE"]);
const RETRIED_STATUSES = new Set([429, 502, 503, 504]);
const FIRST_BACKOFF_MS = 100;
const LONGEST_BACKOFF_MS = 10_000;

/**
 * Calls an upstream and gives its answer, whatever the status. Throws a `Problem` when it cannot be reached, takes too
 * long, redirects where it may not, or when the semaphore refuses.
 */
export async function fetchUpstream(caller: Caller, upstream: Upstream, ask: Ask): Promise<Answer> {
  const sum = { queuedMs: 0, upstreamMs: 0 };
  for (let tries = 1; ; tries++) {
    const isLast = tries > upstream.retries || !mayRepeat(ask);
    const one = await tryOnce(caller, upstream, ask, { isRetry: tries > 1, isLast });
    sum.queuedMs += one.queuedMs;
    sum.upstreamMs += one.upstreamMs;
    if ("error" in one && !one.mayRetry) throw withTiming(one.error, { ...sum, tries });
    if ("response" in one && !one.mayRetry)
      return { ...sum, tries, response: one.response, isRedirected: one.isRedirected };
    const backoffMs = Math.random() * Math.min(LONGEST_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** tries);
    await scheduler.wait(Math.max(backoffMs, one.retryAfterMs), { signal: caller.signal });
  }
}

/** Server-Timing (W3C), in ms. */
export function serverTiming({
  queuedMs,
  upstreamMs,
  tries,
}: Pick<Answer, "queuedMs" | "upstreamMs" | "tries">): string {
  return `queue;dur=${queuedMs}, upstream;dur=${upstreamMs}${tries > 1 ? `;desc="${tries} tries"` : ""}`;
}

function withTiming(error: unknown, timing: Parameters<typeof serverTiming>[0]): unknown {
  if (!(error instanceof Problem)) return error;
  const headers = { ...error.options.headers, "Server-Timing": serverTiming(timing) };
  return new Problem(error.kind, error.detail, { ...error.options, headers });
}

/** What came of one try, and whether there may be another, after a while. */
type Tried = ({ response: Response; isRedirected: boolean } | { error: unknown }) & {
  queuedMs: number;
  upstreamMs: number;
  mayRetry: boolean;
  retryAfterMs: number;
};

interface TryOptions {
  isRetry: boolean;
  isLast: boolean;
}

async function tryOnce(
  caller: Caller,
  upstream: Upstream,
  ask: Ask,
  { isRetry, isLast }: TryOptions,
): Promise<Tried> {
  const { name, priority, signal, requestId } = caller;
  const askedAtMs = Date.now();
  const applicant = { holder: `${name} ${requestId}`, priority, isRetry, signal };
  const permit = await acquirePermit(caller.env, upstream, applicant).catch((error: unknown) => {
    throw withTiming(error, { queuedMs: Date.now() - askedAtMs, upstreamMs: 0, tries: 1 });
  });
  const watch = startWatch(upstream.timeoutMs, [permit.signal]);
  const over = Promise.withResolvers<boolean>();
  // Registered before the call begins: it goes on, and its permit is released, when the client has gone.
  caller.ctx.waitUntil(over.promise);
  let hasEnded = false;
  const end = (feedback: Feedback) => {
    if (hasEnded) return;
    hasEnded = true;
    watch.stop();
    over.resolve(permit.release(feedback));
  };
  const startedAtMs = Date.now();
  const about = { upstream: upstream.name, requestId, fence: permit.fence };
  const timing = () => ({ queuedMs: permit.queuedMs, upstreamMs: Date.now() - startedAtMs });
  try {
    const { response, isRedirected } = await call(caller.env, upstream, watchUpload(ask, watch), watch);
    const answered = {
      ...timing(),
      isRedirected,
      mayRetry: false,
      retryAfterMs: retryAfterMs(response.headers, Date.now()) ?? 0,
    };
    log("info", "upstream answered", { ...about, status: response.status, ...timing() });
    const isRetryable = !isLast && !signal.aborted && isWorthRetrying(response, upstream);
    if (!isRetryable && !isSmall(response, upstream)) {
      return { ...answered, response: untilEnd(response, upstream, watch, end) };
    }
    const ahead = await readAhead(response, watch);
    if (!ahead.isWhole) return { ...answered, response: untilEnd(ahead.response, upstream, watch, end) };
    end({ ...feedbackOn(response), wantsRetry: isRetryable });
    if (isRetryable) return { ...answered, mayRetry: await over.promise, response: ahead.response };
    // The release leaves, and whoever is next is served, before this answer is rendered: worth 0.05 of utilisation.
    await scheduler.wait(0);
    return { ...answered, response: ahead.response };
  } catch (error) {
    log("warn", "upstream failed", { ...about, ...errorFields(error) });
    // What was broken off here is given a moment to be seen to end there, before another call takes its place.
    await scheduler.wait(CLOSING_MS);
    const kind = error instanceof Problem ? error.kind : undefined;
    const isUnreachable = kind === "upstream-unreachable";
    const outcome = isUnreachable || kind === "upstream-timeout" ? "failed" : "unknown";
    end({ outcome, wantsRetry: isUnreachable && !isLast && !signal.aborted });
    return { ...timing(), error, mayRetry: await over.promise, retryAfterMs: 0 };
  }
}

/** The answer; `end` is told how it went when its body has ended, in whatever way. */
function untilEnd(
  response: Response,
  upstream: Upstream,
  watch: Watch,
  end: (feedback: Feedback) => void,
): Response {
  // Of a body that is broken off it is not known by whom: by the upstream, or by a reader that takes no more.
  const onEnd = (error?: unknown) => end(error === undefined ? feedbackOn(response) : { outcome: "unknown" });
  if (response.body)
    return new Response(watchBody(response.body, watch, upstream.maxResponseBytes, onEnd), response);
  onEnd();
  return response;
}

/** An answer that is quicker read than streamed; a slow client does not hold its permit. */
function isSmall({ body, headers }: Response, { maxResponseBytes }: Upstream): boolean {
  const length = Number(headers.get("content-length") ?? Number.NaN);
  return (
    body !== null && !headers.has("content-encoding") && length <= Math.min(MOST_READ_AHEAD, maxResponseBytes)
  );
}

function isWorthRetrying({ status, headers }: Response, upstream: Upstream): boolean {
  return RETRIED_STATUSES.has(status) && (retryAfterMs(headers, Date.now()) ?? 0) <= upstream.maxWaitMs;
}

function mayRepeat({ method, headers, body }: Ask): boolean {
  return (IDEMPOTENT.has(method) || headers.has("idempotency-key")) && !(body instanceof ReadableStream);
}

/** 429 says too much, as does 503 with Retry-After; any other 5xx is a failure. */
function feedbackOn({ status, headers }: Response): Feedback {
  const askedMs = status === 429 || status === 503 ? retryAfterMs(headers, Date.now()) : undefined;
  if (askedMs !== undefined) return { outcome: "overloaded", retryAfterMs: askedMs };
  if (status === 429) return { outcome: "overloaded" };
  return { outcome: status >= 500 ? "failed" : "ok" };
}
