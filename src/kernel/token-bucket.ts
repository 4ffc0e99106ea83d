/** Sums of fractions may be a little less than a whole. */
const ROUNDING = 1e-9;

/**
 * A token bucket: it holds what a second brings, and at least one; what is taken grows again at the rate. So in any time of T
 * seconds it gives at most `perSecond` × (T + 1), or one more where the rate is below one.
 */
export class TokenBucket {
  #tokens = Infinity;
  #atMs = 0;

  /** Takes up to `count`. Returns how many it gave; and, if they are fewer, when there will be one more. */
  take(count: number, perSecond: number, nowMs: number): { given: number; retryAfterMs: number } {
    const grown = (Math.max(0, nowMs - this.#atMs) / 1_000) * perSecond;
    const tokens = Math.min(Math.max(1, perSecond), this.#tokens + grown);
    const given = Math.min(count, Math.floor(tokens + ROUNDING));
    this.#tokens = tokens - given;
    this.#atMs = Math.max(this.#atMs, nowMs);
    return { given, retryAfterMs: given < count ? Math.ceil(((1 - this.#tokens) / perSecond) * 1_000) : 0 };
  }
}
