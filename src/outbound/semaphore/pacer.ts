/**
 * How hard an upstream is called, below its hard limit: the pause it asks for, the ramp after a standstill, and an
 * adaptive limit that finds its own height (AIMD).
 */

/** How long a ramp takes, from one call at a time to all of them. */
const RAMP_MS = 5_000;
/** However long the upstream asks to be left alone: after this, one call asks again. */
const LONGEST_PAUSE_MS = 3_600_000;
const LONG_AGO_MS = -8.64e15;
/** At most how long a pause is stretched, so that resuming does not fall together with everybody else's. */
const JITTER_MS = 1_000;

/** What of the pace must outlive a restart. A new object whenever something in it has changed. */
export interface Pace {
  /** No call before this: the upstream said Retry-After. */
  pausedUntilMs: number;
  /** When the latest ramp begins. */
  rampFromMs: number;
  adaptiveLimit: number;
}

export class Pacer {
  #pace: Pace;
  #hardLimit: number;
  #adaptiveLimit: number;
  #loweredAtMs = 0;

  constructor(
    hardLimit: number,
    pace: Pace = { pausedUntilMs: 0, rampFromMs: LONG_AGO_MS, adaptiveLimit: hardLimit },
  ) {
    this.#hardLimit = hardLimit;
    this.#pace = pace;
    this.#adaptiveLimit = pace.adaptiveLimit;
  }

  get pace(): Pace {
    return this.#pace;
  }

  get adaptiveLimit(): number {
    return Math.floor(Math.min(this.#adaptiveLimit, this.#hardLimit));
  }

  set hardLimit(limit: number) {
    this.#hardLimit = limit;
  }

  /** How many calls at once the ramp allows. */
  rampAt(nowMs: number): number {
    const sinceMs = nowMs - this.#pace.rampFromMs;
    if (sinceMs >= RAMP_MS) return this.#hardLimit;
    return Math.max(1, Math.floor(1 + ((this.#hardLimit - 1) * sinceMs) / RAMP_MS));
  }

  /** When the ramp allows more than `height`; never, if it is not the ramp that does not. */
  rampExceedsAtMs(height: number, nowMs: number): number {
    if (this.rampAt(nowMs) > height || height >= this.#hardLimit) return Infinity;
    return this.#pace.rampFromMs + Math.ceil((height * RAMP_MS) / (this.#hardLimit - 1));
  }

  beginRamp(fromMs: number): void {
    this.#pace = { ...this.#pace, rampFromMs: fromMs };
  }

  /** The upstream asked to be left alone; `jitter`, from 0 to 1, stretches that a little. A ramp follows. */
  pause(retryAfterMs: number, nowMs: number, jitter: number): void {
    const pauseMs = Math.min(retryAfterMs, LONGEST_PAUSE_MS);
    const untilMs = Math.ceil(nowMs + pauseMs + jitter * Math.min(JITTER_MS, pauseMs));
    if (untilMs > this.#pace.pausedUntilMs)
      this.#pace = { ...this.#pace, pausedUntilMs: untilMs, rampFromMs: untilMs };
  }

  /** Ends the pause that the upstream has asked for, if there is one; a ramp follows. */
  resume(nowMs: number): void {
    if (nowMs >= this.#pace.pausedUntilMs) return;
    this.#pace = { ...this.#pace, pausedUntilMs: nowMs, rampFromMs: nowMs };
  }

  /** A good call, while `inFlight` were under way: additive increase, one for each round of the limit, if it was used. */
  raise(inFlight: number): void {
    if (inFlight < this.adaptiveLimit) return;
    this.#adaptiveLimit = Math.min(this.#hardLimit, this.#adaptiveLimit + 1 / this.#adaptiveLimit);
  }

  /** A call that began at `grantedAtMs` was too much: multiplicative decrease, once for each round of the limit. */
  lower(grantedAtMs: number, nowMs: number): void {
    if (grantedAtMs < this.#loweredAtMs) return;
    this.#loweredAtMs = nowMs;
    this.#adaptiveLimit = Math.max(1, Math.min(this.#adaptiveLimit, this.#hardLimit) * 0.7);
    this.#pace = { ...this.#pace, adaptiveLimit: this.#adaptiveLimit };
  }
}
