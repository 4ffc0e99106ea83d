/**
 * The circuit breaker: stops calling an upstream that fails, and finds out when it works again.
 *
 *     closed ──half of the last calls failed──▶ open ──time──▶ half-open ──probe succeeds──▶ closed
 *                                                ▲                 │
 *                                                └──probe fails────┘   (twice as long, up to a minute)
 *
 * While it is open nobody is granted a permit. Half-open, one call is: the probe. Calls that were under way when it
 * opened tell nothing new, and are not counted.
 */
export interface BreakerState {
  /** Whether calls are held back: until `reopensAtMs`, and then but for the probe. */
  isOpen: boolean;
  /** When a probe may go; meaningless while closed. */
  reopensAtMs: number;
  /** How long it opened for the last time. */
  openForMs: number;
  /** The lease of the probe that is under way. */
  probe: string | null;
}

export const CLOSED: BreakerState = { isOpen: false, reopensAtMs: 0, openForMs: 0, probe: null };

const WINDOW = 20;
const LEAST_CALLS = 10;
const FIRST_OPEN_MS = 2_000;
const LONGEST_OPEN_MS = 60_000;

export class Breaker {
  #state: BreakerState;
  /** The latest outcomes, the oldest first; true is a failure. */
  #failures: boolean[] = [];

  /** `isHeld` tells whether a probe from before a restart is still under way. */
  constructor(state: BreakerState = CLOSED, isHeld: (leaseId: string) => boolean = () => false) {
    const hasProbe = state.probe !== null && isHeld(state.probe);
    this.#state = hasProbe ? state : { ...state, probe: null };
  }

  get state(): BreakerState {
    return this.#state;
  }

  phaseAt(nowMs: number): "closed" | "open" | "half-open" {
    if (!this.#state.isOpen) return "closed";
    return nowMs < this.#state.reopensAtMs ? "open" : "half-open";
  }

  get hasProbe(): boolean {
    return this.#state.probe !== null;
  }

  /** A permit was granted; half-open, it is the probe's. */
  granted(leaseId: string): void {
    if (this.#state.isOpen) this.#state = { ...this.#state, probe: leaseId };
  }

  /** A call is over. `failed` is undefined if nothing is known of how it went. True if the breaker closed by this. */
  ended(leaseId: string, failed: boolean | undefined, nowMs: number): boolean {
    if (this.#state.isOpen) return leaseId === this.#state.probe && this.#probeEnded(failed, nowMs);
    if (failed === undefined) return false;
    this.#failures = [...this.#failures, failed].slice(-WINDOW);
    const failures = this.#failures.filter(Boolean).length;
    if (this.#failures.length >= LEAST_CALLS && failures * 2 >= this.#failures.length)
      this.#open(FIRST_OPEN_MS, nowMs);
    return false;
  }

  #probeEnded(failed: boolean | undefined, nowMs: number): boolean {
    this.#state = { ...this.#state, probe: null };
    if (failed === undefined) return false;
    if (failed) this.#open(Math.min(2 * this.#state.openForMs, LONGEST_OPEN_MS), nowMs);
    else this.#state = CLOSED;
    return !failed;
  }

  #open(openForMs: number, nowMs: number): void {
    this.#state = { isOpen: true, reopensAtMs: nowMs + openForMs, openForMs, probe: null };
    this.#failures = [];
  }
}
