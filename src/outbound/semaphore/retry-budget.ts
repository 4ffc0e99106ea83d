/**
 * How many retries an upstream can bear: one for every ten calls, over the whole fleet, and a few in reserve, so that
 * the first failure after a quiet time may be retried. When everything fails, retries add a tenth, not a multiple.
 */
const CALLS_PER_RETRY = 10;
const RESERVE = 10;

export class RetryBudget {
  /** Counted in calls, so that nothing is lost to rounding. */
  #calls = RESERVE * CALLS_PER_RETRY;

  get left(): number {
    return Math.floor(this.#calls / CALLS_PER_RETRY);
  }

  /** A call that is not itself a retry was made. */
  earn(): void {
    this.#calls = Math.min(RESERVE * CALLS_PER_RETRY, this.#calls + 1);
  }

  /** Whether one more retry may be made; if so, it is spent. */
  spend(): boolean {
    if (this.left === 0) return false;
    this.#calls -= CALLS_PER_RETRY;
    return true;
  }
}
