import { Problem, type ProblemKind } from "../../kernel/problem.ts";

/** What can go wrong with an upstream, and the error type that Proxy-Status has for it (RFC 9209 §2.3). */
const PROXY_ERRORS = {
  "upstream-unreachable": "destination_unavailable",
  "upstream-timeout": "http_response_timeout",
  "response-too-large": "http_response_body_size",
  "redirect-refused": "http_request_denied",
  "loop-detected": "proxy_loop_detected",
} as const satisfies Partial<Record<ProblemKind, string>>;

export function upstreamProblem(kind: keyof typeof PROXY_ERRORS, detail: string, cause?: unknown): Problem {
  return new Problem(kind, detail, {
    cause,
    headers: { "Proxy-Status": `sluice; error=${PROXY_ERRORS[kind]}` },
  });
}

/**
 * True if this is the upstream's doing, which its breaker counts. Whatever else ends a call is ours, or its client's.
 */
export const isUpstreamFault = (error: unknown): boolean =>
  isUnreachable(error) || (error instanceof Problem && error.kind === "upstream-timeout");

/** True if there was no connection to the upstream, or it ended before the response did. */
export const isUnreachable = (error: unknown): boolean =>
  error instanceof Problem && error.kind === "upstream-unreachable";

/** True if the upstream failed, false if Sluice refused the call. */
export function isUpstreamFailure(error: unknown): error is Problem {
  return error instanceof Problem && error.kind in PROXY_ERRORS;
}
