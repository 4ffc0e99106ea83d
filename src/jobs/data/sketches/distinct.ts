/**
 * How many different values there were, from their hashes alone: HyperLogLog.
 *
 * There are m = 2^precision registers. A value chooses one by the first half of its hash, and the register keeps the most
 * leading zeros that the second half had, plus one. The standard error is 1.04 / √m. Registers only grow, so the sketch
 * does not depend on the order of values, nor on how often each came; the union of two sketches is the maximum of each
 * register. The estimate is that of O. Ertl, "New cardinality estimation algorithms for HyperLogLog sketches"
 * (arXiv:1702.01284), algorithm 6, which needs no correction for small or large counts.
 */
import type { Packer, Unpacker } from "./packing.ts";

/** Leading zeros are counted in 32 bits: a register holds 0 to 33, in 6 bits. */
const MAX_ZEROS = 32;

export class DistinctSketch {
  #registers: Uint8Array;
  #precision: number;

  /** `precision`: 4 to 16. */
  constructor(precision: number) {
    this.#precision = precision;
    this.#registers = new Uint8Array(2 ** precision);
  }

  /** The standard error, as a share of the count. */
  get relativeError(): number {
    return 1.04 / Math.sqrt(this.#registers.length);
  }

  /** Two hashes of 32 bits of the same value, independent of one another and well mixed. */
  add(first: number, second: number): void {
    const at = first & (this.#registers.length - 1);
    const rank = Math.clz32(second) + 1;
    if (rank > (this.#registers[at] ?? 0)) this.#registers[at] = rank;
  }

  /** Afterwards this sketch has the values of both, at the lower of the two precisions. */
  merge(other: DistinctSketch): void {
    this.lowerPrecision(other.#precision);
    const mask = this.#registers.length - 1;
    for (const [i, rank] of other.#registers.entries())
      if (rank > (this.#registers[i & mask] ?? 0)) this.#registers[i & mask] = rank;
  }

  /** What the sketch would be if it had had this precision from the start. A higher one changes nothing. */
  lowerPrecision(precision: number): void {
    if (precision >= this.#precision) return;
    const fine = this.#registers;
    this.#precision = precision;
    this.#registers = new Uint8Array(2 ** precision);
    for (const [i, rank] of fine.entries()) {
      const at = i & (this.#registers.length - 1);
      if (rank > (this.#registers[at] ?? 0)) this.#registers[at] = rank;
    }
  }

  estimate(): number {
    const m = this.#registers.length;
    const having = new Uint32Array(MAX_ZEROS + 2);
    for (const rank of this.#registers) having[rank] = (having[rank] ?? 0) + 1;
    let z = m * tau(1 - (having[MAX_ZEROS + 1] ?? 0) / m);
    for (let rank = MAX_ZEROS; rank >= 1; rank--) z = 0.5 * (z + (having[rank] ?? 0));
    z += m * sigma((having[0] ?? 0) / m);
    return (m * m) / (2 * Math.LN2 * z);
  }

  /** The precision; then the registers in six bits each, or, if that is shorter, those that are not 0 alone. */
  pack(packer: Packer): void {
    packer.count(this.#precision);
    const used = this.#registers.reduce((n, rank) => n + (rank > 0 ? 1 : 0), 0);
    const isSparse = used * 3 < this.#registers.length * 0.75;
    packer.count(isSparse ? used + 1 : 0);
    if (!isSparse) return packer.bytes(toSixBits(this.#registers));
    let last = 0;
    for (const [i, rank] of this.#registers.entries()) {
      if (rank === 0) continue;
      packer.count(i - last);
      packer.count(rank);
      last = i;
    }
  }

  static unpack(unpacker: Unpacker): DistinctSketch {
    const sketch = new DistinctSketch(unpacker.count());
    const used = unpacker.count() - 1;
    if (used < 0) fromSixBits(unpacker.bytes(), sketch.#registers);
    for (let n = 0, at = 0; n < used; n++) {
      at += unpacker.count();
      sketch.#registers[at] = unpacker.count();
    }
    return sketch;
  }
}

/** x + Σ x^(2^k) · 2^(k-1), for k from 1 on. */
function sigma(x: number): number {
  if (x === 1) return Number.POSITIVE_INFINITY;
  let [power, scale, sum, last] = [x, 1, x, Number.NaN];
  while (sum !== last) {
    last = sum;
    power *= power;
    sum += power * scale;
    scale *= 2;
  }
  return sum;
}

/** (1 - x - Σ (1 - x^(2^-k))² · 2^-k) / 3, for k from 1 on. */
function tau(x: number): number {
  if (x === 0 || x === 1) return 0;
  let [root, scale, sum, last] = [x, 1, 1 - x, Number.NaN];
  while (sum !== last) {
    last = sum;
    root = Math.sqrt(root);
    scale *= 0.5;
    sum -= (1 - root) ** 2 * scale;
  }
  return sum / 3;
}

/** Four registers in three bytes: their number is a multiple of four. */
function toSixBits(registers: Uint8Array): Uint8Array {
  const packed = new Uint8Array((registers.length / 4) * 3);
  const rank = (i: number) => registers[i] ?? 0;
  for (let i = 0, at = 0; i < registers.length; i += 4) {
    const bits = (rank(i) << 18) | (rank(i + 1) << 12) | (rank(i + 2) << 6) | rank(i + 3);
    packed[at++] = bits >> 16;
    packed[at++] = bits >> 8;
    packed[at++] = bits;
  }
  return packed;
}

function fromSixBits(packed: Uint8Array, registers: Uint8Array): void {
  for (let i = 0, at = 0; i < registers.length; i += 4, at += 3) {
    const bits = ((packed[at] ?? 0) << 16) | ((packed[at + 1] ?? 0) << 8) | (packed[at + 2] ?? 0);
    for (let k = 0; k < 4; k++) registers[i + k] = (bits >> (18 - 6 * k)) & 63;
  }
}
