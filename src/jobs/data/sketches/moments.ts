/**
 * Mean and standard deviation of numbers that come one by one: Welford's method, which does not lose digits when the
 * numbers are large beside their differences. Two of them merge as T. F. Chan, G. H. Golub and R. J. LeVeque describe
 * ("Updating formulae and a pairwise algorithm for computing sample variances", 1979).
 */
import type { Packer, Unpacker } from "./packing.ts";

export class Moments {
  #count = 0;
  #mean = 0;
  /** The sum of the squared differences from the mean. */
  #squares = 0;
  #min = Number.POSITIVE_INFINITY;
  #max = Number.NEGATIVE_INFINITY;

  get count(): number {
    return this.#count;
  }
  get mean(): number {
    return this.#mean;
  }
  get min(): number {
    return this.#min;
  }
  get max(): number {
    return this.#max;
  }

  /** Of a sample: the sum of squares is divided by the count less one. NaN for fewer than two numbers. */
  get standardDeviation(): number {
    return this.#count < 2 ? Number.NaN : Math.sqrt(this.#squares / (this.#count - 1));
  }

  /** A finite number, as often as it came. */
  add(value: number, times: number): void {
    this.#count += times;
    const difference = value - this.#mean;
    this.#mean += difference * (times / this.#count);
    this.#squares += times * difference * (value - this.#mean);
    if (value < this.#min) this.#min = value;
    if (value > this.#max) this.#max = value;
  }

  merge(other: Moments): void {
    if (other.#count === 0) return;
    const count = this.#count + other.#count;
    const difference = other.#mean - this.#mean;
    this.#squares += other.#squares + difference * difference * ((this.#count / count) * other.#count);
    this.#mean += difference * (other.#count / count);
    this.#count = count;
    this.#min = Math.min(this.#min, other.#min);
    this.#max = Math.max(this.#max, other.#max);
  }

  pack(packer: Packer): void {
    packer.count(this.#count);
    if (this.#count === 0) return;
    for (const value of [this.#mean, this.#squares, this.#min, this.#max]) packer.float64(value);
  }

  static unpack(unpacker: Unpacker): Moments {
    const moments = new Moments();
    moments.#count = unpacker.count();
    if (moments.#count === 0) return moments;
    moments.#mean = unpacker.float64();
    moments.#squares = unpacker.float64();
    moments.#min = unpacker.float64();
    moments.#max = unpacker.float64();
    return moments;
  }
}
