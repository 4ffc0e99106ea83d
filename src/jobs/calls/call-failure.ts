/**
 * What a call that did not succeed means for its task.
 *
 *     no permit                          postponed: nothing was sent, and no attempt is used up
 *     no response, 408, 425, 429, 5xx    the attempt has failed; another follows, no earlier than `Retry-After` says
 *     any other response, or a refusal   failed for good: the same request would fare the same
 */
import { Problem, type ProblemKind } from "../../kernel/problem.ts";
import { cutText } from "../../kernel/safe-text.ts";
import { retryAfterMs } from "../../outbound/index.ts";
import { NonRetryableError, PostponedError, RetryLaterError, type TaskContext } from "../../tasks/index.ts";

const NO_PERMIT: readonly ProblemKind[] = [
  "queue-full",
  "wait-limit",
  "paused",
  "breaker-open",
  "semaphore-unavailable",
];
const REFUSED: readonly ProblemKind[] = [
  "forbidden",
  "malformed",
  "method-not-allowed",
  "not-stored",
  "response-too-large",
  "loop-detected",
  "too-large",
];
/** Of the 5xx, those that are about the request: it would fare no better (RFC 9110 §15.6). */
const FINAL_5XX: readonly number[] = [501, 505, 508, 510];
const TRANSIENT_4XX: readonly number[] = [408, 425, 429];

/** A task without a permit asks for one no sooner than after this, and all that wait do not ask at once. */
const MIN_POSTPONED_MS = 10_000;
/** However late an upstream says that it may be called again. */
const MAX_RETRY_AFTER_MS = 24 * 3_600_000;
const MAX_SHOWN_LENGTH = 500;

/** What a call threw, as what its task must throw. */
function failureOf(error: unknown, ctx: TaskContext): unknown {
  if (!(error instanceof Problem)) return error;
  const { kind, detail, options, cause } = error;
  // The body that was sent broke off, for a reason of its own.
  if (kind === "client-gone" && cause instanceof NonRetryableError) return cause;
  if (NO_PERMIT.includes(kind)) {
    const afterMs = Math.max(MIN_POSTPONED_MS, Number(options.headers?.["Retry-After"] ?? 0) * 1000);
    ctx.progress(0, `Postponed: ${detail}`);
    return new PostponedError(detail, Date.now() + afterMs * (1 + Math.random() / 2), { cause: error });
  }
  return REFUSED.includes(kind) ? new NonRetryableError(detail, { cause: error }) : error;
}

/** The error for a response whose status is not what the caller expects. `text`: what its body begins with. */
export function unexpected({ status, headers }: Response, text: string): Error {
  const message = `the upstream responded with ${status}${text === "" ? "" : `: ${cutText(text, MAX_SHOWN_LENGTH)}`}`;
  const isTransient = TRANSIENT_4XX.includes(status) || (status >= 500 && !FINAL_5XX.includes(status));
  if (!isTransient) return new NonRetryableError(message);
  const afterMs = Math.min(MAX_RETRY_AFTER_MS, retryAfterMs(headers, Date.now()) ?? 0);
  return afterMs > 0 ? new RetryLaterError(message, Date.now() + afterMs) : new Error(message);
}

/** The same error, but final if the caller allows no further attempt. */
function lastOf(error: unknown, { attempt }: TaskContext, retries: number): unknown {
  const mayFollow =
    attempt <= retries || error instanceof PostponedError || error instanceof NonRetryableError;
  if (mayFollow || !(error instanceof Error)) return error;
  return new NonRetryableError(error.message, { cause: error });
}

/** Makes a call, and throws what its task must throw. `retries`: how many attempts may follow a failed one. */
export async function attemptCall<T>(
  ctx: TaskContext,
  retries: number,
  action: () => Promise<T>,
): Promise<T> {
  try {
    return await action();
  } catch (error) {
    throw ctx.signal.aborted ? error : lastOf(failureOf(error, ctx), ctx, retries);
  }
}
