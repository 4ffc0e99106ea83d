/**
 * Cutting a stream of bytes into parts the way R2 wants them: all parts of a multipart upload have the same size, and
 * only the last may be shorter.
 */
import { READ_SIZE } from "./body.ts";

const MIB = 1024 * 1024;

/** In bytes; the smallest that R2 accepts. */
export const MIN_PART_SIZE = 5 * MIB;
export const MAX_PARTS = 10_000;
/** Two parts of an upload are in memory at a time, and all uploads of an isolate share what it has (memory-budget.ts). */
export const MAX_PART_SIZE = 16 * MIB;
/** What fits into parts of the smallest size: 48.8 GiB. The limit for a file of unknown length. */
export const MAX_UNKNOWN_LENGTH = MIN_PART_SIZE * MAX_PARTS;
/** 156.25 GiB. */
export const MAX_LENGTH = MAX_PART_SIZE * MAX_PARTS;

/** The part size for a file of `length` bytes, so that `MAX_PARTS` are enough; `null` means the length is unknown. */
export const partSizeFor = (length: number | null): number =>
  Math.max(MIN_PART_SIZE, Math.ceil((length ?? 0) / MAX_PARTS / MIB) * MIB);

/**
 * Cuts chunks into parts of exactly `size`, and a last part that is shorter, equal or empty. Chunks may be reused.
 * A part stays valid until the one after it has been consumed and the next is requested: two buffers take turns. If
 * there is no memory for the second, `isReused` says that the part is valid only until the next is requested.
 */
export async function* intoParts(
  chunks: AsyncIterable<Uint8Array>,
  size: number,
  hasSecondBuffer: () => boolean = () => true,
) {
  let part = new PartBuffer(size);
  let other: PartBuffer | undefined;
  for await (const chunk of chunks) {
    for (let rest = part.fill(chunk); rest.length > 0; rest = part.fill(rest)) {
      other ??= hasSecondBuffer() ? new PartBuffer(size, size) : undefined;
      yield { part: part.bytes, isLast: false, isReused: other === undefined };
      if (other) [part, other] = [other, part];
      part.emptied();
    }
  }
  yield { part: part.bytes, isLast: true, isReused: false };
}

/** A buffer for up to `size` bytes. It grows from `startSize`, so that a small file costs little memory. */
export class PartBuffer {
  readonly #size: number;
  #buffer: Uint8Array<ArrayBuffer>;
  #filled = 0;

  constructor(size: number, startSize = Math.min(size, READ_SIZE)) {
    this.#size = size;
    this.#buffer = new Uint8Array(startSize);
  }

  get length(): number {
    return this.#filled;
  }

  get isFull(): boolean {
    return this.#filled === this.#size;
  }

  /** Its content: a view that is valid until more is added. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#buffer.subarray(0, this.#filled);
  }

  /** The same buffer without content; what it held is overwritten by what is added next. */
  emptied(): this {
    this.#filled = 0;
    return this;
  }

  /** Adds as much as there is room for and returns the rest. */
  fill(chunk: Uint8Array): Uint8Array {
    const taken = chunk.subarray(0, this.#size - this.#filled);
    const end = this.#filled + taken.length;
    if (end > this.#buffer.length) this.#grow(end);
    this.#buffer.set(taken, this.#filled);
    this.#filled = end;
    return chunk.subarray(taken.length);
  }

  #grow(minSize: number): void {
    const grown = new Uint8Array(Math.min(this.#size, Math.max(minSize, 2 * this.#buffer.length)));
    grown.set(this.bytes);
    this.#buffer = grown;
  }
}
