/**
 * How many retries an upstream can bear: one for every ten calls, over the whole fleet. A reserve of ten allows the
 * first failures after a quiet time to be retried. When everything fails, retries add a tenth, not a multiple.
 */
const CALLS_PER_RETRY = 10;
const RESERVE = 10;

export class RetryBudget {
  /** Counted in calls, so that nothing is lost to rounding. */
  #calls: number;
  #kept: number;

  /** `kept`: of a budget before a restart. */
  constructor(kept = RESERVE * CALLS_PER_RETRY) {
    this.#calls = kept;
    this.#kept = kept;
  }

  /** What must survive a restart: how much there was when a call last ended, so that the start of one writes nothing. */
  get kept(): number {
    return this.#kept;
  }

  /** A call has ended. */
  keep(): void {
    this.#kept = this.#calls;
  }

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
    this.keep();
    return true;
  }
}
