/**
 * What holds calls below the hard limit: the pause that the upstream asked for, the ramp that follows each pause, and
 * an adaptive limit that finds its own level (additive increase, multiplicative decrease: AIMD).
 */

/** How long a ramp takes from one call at a time to the full limit. */
const RAMP_MS = 5_000;
/** However long the upstream asks for: after this, a call tries again. */
const MAX_PAUSE_MS = 3_600_000;
/** The earliest time that a `Date` can hold. */
const LONG_AGO_MS = -8.64e15;
/** A pause is stretched by at most this much, so that not every client of the upstream resumes at the same moment. */
const MAX_JITTER_MS = 1_000;

/** The part of the throttle that must survive a restart. Replaced, never changed in place. */
export interface ThrottleState {
  /** No call before this: the upstream sent Retry-After. */
  pausedUntilMs: number;
  /** When the latest ramp begins. */
  rampFromMs: number;
  adaptiveLimit: number;
}

export class Throttle {
  #state: ThrottleState;
  #hardLimit: number;
  #adaptiveLimit: number;
  #decreasedAtMs = 0;

  constructor(
    hardLimit: number,
    state: ThrottleState = {
      pausedUntilMs: 0,
      rampFromMs: LONG_AGO_MS,
      // A shard may have no permits yet.
      adaptiveLimit: Math.max(1, hardLimit),
    },
  ) {
    this.#hardLimit = hardLimit;
    this.#state = state;
    this.#adaptiveLimit = state.adaptiveLimit;
  }

  get state(): ThrottleState {
    return this.#state;
  }

  get adaptiveLimit(): number {
    return Math.floor(Math.min(this.#adaptiveLimit, this.#hardLimit));
  }

  set hardLimit(limit: number) {
    this.#hardLimit = limit;
  }

  /** How many concurrent calls the ramp allows. */
  rampAt(nowMs: number): number {
    const sinceMs = nowMs - this.#state.rampFromMs;
    if (sinceMs >= RAMP_MS) return this.#hardLimit;
    return Math.max(1, Math.floor(1 + ((this.#hardLimit - 1) * sinceMs) / RAMP_MS));
  }

  /** When the ramp will allow more than `calls`; Infinity if it is not the ramp that limits them. */
  rampExceedsAtMs(calls: number, nowMs: number): number {
    if (this.rampAt(nowMs) > calls || calls >= this.#hardLimit) return Infinity;
    return this.#state.rampFromMs + Math.ceil((calls * RAMP_MS) / (this.#hardLimit - 1));
  }

  beginRamp(fromMs: number): void {
    this.#state = { ...this.#state, rampFromMs: fromMs };
  }

  /** Pauses as the upstream asked. `jitter`, from 0 to 1, stretches the pause a little. A ramp follows. */
  pause(retryAfterMs: number, nowMs: number, jitter: number): void {
    const pauseMs = Math.min(retryAfterMs, MAX_PAUSE_MS);
    const untilMs = Math.ceil(nowMs + pauseMs + jitter * Math.min(MAX_JITTER_MS, pauseMs));
    if (untilMs > this.#state.pausedUntilMs)
      this.#state = { ...this.#state, pausedUntilMs: untilMs, rampFromMs: untilMs };
  }

  /** Ends the pause that the upstream asked for, if there is one. A ramp follows. */
  resume(nowMs: number): void {
    if (nowMs >= this.#state.pausedUntilMs) return;
    this.#state = { ...this.#state, pausedUntilMs: nowMs, rampFromMs: nowMs };
  }

  /** After a good call: additive increase, by one for each round of the limit, if `inFlight` used all of it. */
  increase(inFlight: number): void {
    const before = this.adaptiveLimit;
    if (inFlight < before) return;
    this.#adaptiveLimit = Math.min(this.#hardLimit, this.#adaptiveLimit + 1 / this.#adaptiveLimit);
    if (this.adaptiveLimit > before) this.#keepAdaptiveLimit();
  }

  /** After a call that was too much, granted at `grantedAtMs`: multiplicative decrease, once for each round. */
  decrease(grantedAtMs: number, nowMs: number): void {
    if (grantedAtMs < this.#decreasedAtMs) return;
    this.#decreasedAtMs = nowMs;
    this.#adaptiveLimit = Math.max(1, Math.min(this.#adaptiveLimit, this.#hardLimit) * 0.7);
    this.#keepAdaptiveLimit();
  }

  #keepAdaptiveLimit(): void {
    if (this.#adaptiveLimit !== this.#state.adaptiveLimit)
      this.#state = { ...this.#state, adaptiveLimit: this.#adaptiveLimit };
  }
}
