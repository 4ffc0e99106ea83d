/**
 * Inflates DEFLATE data (RFC 1951), with a state that can be kept between any two symbols.
 *
 * The platform's decompressors are faster, but their state dies with the invocation, they may run ahead of a slow
 * reader, and they hide where in the input the data ended. A job that inflates gigabytes in several runs, stops at a
 * limit, and goes on with what follows the data needs all three. The state is the last 32 KiB of output, up to seven
 * bits, and the codes of the current block: about 45 KB as JSON.
 *
 * Invariant: output depends on the input alone, not on how it is divided, nor on where the state was kept.
 */
import { DamagedError, FIXED_LENGTHS, type HuffmanTable, huffmanTable, MAX_CODE_BITS } from "./huffman.ts";

const WINDOW_BYTES = 32 * 1024;
const OUT_BYTES = 128 * 1024;
const MAX_MATCH_BYTES = 258;

/** What `save` returns: JSON. */
export interface InflateState {
  /** Base64. */
  window: string;
  bits: number;
  bitCount: number;
  isLast: boolean;
  /** What the current block still has: bytes, if it is stored, or codes, by their lengths; null between two blocks. */
  block: { stored: number } | { codes: [number[], number[]] } | null;
}

interface Coded {
  lengths: [Uint8Array, Uint8Array];
  literals: HuffmanTable;
  distances: HuffmanTable;
}
type Block = { stored: number } | Coded;

/** The input has ended for now: the symbol that was begun is read again with more of it. */
const UNDERRUN = Symbol("underrun");

export class Inflater {
  /** Output; the 32 KiB before `#begin` are the window. */
  readonly #out = new Uint8Array(WINDOW_BYTES + OUT_BYTES);
  #begin = WINDOW_BYTES;
  #end = WINDOW_BYTES;
  /** How much of the window has been output: nothing can refer to what was before it. */
  #history = 0;
  #input: Uint8Array = new Uint8Array();
  #at = 0;
  /** Bytes of input before `#input`. */
  #before = 0;
  #bits = 0;
  #bitCount = 0;
  #isLast = false;
  #block: Block | null = null;

  constructor(state?: InflateState) {
    if (!state) return;
    const window = Buffer.from(state.window, "base64");
    this.#out.set(window, WINDOW_BYTES - window.length);
    this.#history = window.length;
    this.#bits = state.bits;
    this.#bitCount = state.bitCount;
    this.#isLast = state.isLast;
    if (state.block)
      this.#block =
        "stored" in state.block
          ? state.block
          : coded(Uint8Array.from(state.block.codes[0]), Uint8Array.from(state.block.codes[1]));
  }

  /** Whether the last block has ended. */
  get isDone(): boolean {
    return this.#isLast && this.#block === null;
  }

  /** How many bytes of all input have been used, the one with the last bits included. */
  get consumed(): number {
    return this.#before + this.#at - (this.#bitCount >> 3);
  }

