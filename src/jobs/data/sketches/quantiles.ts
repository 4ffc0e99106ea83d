/**
 * Quantiles of numbers in a bounded number of bins, each with a stated relative error: DDSketch with uniform collapse.
 *
 * The bins of C. Masson, J. E. Rim and H. K. Lee, "DDSketch" (VLDB 2019), with its linearly interpolated index: each
 * factor of two is cut into 2^detail equal bins, so that the index is the first bits of the number. When there are too
 * many bins, each two neighbours become one (I. Epicoco and others, "UDDSketch", 2020), which is `detail` less 1 and
 * doubles the error. So the error is the same for all quantiles, and `relativeError` has what it has become.
 *
 * Invariant: each number lies in its bin, and the counts of the bins add up to the count of numbers.
 */
import type { Packer, Unpacker } from "./packing.ts";

/** 64 bins to a factor of two: an error of 1/129. */
const FINEST = 6;
/** One bin for all numbers of a sign: there are 2,048 factors of two. */
const COARSEST = -11;
/** Bins from the first used to the last used, for each bin that may be used: this bounds the memory. */
const SPAN_PER_BIN = 8;

/** The least number that is not as good as 0: it has the full precision of a number. */
const LEAST = 2 ** -1022;

const float = new Float64Array(1);
const words = new Uint32Array(float.buffer);
/** Which half of a number has its exponent: the second, on little-endian machines. */
const HIGH = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1 ? 1 : 0;

/** A bin, with its bounds and how many numbers it has. Negative numbers have bins of their own. */
export interface Bin {
  from: number;
  to: number;
  count: number;
}

export class QuantileSketch {
  #detail = FINEST;
  #maxBins: number;
  #zeros = 0;
  /** Of the negative numbers, and of the positive ones. */
  #sides: readonly [Side, Side] = [new Side(), new Side()];

  /** `maxBins`: at least 4. */
  constructor(maxBins: number) {
    this.#maxBins = maxBins;
  }

