import { Problem, type ProblemKind } from "../../kernel/problem.ts";

/** What went wrong with an upstream, and how Proxy-Status (RFC 9209 §2.3) calls it. */
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

/** Whether this is an upstream's failure, and not a refusal of ours. */
export function isUpstreamFailure(error: unknown): error is Problem {
  return error instanceof Problem && error.kind in PROXY_ERRORS;
}
