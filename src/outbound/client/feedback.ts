/** What a response says about its upstream. */
import { log } from "../../kernel/log.ts";
import type { Feedback } from "../semaphore/permit-types.ts";
import type { Upstream } from "../upstreams.ts";
import { retryAfterMs } from "./headers.ts";

/** How much of a value that cannot be read is logged. */
const MAX_LOGGED = 100;

/**
 * What says that an upstream does not do what this request asks for, and not that it is ill: 501 and 505 (RFC 9110
 * §15.6.2, §15.6.6), 508 for a loop (RFC 5842 §7.2), which a client can pretend with `Via`, and 510 (RFC 2774 §7).
 */
const ABOUT_THE_REQUEST = new Set([501, 505, 508, 510]);

/**
 * 429, and 503 with Retry-After, mean overload. Any other 5xx is a failure, unless it is about the request. `retryAtMs`
 * is what `readRetryAfter` has found.
 */
export function feedbackOn(status: number, retryAtMs: number | undefined): Feedback {
  if ((status === 429 || status === 503) && retryAtMs !== undefined)
    // What is left of it: the body may have taken a while.
    return { outcome: "overloaded", retryAfterMs: Math.max(0, retryAtMs - Date.now()) };
  if (status === 429) return { outcome: "overloaded" };
  return { outcome: status >= 500 && !ABOUT_THE_REQUEST.has(status) ? "failed" : "ok" };
}

/** When the upstream may be called again, in ms since the epoch. A value that cannot be read is ignored, and logged. */
export function readRetryAfter(headers: Headers, { name }: Upstream): number | undefined {
  const nowMs = Date.now();
  const afterMs = retryAfterMs(headers, nowMs);
  if (afterMs !== undefined) return nowMs + afterMs;
  const value = headers.get("retry-after");
  if (value !== null)
    log("warn", "Retry-After ignored: neither seconds nor a date", {
      upstream: name,
      retryAfter: value.slice(0, MAX_LOGGED),
    });
  return undefined;
}
