/**
 * The most frequent values: a table of at most 2 × `keep` of them, each with how often it came at least.
 *
 * The algorithm is that of J. Misra and D. Gries (1982), in the form of P. K. Agarwal and others, "Mergeable summaries"
 * (PODS 2012); it is space-saving with a lower count in place of an upper one. When the table is full, the count of the
 * first value that has no place among `keep` is taken from all, and those that have nothing left go.
 *
 * Invariant: a value came at least as often as its count says, and at most `missed` times more; one that is not in the table
 * came at most `missed` times; `missed` ≤ n / (keep + 1) after n values. Where `isComplete`, nothing was ever dropped: the
 * table has all values, and their exact counts.
 *
 * A value is known by a hash of 64 bits. Of its bytes the table keeps the first, to show it. What a column has found out
 * about it (`kind`, `number`) stays beside it, so that it is found out once and not each time it comes. `settled` says how
 * many of its occurrences the column has counted elsewhere.
 */
import type { Packer, Unpacker } from "./packing.ts";

export class ValueTable {
  readonly keep: number;
  readonly #textBytes: number;
  readonly #capacity: number;
  /** Where in the arrays below a value is, by its hash; 0: nowhere, else 1 more than that. */
  readonly #places: Uint16Array;
  readonly #first: Int32Array;
  readonly #second: Int32Array;
  readonly #texts: Uint8Array;
  readonly #lengths: Uint8Array;
  readonly counts: Float64Array;
  readonly settled: Float64Array;
  readonly kinds: Uint8Array;
  readonly numbers: Float64Array;
  size = 0;
  missed = 0;
  isComplete = true;

