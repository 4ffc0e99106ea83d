import { Problem } from "../../kernel/problem.ts";

/** Where the time of a call went, over all of its tries. */
export interface Timing {
  queuedMs: number;
  /** From the permit to the head of the response. */
  upstreamMs: number;
  tries: number;
}

/** The value of Server-Timing (W3C), in ms. */
export function serverTiming({ queuedMs, upstreamMs, tries }: Timing): string {
  return `queue;dur=${queuedMs}, upstream;dur=${upstreamMs}${tries > 1 ? `;desc="${tries} tries"` : ""}`;
}

/** The same error. If it is a `Problem`, its response gets Server-Timing. */
export function withTiming(error: unknown, timing: Timing): unknown {
  if (!(error instanceof Problem)) return error;
  const headers = { ...error.options.headers, "Server-Timing": serverTiming(timing) };
  return new Problem(error.kind, error.detail, { ...error.options, headers });
}
