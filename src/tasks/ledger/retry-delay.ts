import type { RetryPolicy } from "../types/define.ts";

/**
 * The delay before the retry that follows failed attempt number `attempt` (1 for the first), in ms: exponential and
 * capped, minus up to half of it at random. `random` is from 0 to 1.
 */
export function retryDelayMs(policy: RetryPolicy, attempt: number, random: number): number {
  const fullMs = Math.min(policy.maxDelayMs, policy.minDelayMs * policy.factor ** (attempt - 1));
  return Math.round(fullMs * (1 - random / 2));
}
