/** How often, and after how long, an attempt that failed is followed by another. */
export interface RetryPolicy {
  /** Attempts after the first. */
  retries: number;
  minDelayMs: number;
  maxDelayMs: number;
  /** Each delay is so many times the one before. */
  factor: number;
}

/** The delay after the `attempt`th failed: exponential, with up to half of it cut off at random. */
export function backoffMs(policy: RetryPolicy, attempt: number, random: number): number {
  const full = Math.min(policy.maxDelayMs, policy.minDelayMs * policy.factor ** (attempt - 1));
  return Math.round(full * (1 - random / 2));
}
