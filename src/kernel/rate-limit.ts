/**
 * The 429 of a caller that has its share of something which all callers use.
 *
 * The fields are those of draft-ietf-httpapi-ratelimit-headers-11: the share is a quota of concurrent requests (§3.1.2),
 * of which nothing remains. `t` and Retry-After name the same time (§6).
 */
import { Problem } from "./problem.ts";

export interface Share {
  /** What is shared, as a name for the policy: lower case letters and dashes. */
  policy: string;
  /** How much of it one caller may have at once. */
  quota: number;
}

/** The `Problem` 429; `detail` says what the caller has too much of. */
export function tooManyRequests({ policy, quota }: Share, detail: string, retryAfterMs: number): Problem {
  const seconds = Math.max(1, Math.ceil(retryAfterMs / 1000));
  return new Problem("too-many-requests", detail, {
    headers: {
      "Retry-After": String(seconds),
      "RateLimit-Policy": `"${policy}";q=${quota};qu="concurrent-requests"`,
      RateLimit: `"${policy}";r=0;t=${seconds}`,
    },
  });
}