  /** The input that has come and was not used: what follows the data, once it is done. */
  get unused(): Uint8Array {
    const partial = this.#bitCount & 7;
    const ahead = Uint8Array.from(
      { length: this.#bitCount >> 3 },
      (_, i) => this.#bits >>> (partial + 8 * i),
    );
    return Buffer.concat([ahead, this.#input.subarray(this.#at)]);
  }

  /** Call it between two outputs. A new inflater with it takes the input from `consumed` on. */
  save(): InflateState {
    const bitCount = this.#bitCount & 7;
    const block = this.#block;
    return {
      window: Buffer.from(this.#out.subarray(this.#begin - this.#history, this.#begin)).toString("base64"),
      bits: this.#bits & ((1 << bitCount) - 1),
      bitCount,
      isLast: this.#isLast,
      block:
        block === null || "stored" in block
          ? block && { ...block }
          : { codes: [Array.from(block.lengths[0]), Array.from(block.lengths[1])] },
    };
  }

  /**
   * The output for the next part of the input, in pieces of at most 128 KiB, each valid until the next is asked for.
   * Ends early at the end of the data. Throws a `DamagedError`.
   */
  *push(input: Uint8Array): Generator<Uint8Array> {
    const rest = this.#input.subarray(this.#at);
    this.#before += this.#at;
    this.#input = rest.length === 0 ? input : Buffer.concat([rest, input]);
    this.#at = 0;
    for (let isStarved = false; !isStarved && !this.isDone; ) {
      isStarved = this.#fill();
      if (this.#end === this.#begin) continue;
      const piece = this.#out.subarray(this.#begin, this.#end);
      this.#begin = this.#end;
      this.#history = Math.min(WINDOW_BYTES, this.#history + piece.length);
      yield piece;
      this.#out.copyWithin(0, this.#end - WINDOW_BYTES, this.#end);
      this.#begin = this.#end = WINDOW_BYTES;
    }
    // The input belongs to the caller.
    this.#input = Uint8Array.from(this.#input.subarray(this.#at));
    this.#before += this.#at;
    this.#at = 0;
  }

  /** Outputs until there is no more room, or until the end. Returns true if it lacks input. */
  #fill(): boolean {
    while (!this.isDone && this.#end + MAX_MATCH_BYTES <= this.#out.length) {
      const at = this.#at;
      const bits = this.#bits;
      const bitCount = this.#bitCount;
      try {
        if (this.#block === null) this.#block = this.#readHeader();
        else if ("stored" in this.#block) this.#copyStored(this.#block);
        else this.#decode(this.#block);
      } catch (error) {
        if (error !== UNDERRUN) throw error;
        if (this.#block === null) [this.#at, this.#bits, this.#bitCount] = [at, bits, bitCount];
        return true;
      }
    }
    return false;
  }

  #take(count: number): number {
    while (this.#bitCount < count) {
      const byte = this.#input[this.#at];
      // oxlint-disable-next-line typescript/only-throw-error -- a signal, caught in `#fill`
      if (byte === undefined) throw UNDERRUN;
      this.#at++;
      this.#bits |= byte << this.#bitCount;
      this.#bitCount += 8;
    }
    const value = this.#bits & ((1 << count) - 1);
    this.#bits >>>= count;
    this.#bitCount -= count;
    return value;
  }

  #readHeader(): Block {
    const isLast = this.#take(1) === 1;
    const kind = this.#take(2);
    if (kind === 3) throw new DamagedError("a block has an unknown type");
    const block = kind === 0 ? this.#readStored() : kind === 1 ? coded(...FIXED_LENGTHS) : this.#readCodes();
    this.#isLast = isLast;
    return block;
  }

  #readStored(): Block {
    this.#take(this.#bitCount & 7);
    const stored = this.#take(16);
    if ((stored ^ this.#take(16)) !== 0xffff) throw new DamagedError("the length of a stored block is wrong");
    return { stored };
  }

  /** RFC 1951 §3.2.7. */
  #readCodes(): Block {
    const literals = this.#take(5) + 257;
    const distances = this.#take(5) + 1;
    const count = this.#take(4) + 4;
    if (literals > 286 || distances > 30) throw new DamagedError("a block has too many codes");
    const codeLengths = new Uint8Array(19);
    for (let i = 0; i < count; i++) codeLengths[CODE_ORDER[i] ?? 0] = this.#take(3);
    const table = huffmanTable(codeLengths);
    const lengths = new Uint8Array(literals + distances);
    for (let i = 0; i < lengths.length; ) {
      const symbol = this.#symbol(table);
      const isRepeat = symbol === 16;
      const repeat =
        symbol < 16
          ? 1
          : isRepeat
            ? 3 + this.#take(2)
            : symbol === 17
              ? 3 + this.#take(3)
              : 11 + this.#take(7);
      if ((isRepeat && i === 0) || i + repeat > lengths.length)
        throw new DamagedError("the lengths of codes repeat too often");
      lengths.fill(symbol < 16 ? symbol : isRepeat ? (lengths[i - 1] ?? 0) : 0, i, i + repeat);
      i += repeat;
    }
    if (lengths[256] === 0) throw new DamagedError("a block has no end");
    return coded(lengths.slice(0, literals), lengths.slice(literals));
  }

  #symbol({ bits, entries }: HuffmanTable): number {
    while (this.#bitCount < bits && this.#at < this.#input.length) {
      this.#bits |= (this.#input[this.#at++] ?? 0) << this.#bitCount;
      this.#bitCount += 8;
    }
    const entry = entries[this.#bits & (entries.length - 1)] ?? 0;
    const length = entry & 15;
    // oxlint-disable-next-line typescript/only-throw-error -- a signal, caught in `#fill`
    if (length > this.#bitCount || (length === 0 && this.#bitCount < MAX_CODE_BITS)) throw UNDERRUN;
    if (length === 0) throw unknownCode();
    this.#bits >>>= length;
    this.#bitCount -= length;
    return entry >> 4;
  }

  #copyStored(block: { stored: number }): void {
    // Whole bytes may be among the bits that were read ahead.
    while (this.#bitCount >= 8 && block.stored > 0 && this.#end < this.#out.length) {
      this.#out[this.#end++] = this.#take(8);
      block.stored--;
    }
    const length = Math.min(block.stored, this.#input.length - this.#at, this.#out.length - this.#end);
    this.#out.set(this.#input.subarray(this.#at, this.#at + length), this.#end);
    this.#at += length;
    this.#end += length;
    block.stored -= length;
    if (block.stored === 0) this.#block = null;
    // oxlint-disable-next-line typescript/only-throw-error -- a signal, caught in `#fill`
    else if (this.#at === this.#input.length) throw UNDERRUN;
  }

  /** Decodes symbols until the block ends or there is no room. */
  #decode(block: Coded): void {
    this.#decodeFast(block);
    const { literals, distances } = block;
    const out = this.#out;
    const limit = out.length - MAX_MATCH_BYTES;
    while (this.#block !== null && this.#end <= limit) {
      const at = this.#at;
      const bits = this.#bits;
      const bitCount = this.#bitCount;
      try {
        const symbol = this.#symbol(literals);
        if (symbol < 256) {
          out[this.#end++] = symbol;
          continue;
        }
        if (symbol === 256) {
          this.#block = null;
          return;
        }
        this.#copyMatch(symbol, distances);
      } catch (error) {
        if (error === UNDERRUN) [this.#at, this.#bits, this.#bitCount] = [at, bits, bitCount];
        throw error;
      }
    }
  }

  /** The same, three times as fast, while the input surely has the next symbol: its at most 48 bits. */
  #decodeFast({ literals, distances }: Coded): void {
    const input = this.#input;
    const out = this.#out;
    const lastAt = input.length - 8;
    const limit = out.length - MAX_MATCH_BYTES;
    const start = this.#begin - this.#history;
    const { entries: literalEntries } = literals;
    const { entries: distanceEntries } = distances;
    const literalMask = literalEntries.length - 1;
    const distanceMask = distanceEntries.length - 1;
    let at = this.#at;
    let bits = this.#bits;
    let bitCount = this.#bitCount;
    let end = this.#end;
    while (at <= lastAt && end <= limit) {
      for (; bitCount < 24; bitCount += 8) bits |= (input[at++] ?? 0) << bitCount;
      const entry = literalEntries[bits & literalMask] ?? 0;
      const symbol = entry >> 4;
      if (entry === 0) throw unknownCode();
      bits >>>= entry & 15;
      bitCount -= entry & 15;
      if (symbol < 256) {
        out[end++] = symbol;
        continue;
      }
      if (symbol === 256) {
        this.#block = null;
        break;
      }
      if (symbol > 285) throw new DamagedError("there is an unknown length");
      const lengthBits = LENGTH_BITS[symbol - 257] ?? 0;
      const length = (LENGTH_BASE[symbol - 257] ?? 0) + (bits & ((1 << lengthBits) - 1));
      bits >>>= lengthBits;
      bitCount -= lengthBits;
      for (; bitCount < 16; bitCount += 8) bits |= (input[at++] ?? 0) << bitCount;
      const distanceEntry = distanceEntries[bits & distanceMask] ?? 0;
      const code = distanceEntry >> 4;
      if (distanceEntry === 0) throw unknownCode();
      if (code > 29) throw new DamagedError("there is an unknown distance");
      bits >>>= distanceEntry & 15;
      bitCount -= distanceEntry & 15;
      const distanceBits = DISTANCE_BITS[code] ?? 0;
      for (; bitCount < distanceBits; bitCount += 8) bits |= (input[at++] ?? 0) << bitCount;
      const distance = (DISTANCE_BASE[code] ?? 0) + (bits & ((1 << distanceBits) - 1));
      bits >>>= distanceBits;
      bitCount -= distanceBits;
      let from = end - distance;
      if (from < start) throw new DamagedError("a distance leads before the beginning");
      for (const to = end + length; end < to; ) out[end++] = out[from++] ?? 0;
    }
    this.#at = at;
    this.#bits = bits;
    this.#bitCount = bitCount;
    this.#end = end;
  }

  #copyMatch(symbol: number, distances: HuffmanTable): void {
    const length = (LENGTH_BASE[symbol - 257] ?? 0) + this.#take(LENGTH_BITS[symbol - 257] ?? 0);
    if (symbol > 285) throw new DamagedError("there is an unknown length");
    const code = this.#symbol(distances);
    if (code > 29) throw new DamagedError("there is an unknown distance");
    const distance = (DISTANCE_BASE[code] ?? 0) + this.#take(DISTANCE_BITS[code] ?? 0);
    if (distance > this.#history + this.#end - this.#begin)
      throw new DamagedError("a distance leads before the beginning");
    const out = this.#out;
    const end = this.#end + length;
    if (distance >= length) out.copyWithin(this.#end, this.#end - distance, end - distance);
    else for (let to = this.#end; to < end; to++) out[to] = out[to - distance] ?? 0;
    this.#end = end;
  }
}

const unknownCode = () => new DamagedError("there is a code that was not announced");

const coded = (literals: Uint8Array, distances: Uint8Array): Block => ({
  lengths: [literals, distances],
  literals: huffmanTable(literals),
  distances: huffmanTable(distances),
});

const CODE_ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
/** RFC 1951 §3.2.5: for each code, the bits that follow it, and the number that they are added to. */
const LENGTH_BITS = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
const LENGTH_BASE = [...bases(LENGTH_BITS.slice(0, -1), 3), 258];
const DISTANCE_BITS = Array.from({ length: 30 }, (_, code) => Math.max(0, (code >> 1) - 1));
const DISTANCE_BASE = bases(DISTANCE_BITS, 1);

function bases(bits: number[], first: number): number[] {
  let base = first;
  return bits.map((count) => {
    const own = base;
    base += 1 << count;
    return own;
  });
}
