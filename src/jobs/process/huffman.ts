/** The Huffman codes of DEFLATE (RFC 1951 §3.2.2), as tables that are indexed by the next bits of the stream. */

/** Compressed data that breaks its format. The message says what is wrong, without a subject. */
export class DamagedError extends Error {
  override readonly name = "DamagedError";
}

export const MAX_CODE_BITS = 15;

/** For every combination of the next `bits` bits: the symbol and the length of its code, or 0 where there is no code. */
export interface HuffmanTable {
  bits: number;
  /** `symbol << 4 | length` */
  entries: Uint16Array;
}

/**
 * The table for the lengths of the codes of all symbols; 0 is a symbol without a code. Throws a `DamagedError` if there
 * are more codes than fit, or fewer: only a single code of one bit may be alone (zlib reads it so).
 */
export function huffmanTable(lengths: Uint8Array): HuffmanTable {
  const counts = new Uint16Array(MAX_CODE_BITS + 1);
  for (const length of lengths) counts[length] = at(counts, length) + 1;
  counts[0] = 0;
  const bits = Math.max(
    1,
    counts.findLastIndex((count) => count > 0),
  );
  const next = firstCodes(counts, bits);
  const entries = new Uint16Array(1 << bits);
  for (let symbol = 0; symbol < lengths.length; symbol++) {
    const length = at(lengths, symbol);
    if (length === 0) continue;
    const code = at(next, length);
    next[length] = code + 1;
    // Codes come with their first bit first, numbers with their last.
    const step = 1 << length;
    for (let index = reverse(code, length); index < entries.length; index += step)
      entries[index] = (symbol << 4) | length;
  }
  return { bits, entries };
}

/** The first code of each length. */
function firstCodes(counts: Uint16Array, bits: number): Uint32Array {
  const next = new Uint32Array(MAX_CODE_BITS + 1);
  let code = 0;
  let codes = 0;
  for (let length = 1; length <= bits; length++) {
    code = (code + at(counts, length - 1)) << 1;
    next[length] = code;
    codes += at(counts, length);
    if (code + at(counts, length) > 1 << length) throw new DamagedError("a Huffman code is over-subscribed");
  }
  const isComplete = code + at(counts, bits) === 1 << bits;
  if (!isComplete && (bits > 1 || codes > 1)) throw new DamagedError("a Huffman code is incomplete");
  return next;
}

function reverse(code: number, length: number): number {
  let reversed = 0;
  for (let bit = 0; bit < length; bit++) reversed |= ((code >> bit) & 1) << (length - 1 - bit);
  return reversed;
}

const at = (array: Uint8Array | Uint16Array | Uint32Array, index: number): number => array[index] ?? 0;

const fixedLengths = new Uint8Array(288).map((_, symbol) =>
  symbol < 144 ? 8 : symbol < 256 ? 9 : symbol < 280 ? 7 : 8,
);
/** The codes of a block that brings none (RFC 1951 §3.2.6): as lengths, for literals and for distances. */
export const FIXED_LENGTHS: [Uint8Array, Uint8Array] = [fixedLengths, new Uint8Array(32).fill(5)];
