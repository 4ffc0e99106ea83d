import type { RetryPolicy } from "../types/define.ts";

/** The delay after the `attempt`th failed: exponential, with up to half of it cut off at random. */
export function backoffMs(policy: RetryPolicy, attempt: number, random: number): number {
  const full = Math.min(policy.maxDelayMs, policy.minDelayMs * policy.factor ** (attempt - 1));
  return Math.round(full * (1 - random / 2));
}
