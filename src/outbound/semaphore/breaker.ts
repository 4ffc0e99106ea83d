/**
 * The circuit breaker: stops calls to an upstream that fails, and finds out when it works again.
 *
 *     closed ──half of the last calls failed──▶ open ──time──▶ half-open ──probe succeeds──▶ closed
 *                                                ▲                 │
 *                                                └──probe fails────┘   (twice as long, up to a minute)
 *
 * While it is open, no permit is granted. While it is half-open, one is: the probe. The head of its response decides,
 * so that a long response keeps nobody waiting. Calls that were in flight when the breaker opened say nothing new, so
 * they are not counted.
 *
 * The latest outcomes are part of the state while there is a failure among them, since an object that is idle between two
 * calls forgets what is not. A state is written when it has changed: outcomes that are all good change nothing in it.
 */
export interface BreakerState {
  /** True while open or half-open: no calls before `reopensAtMs`, and only the probe after it. */
  isOpen: boolean;
  /** When a probe may go. Has no meaning while closed. */
  reopensAtMs: number;
  /** How long the breaker opened for the last time. */
  openForMs: number;
  /** The lease id of the probe that is in flight. */
  probe: string | null;
  /** The latest outcomes, oldest first; true is a failure. Absent or empty if none of them is. */
  failures?: readonly boolean[];
}

const CLOSED: BreakerState = { isOpen: false, reopensAtMs: 0, openForMs: 0, probe: null };

/** How many of the latest calls count. */
const WINDOW = 20;
/** The breaker stays closed until it has seen this many. */
const MIN_CALLS = 10;
const FIRST_OPEN_MS = 2_000;
const MAX_OPEN_MS = 60_000;

export class Breaker {
  #state: BreakerState;
  #failures: readonly boolean[];

  /** `isHeld` says whether a probe from before a restart still holds its permit. */
  constructor(state: BreakerState = CLOSED, isHeld: (leaseId: string) => boolean = () => false) {
    const isProbeLost = state.probe !== null && !isHeld(state.probe);
    this.#state = isProbeLost ? { ...state, probe: null } : state;
    this.#failures = state.failures ?? [];
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

  /** A permit was granted. If the breaker is half-open, the call is the probe. */
  onGrant(leaseId: string): void {
    if (this.#state.isOpen) this.#state = { ...this.#state, probe: leaseId };
  }

  isProbe(leaseId: string): boolean {
    return this.#state.probe === leaseId;
  }

  /** A call has ended, or the head of the probe's response has come; `failed` is undefined if its outcome is unknown. Returns true if this closed the breaker. */
  onEnd(leaseId: string, failed: boolean | undefined, nowMs: number): boolean {
    if (this.#state.isOpen) return this.isProbe(leaseId) && this.#onProbeEnd(failed, nowMs);
    if (failed === undefined) return false;
    this.#count(failed);
    const failures = this.#failures.filter(Boolean).length;
    if (this.#failures.length >= MIN_CALLS && failures * 2 >= this.#failures.length)
      this.#open(FIRST_OPEN_MS, nowMs);
    return false;
  }

  #count(failed: boolean): void {
    this.#failures = [...this.#failures, failed].slice(-WINDOW);
    const kept = this.#failures.includes(true) ? this.#failures : [];
    if (kept.length > 0 || this.#state.failures?.length) this.#state = { ...this.#state, failures: kept };
  }

  #onProbeEnd(failed: boolean | undefined, nowMs: number): boolean {
    this.#state = { ...this.#state, probe: null };
    if (failed === undefined) return false;
    if (failed) this.#open(Math.min(2 * this.#state.openForMs, MAX_OPEN_MS), nowMs);
    else this.#state = CLOSED;
    return !failed;
  }

  #open(openForMs: number, nowMs: number): void {
    this.#state = { isOpen: true, reopensAtMs: nowMs + openForMs, openForMs, probe: null };
    this.#failures = [];
  }
}