  /** `textBytes`: how many bytes of each value are kept, at most 255. */
  constructor(keep: number, textBytes: number) {
    this.keep = keep;
    this.#textBytes = textBytes;
    this.#capacity = 2 * Math.max(keep, 4);
    this.#places = new Uint16Array(2 ** Math.ceil(Math.log2(2 * this.#capacity)));
    this.#first = new Int32Array(this.#capacity);
    this.#second = new Int32Array(this.#capacity);
    this.#texts = new Uint8Array(this.#capacity * textBytes);
    this.#lengths = new Uint8Array(this.#capacity);
    this.counts = new Float64Array(this.#capacity);
    this.settled = new Float64Array(this.#capacity);
    this.kinds = new Uint8Array(this.#capacity);
    this.numbers = new Float64Array(this.#capacity);
  }

  get isFull(): boolean {
    return this.size === this.#capacity;
  }

  /** Counts a value that is in the table; false if it is not. The first hash must be well mixed. */
  count(first: number, second: number): boolean {
    const places = this.#places;
    const mask = places.length - 1;
    for (let at = first & mask; ; at = (at + 1) & mask) {
      const place = (places[at] ?? 0) - 1;
      if (place < 0) return false;
      if (this.#first[place] !== first || this.#second[place] !== second) continue;
      this.counts[place] = (this.counts[place] ?? 0) + 1;
      return true;
    }
  }

  /** Adds a value that is not in the table, which must not be full; returns its place in the arrays. */
  insert(first: number, second: number, bytes: Uint8Array, start: number, end: number): number {
    const place = this.size++;
    this.#first[place] = first;
    this.#second[place] = second;
    this.counts[place] = 1;
    this.settled[place] = 0;
    const length = Math.min(end - start, this.#textBytes);
    // One more says that it was cut.
    this.#lengths[place] = Math.min(end - start, this.#textBytes + 1);
    const at = place * this.#textBytes;
    for (let i = 0; i < length; i++) this.#texts[at + i] = bytes[start + i] ?? 0;
    this.#index(place);
    return place;
  }

  /** The bytes of a value that are kept, and whether they are all. */
  text(place: number): { bytes: Uint8Array; isWhole: boolean } {
    const length = this.#lengths[place] ?? 0;
    const at = place * this.#textBytes;
    const bytes = this.#texts.subarray(at, at + Math.min(length, this.#textBytes));
    return { bytes, isWhole: length <= this.#textBytes };
  }

  /** Leaves at most `keep` values. What is not settled is lost. */
  prune(): void {
    if (this.size <= this.keep) return;
    const taken = this.#countBeyond(this.keep);
    this.missed += taken;
    this.isComplete = false;
    const before = this.size;
    this.size = 0;
    for (let place = 0; place < before; place++) {
      const left = (this.counts[place] ?? 0) - taken;
      if (left > 0) this.#move(place, this.size++, left);
    }
    this.#places.fill(0);
    for (let place = 0; place < this.size; place++) this.#index(place);
  }

  /** Afterwards this table has the values of both. */
  merge(other: ValueTable): void {
    this.missed += other.missed;
    this.isComplete &&= other.isComplete;
    for (let place = 0; place < other.size; place++) this.#adopt(other, place);
    this.prune();
  }

  /** At most `keep` values are packed: prune first. */
  pack(packer: Packer): void {
    packer.count(this.missed);
    packer.count(this.isComplete ? 1 : 0);
    packer.count(this.size);
    for (let place = 0; place < this.size; place++) {
      packer.int32(this.#first[place] ?? 0);
      packer.int32(this.#second[place] ?? 0);
      packer.count(this.counts[place] ?? 0);
      packer.count(this.kinds[place] ?? 0);
      packer.float64(this.numbers[place] ?? 0);
      packer.count(this.#lengths[place] ?? 0);
      packer.bytes(this.text(place).bytes);
    }
  }

  /** Everything in it is settled. */
  static unpack(unpacker: Unpacker, keep: number, textBytes: number): ValueTable {
    const table = new ValueTable(keep, textBytes);
    table.missed = unpacker.count();
    table.isComplete = unpacker.count() === 1;
    for (let n = unpacker.count(); n > 0; n--) {
      const place = table.insert(unpacker.int32(), unpacker.int32(), new Uint8Array(), 0, 0);
      const count = unpacker.count();
      table.counts[place] = count;
      table.settled[place] = count;
      table.kinds[place] = unpacker.count();
      table.numbers[place] = unpacker.float64();
      table.#lengths[place] = unpacker.count();
      table.#texts.set(unpacker.bytes(), place * textBytes);
    }
    return table;
  }

  /** The same values in a smaller table. What is not settled is lost. */
  shrunk(keep: number, textBytes: number): ValueTable {
    const table = new ValueTable(keep, textBytes);
    table.merge(this);
    return table;
  }

  #adopt(other: ValueTable, place: number): void {
    const { bytes, isWhole } = other.text(place);
    const [first, second] = [other.#first[place] ?? 0, other.#second[place] ?? 0];
    const count = other.counts[place] ?? 0;
    let mine = this.#find(first, second);
    if (mine < 0) {
      if (this.isFull) this.prune();
      mine = this.insert(first, second, bytes, 0, bytes.length);
      if (!isWhole) this.#lengths[mine] = this.#textBytes + 1;
      this.counts[mine] = 0;
      this.kinds[mine] = other.kinds[place] ?? 0;
      this.numbers[mine] = other.numbers[place] ?? 0;
    }
    this.counts[mine] = (this.counts[mine] ?? 0) + count;
    this.settled[mine] = this.counts[mine] ?? 0;
  }

  #find(first: number, second: number): number {
    for (let place = 0; place < this.size; place++)
      if (this.#first[place] === first && this.#second[place] === second) return place;
    return -1;
  }

  #index(place: number): void {
    const mask = this.#places.length - 1;
    let at = (this.#first[place] ?? 0) & mask;
    while (this.#places[at] !== 0) at = (at + 1) & mask;
    this.#places[at] = place + 1;
  }

  #move(from: number, to: number, count: number): void {
    this.#first[to] = this.#first[from] ?? 0;
    this.#second[to] = this.#second[from] ?? 0;
    this.counts[to] = count;
    this.settled[to] = count;
    this.kinds[to] = this.kinds[from] ?? 0;
    this.numbers[to] = this.numbers[from] ?? 0;
    this.#lengths[to] = this.#lengths[from] ?? 0;
    const width = this.#textBytes;
    this.#texts.copyWithin(to * width, from * width, (from + 1) * width);
  }

  /** The count of the value that would have this place if they were sorted, the most frequent first. */
  #countBeyond(rank: number): number {
    const counts = this.counts.subarray(0, this.size);
    // Where most values are seen once, as in a column of names, there is nothing to sort.
    let more = 0;
    for (let place = 0; place < counts.length; place++) if ((counts[place] ?? 0) > 1) more++;
    if (more <= rank) return 1;
    return counts.toSorted()[counts.length - 1 - rank] ?? 0;
  }
}
