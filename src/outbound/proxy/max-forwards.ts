/**
 * Max-Forwards (RFC 9110 §7.6.2): through how many intermediaries an OPTIONS request may still go. One that may go
 * through no more is answered here, so that somebody who looks for a loop or a fault finds out how far it came.
 */
import { Problem } from "../../kernel/problem.ts";
import type { Upstream } from "../upstreams.ts";

/** The value of an OPTIONS request; undefined if it has none, or the method is another. Throws a 400 if it is no number. */
export function maxForwards(method: string, headers: Headers): number | undefined {
  const text = method === "OPTIONS" ? headers.get("max-forwards") : null;
  if (text === null) return undefined;
  if (!/^\d+$/.test(text.trim()))
    throw new Problem("malformed", "Max-Forwards must be a number, in decimal digits.");
  return Math.min(Number(text), Number.MAX_SAFE_INTEGER);
}

/** The response of the last recipient: what the upstream may be called with (RFC 9110 §9.3.7). */
export const optionsOf = ({ methods }: Upstream): Response =>
  new Response(null, { status: 204, headers: { Allow: methods.join(", ") } });
