/**
 * The least pace of a client, while it sends a body or takes one. Without it, one byte every few seconds would hold a
 * permit without end. Only the time in which the client had to act counts: if the upstream is slow, nobody else is.
 */
export interface PaceLimits {
  minBytesPerSecond: number;
  /** Over how much waiting it is measured. */
  windowMs: number;
}

export const CLIENT_PACE: PaceLimits = { minBytesPerSecond: 1024, windowMs: 10_000 };

export class Pace {
  readonly #limits: PaceLimits;
  #waitedMs = 0;
  #bytes = 0;

  constructor(limits: PaceLimits) {
    this.#limits = limits;
  }

  /** These bytes have been waited for. Returns false if that is too slow by now. */
  isKept(bytes: number, waitedMs: number): boolean {
    this.#waitedMs += waitedMs;
    this.#bytes += bytes;
    const { minBytesPerSecond, windowMs } = this.#limits;
    if (this.#waitedMs < windowMs) return true;
    const isKept = this.#bytes * 1000 >= minBytesPerSecond * this.#waitedMs;
    this.#waitedMs = 0;
    this.#bytes = 0;
    return isKept;
  }
}
