/**
 * Two hashes of the same bytes, of 32 bits each: by them a column knows a value.
 *
 * They take four bytes at once, as a number whose first byte is the lowest; the last one to three bytes are filled up with
 * zeros, and the length, which goes in at the end, tells them from zeros that are there. Each step keeps every bit: a factor
 * that is odd, and an exclusive or with its own upper bits, which brings down what the factor moves up. So no two values of
 * at most four bytes have the same first hash. At the end it is mixed, so that every bit of it depends on every bit before.
 *
 * A checkpoint holds hashes: whoever changes them changes `HASHES_VERSION`.
 */

/** Checkpoints with hashes of another version are of no use. */
export const HASHES_VERSION = 2;

const FIRST_SEED = 0x811c9dc5 | 0;
const SECOND_SEED = 0x2545f491;
const FIRST_FACTOR = 0x01000193;
const SECOND_FACTOR = 0x5bd1e995;

/** How many bytes must be there after those that are hashed, whatever they are. */
export const PADDING_BYTES = 3;

/** Hashes bytes, and has both hashes until the next. As members of the object they would be boxed, as any large number is. */
export class Hasher {
  readonly #hashes = new Int32Array(2);

  get first(): number {
    return this.#hashes[0] ?? 0;
  }
  get second(): number {
    return this.#hashes[1] ?? 0;
  }

  /** From `start` to before `end`. `salt`: the same bytes with another one are another value. */
  hash(view: DataView, start: number, end: number, salt: number): void {
    let first = FIRST_SEED ^ salt;
    let second = SECOND_SEED;
    let at = start;
    for (; at + 4 <= end; at += 4) {
      const word = view.getInt32(at, true);
      first = Math.imul(first ^ word, FIRST_FACTOR);
      first ^= first >>> 15;
      second = Math.imul(second ^ word, SECOND_FACTOR);
      second ^= second >>> 13;
    }
    if (at < end) {
      const word = view.getInt32(at, true) & ((1 << (8 * (end - at))) - 1);
      first = Math.imul(first ^ word, FIRST_FACTOR);
      first ^= first >>> 15;
      second = Math.imul(second ^ word, SECOND_FACTOR);
      second ^= second >>> 13;
    }
    this.#hashes[0] = mix(first ^ (end - start));
    this.#hashes[1] = second;
  }
}

/** Every bit of the result depends on every bit of the hash: the last step of MurmurHash3 (A. Appleby). */
export function mix(hash: number): number {
  let bits = hash ^ (hash >>> 16);
  bits = Math.imul(bits, 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return bits ^ (bits >>> 16);
}
