/**
 * Repeatable randomness: the same seed gives the same choices. When each process gets to run still depends on the
 * machine, so a seed repeats what was done to Sluice, not the outcome.
 */
export class Random {
  #state: number;

  /** `stream` separates the sequences that are drawn from one seed at the same time. */
  constructor(seed: number, stream: string) {
    this.#state = seed | 0;
    for (let i = 0; i < stream.length; i++) {
      this.#state = Math.imul(this.#state ^ stream.charCodeAt(i), 16777619);
    }
  }

  /** At least 0 and less than 1 (mulberry32). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** An integer from `min` to `max`, both included. */
  between(min: number, max: number): number {
    return min + Math.floor(this.next() * (max - min + 1));
  }

  /** True with the probability `share`. */
  chance(share: number): boolean {
    return this.next() < share;
  }
}
