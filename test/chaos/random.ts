/**
 * Chance that can be had again: the same seed gives the same choices. What the processes make of them still depends
 * on the machine, so a seed repeats what was done to Sluice, not the order in which its processes got to run.
 */
export class Random {
  #state: number;

  /** `stream` tells apart those who draw from the same seed at the same time. */
  constructor(seed: number, stream: string) {
    this.#state = seed | 0;
    for (let i = 0; i < stream.length; i++) {
      this.#state = Math.imul(this.#state ^ stream.charCodeAt(i), 16777619);
    }
  }

  /** From 0 to below 1 (mulberry32). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number, both ends included. */
  between(least: number, most: number): number {
    return least + Math.floor(this.next() * (most - least + 1));
  }

  /** True as often as `share` of the times. */
  chance(share: number): boolean {
    return this.next() < share;
  }
}
