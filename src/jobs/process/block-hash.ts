/**
 * md5 (RFC 1321) and sha-1 (RFC 3174) with a state that can be kept after any whole block of 64 bytes. They are for
 * telling files apart, not for security: both can be made to collide.
 */

const BLOCK_BYTES = 64;

interface Rules {
  initial: number[];
  /** Whether numbers are stored with their least byte first. */
  isLittleEndian: boolean;
  /** Works one block into the state. */
  compress(state: Int32Array, words: Int32Array): void;
}

/** Takes whole blocks, and what is left over with `digest`. */
export class BlockHash {
  readonly #rules: Rules;
  readonly #state: Int32Array;
  readonly #words = new Int32Array(80);
  #bytesHashed: number;

  constructor(rules: Rules, state: readonly number[] = rules.initial, bytesHashed = 0) {
    this.#rules = rules;
    this.#state = Int32Array.from(state);
    this.#bytesHashed = bytesHashed;
  }

  get state(): number[] {
    return Array.from(this.#state);
  }

  /** Hashes the whole blocks of `bytes`, whose length must be a multiple of 64. */
  update(bytes: Uint8Array): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let at = 0; at < bytes.length; at += BLOCK_BYTES) {
      for (let i = 0; i < 16; i++) this.#words[i] = view.getInt32(at + 4 * i, this.#rules.isLittleEndian);
      this.#rules.compress(this.#state, this.#words);
    }
    this.#bytesHashed += bytes.length;
  }

  /** Hashes the last bytes, fewer than a block, and returns the digest. Nothing may follow. */
  digest(rest: Uint8Array): Uint8Array {
    const { isLittleEndian } = this.#rules;
    const bits = BigInt(this.#bytesHashed + rest.length) * 8n;
    const padded = new Uint8Array(rest.length < BLOCK_BYTES - 8 ? BLOCK_BYTES : 2 * BLOCK_BYTES);
    padded.set(rest);
    padded[rest.length] = 0x80;
    new DataView(padded.buffer).setBigUint64(padded.length - 8, bits, isLittleEndian);
    this.update(padded);
    const digest = new DataView(new ArrayBuffer(this.#state.length * 4));
    this.#state.forEach((word, i) => digest.setInt32(4 * i, word, isLittleEndian));
    return new Uint8Array(digest.buffer);
  }
}

const rotate = (x: number, n: number) => (x << n) | (x >>> (32 - n));

const at = (array: Int32Array, index: number): number => array[index] ?? 0;

const SHIFTS = Int32Array.of(7, 12, 17, 22, 5, 9, 14, 20, 4, 11, 16, 23, 6, 10, 15, 21);
const SINES = Int32Array.from({ length: 64 }, (_, i) => Math.floor(Math.abs(Math.sin(i + 1)) * 2 ** 32));

// A loop for each round: one loop that chose its round at each step would take three times as long.
export const MD5: Rules = {
  initial: [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476],
  isLittleEndian: true,
  compress(state, words) {
    let [a = 0, b = 0, c = 0, d = 0] = state;
    for (let i = 0; i < 16; i++) {
      const sum = (a + ((b & c) | (~b & d)) + at(SINES, i) + at(words, i)) | 0;
      a = d;
      d = c;
      c = b;
      b = (b + rotate(sum, at(SHIFTS, 0 + (i & 3)))) | 0;
    }
    for (let i = 16; i < 32; i++) {
      const sum = (a + ((b & d) | (c & ~d)) + at(SINES, i) + at(words, (5 * i + 1) & 15)) | 0;
      a = d;
      d = c;
      c = b;
      b = (b + rotate(sum, at(SHIFTS, 4 + (i & 3)))) | 0;
    }
    for (let i = 32; i < 48; i++) {
      const sum = (a + (b ^ c ^ d) + at(SINES, i) + at(words, (3 * i + 5) & 15)) | 0;
      a = d;
      d = c;
      c = b;
      b = (b + rotate(sum, at(SHIFTS, 8 + (i & 3)))) | 0;
    }
    for (let i = 48; i < 64; i++) {
      const sum = (a + (c ^ (b | ~d)) + at(SINES, i) + at(words, (7 * i) & 15)) | 0;
      a = d;
      d = c;
      c = b;
      b = (b + rotate(sum, at(SHIFTS, 12 + (i & 3)))) | 0;
    }
    add(state, [a, b, c, d]);
  },
};

export const SHA1: Rules = {
  initial: [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0],
  isLittleEndian: false,
  compress(state, words) {
    for (let i = 16; i < 80; i++)
      words[i] = rotate(at(words, i - 3) ^ at(words, i - 8) ^ at(words, i - 14) ^ at(words, i - 16), 1);
    let [a = 0, b = 0, c = 0, d = 0, e = 0] = state;
    for (let i = 0; i < 20; i++) {
      const sum = (rotate(a, 5) + (((b & c) | (~b & d)) + 0x5a827999) + e + at(words, i)) | 0;
      e = d;
      d = c;
      c = rotate(b, 30);
      b = a;
      a = sum;
    }
    for (let i = 20; i < 40; i++) {
      const sum = (rotate(a, 5) + ((b ^ c ^ d) + 0x6ed9eba1) + e + at(words, i)) | 0;
      e = d;
      d = c;
      c = rotate(b, 30);
      b = a;
      a = sum;
    }
    for (let i = 40; i < 60; i++) {
      const sum = (rotate(a, 5) + (((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc) + e + at(words, i)) | 0;
      e = d;
      d = c;
      c = rotate(b, 30);
      b = a;
      a = sum;
    }
    for (let i = 60; i < 80; i++) {
      const sum = (rotate(a, 5) + ((b ^ c ^ d) + 0xca62c1d6) + e + at(words, i)) | 0;
      e = d;
      d = c;
      c = rotate(b, 30);
      b = a;
      a = sum;
    }
    add(state, [a, b, c, d, e]);
  },
};

function add(state: Int32Array, words: number[]): void {
  words.forEach((word, i) => {
    state[i] = at(state, i) + word;
  });
}
