/**
 * How many retries an upstream can bear: one for every ten calls, over the whole fleet. A reserve of ten allows the
 * first failures after a quiet time to be retried. When everything fails, retries add a tenth, not a multiple.
 */
const CALLS_PER_RETRY = 10;
const RESERVE = 10;

export class RetryBudget {
  /** Counted in calls, so that nothing is lost to rounding. */
  #calls = RESERVE * CALLS_PER_RETRY;

  get left(): number {
    return Math.floor(this.#calls / CALLS_PER_RETRY);
  }

  /** Counts a call that is not itself a retry. */
  earn(): void {
    this.#calls = Math.min(RESERVE * CALLS_PER_RETRY, this.#calls + 1);
  }

  /** Spends one retry. Returns false if there is none left. */
  spend(): boolean {
    if (this.left === 0) return false;
    this.#calls -= CALLS_PER_RETRY;
    return true;
  }
}