  /** The most by which a quantile may differ from the number that it estimates, as a share of that number. */
  get relativeError(): number {
    return errorOf(this.#detail);
  }

  get count(): number {
    return this.#zeros + this.#sides[0].total() + this.#sides[1].total();
  }

  /** A finite number, as often as it came. What is too small for the normal precision of a number counts as 0. */
  add(value: number, times: number): void {
    float[0] = Math.abs(value);
    const high = words[HIGH] ?? 0;
    if (high < 0x100000) {
      this.#zeros += times;
      return;
    }
    const sign = value < 0 ? 0 : 1;
    const index = high >>> (20 - this.#detail);
    const side = this.#sides[sign];
    if (side.has(index)) side.increase(index, times);
    else this.#addBin(sign, index, this.#detail, times);
  }

  /** Afterwards this sketch has the numbers of both, with the greater of the two errors or more. */
  merge(other: QuantileSketch): void {
    this.#zeros += other.#zeros;
    while (this.#detail > other.#detail) this.#collapse();
    for (const sign of [0, 1] as const)
      for (const { index, count } of other.#sides[sign].bins())
        this.#addBin(sign, index >>> (other.#detail - this.#detail), this.#detail, count);
  }

  /** Fewer bins from now on. */
  lowerMaxBins(maxBins: number): void {
    this.#maxBins = Math.min(maxBins, this.#maxBins);
    this.#bound();
  }

  /** The bins that have numbers, from the lowest. Those of 0 are from 0 to 0. */
  bins(): Bin[] {
    const bound = (index: number) => lowerBound(index, this.#detail);
    const [negative, positive] = this.#sides;
    const below = negative
      .bins()
      .map(({ index, count }) => ({ from: -bound(index + 1), to: -bound(index), count }));
    const above = positive
      .bins()
      .map(({ index, count }) => ({ from: bound(index), to: bound(index + 1), count }));
    const zero = this.#zeros > 0 ? [{ from: 0, to: 0, count: this.#zeros }] : [];
    return [...below.toReversed(), ...zero, ...above];
  }

  pack(packer: Packer): void {
    packer.count(this.#maxBins);
    packer.count(FINEST - this.#detail);
    packer.count(this.#zeros);
    for (const side of this.#sides) {
      const bins = side.bins();
      packer.count(bins.length);
      let last = 0;
      for (const { index, count } of bins) {
        packer.count(index - last);
        packer.count(count);
        last = index;
      }
    }
  }

  static unpack(unpacker: Unpacker): QuantileSketch {
    const sketch = new QuantileSketch(unpacker.count());
    sketch.#detail = FINEST - unpacker.count();
    sketch.#zeros = unpacker.count();
    for (const side of sketch.#sides)
      for (let n = unpacker.count(), index = 0; n > 0; n--) {
        index += unpacker.count();
        side.add(index, unpacker.count());
      }
    return sketch;
  }

  /** Adds to a bin that may be new, and collapses until there are not too many and they do not lie too far apart. */
  #addBin(sign: 0 | 1, index: number, detail: number, times: number): void {
    const at = () => index >>> (detail - this.#detail);
    const isTooLong = () => this.#sides[sign].spanWith(at()) > SPAN_PER_BIN * this.#maxBins;
    while (this.#detail > COARSEST && isTooLong()) this.#collapse();
    this.#sides[sign].add(at(), times);
    this.#bound();
  }

  #bound(): void {
    while (this.#detail > COARSEST && this.#sides[0].used + this.#sides[1].used > this.#maxBins)
      this.#collapse();
  }

  #collapse(): void {
    this.#detail--;
    this.#sides = [this.#sides[0].halved(), this.#sides[1].halved()];
  }
}

/** The bins of one sign, from the first that is used to the last, with room at both ends. */
class Side {
  #counts = new Float64Array(0);
  /** The index of the first count. */
  #first = 0;
  #lowest = 0;
  #highest = -1;
  used = 0;

  has(index: number): boolean {
    return (this.#counts[index - this.#first] ?? 0) > 0;
  }

  /** Of a bin that has numbers already. */
  increase(index: number, times: number): void {
    this.#counts[index - this.#first] = (this.#counts[index - this.#first] ?? 0) + times;
  }

  add(index: number, times: number): void {
    this.#reserve(index);
    if (!this.has(index)) this.used++;
    this.#lowest = this.#highest < this.#lowest ? index : Math.min(this.#lowest, index);
    this.#highest = Math.max(this.#highest, index);
    this.increase(index, times);
  }

  /** How many bins there are from the first to the last, if this one is among them. */
  spanWith(index: number): number {
    if (this.used === 0) return 1;
    return Math.max(this.#highest, index) - Math.min(this.#lowest, index) + 1;
  }

  bins(): { index: number; count: number }[] {
    const bins = [];
    for (let index = this.#lowest; index <= this.#highest; index++) {
      const count = this.#counts[index - this.#first] ?? 0;
      if (count > 0) bins.push({ index, count });
    }
    return bins;
  }

  total(): number {
    return this.#counts.reduce((sum, count) => sum + count, 0);
  }

  halved(): Side {
    const half = new Side();
    for (const { index, count } of this.bins()) half.add(index >>> 1, count);
    return half;
  }

  #reserve(index: number): void {
    if (index >= this.#first && index < this.#first + this.#counts.length) return;
    const span = this.spanWith(index);
    const lowest = this.used === 0 ? index : Math.min(this.#lowest, index);
    const room = Math.max(16, span);
    const first = lowest - (room >> 1);
    const counts = new Float64Array(span + 2 * (room >> 1));
    for (const bin of this.bins()) counts[bin.index - first] = bin.count;
    this.#counts = counts;
    this.#first = first;
  }
}

const errorOf = (detail: number) => {
  const ratio = detail >= 0 ? 1 + 2 ** -detail : 2 ** (2 ** -detail);
  return ratio < Number.POSITIVE_INFINITY ? (ratio - 1) / (ratio + 1) : 1;
};

/** The least number of a bin: its index holds the first bits of the number, of which 20 less `detail` are left out. */
function lowerBound(index: number, detail: number): number {
  words[HIGH] = Math.min(index * 2 ** (20 - detail), 0x7ff00000);
  words[1 - HIGH] = 0;
  const bound = float[0] ?? 0;
  return Math.min(Math.max(bound, LEAST), Number.MAX_VALUE);
}

/** The numbers at several shares of all that are in bins, each share from 0 to 1, in ascending order. */
export function quantilesOf(bins: readonly Bin[], shares: readonly number[]): number[] {
  const last = bins.reduce((sum, { count }) => sum + count, 0) - 1;
  let [at, before] = [0, 0];
  return shares.flatMap((share) => {
    const rank = Math.floor(share * last);
    for (let bin = bins[at]; bin && before + bin.count <= rank; bin = bins[++at]) before += bin.count;
    const bin = bins[at];
    return bin ? [middleOf(bin)] : [];
  });
}

/** The number of a bin that differs least from each other one of it, as a share of the other. */
const middleOf = ({ from, to }: Bin): number => (from === to ? from : from / (from / to / 2 + 0.5));
