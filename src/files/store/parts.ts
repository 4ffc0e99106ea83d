/**
 * Bytes, as they come and as R2 wants them: a multipart upload asks for parts of equal size, and only the last may
 * be shorter.
 */
import { Problem } from "../../kernel/problem.ts";
import { tooLarge } from "./errors.ts";

const MIB = 1024 * 1024;

/** In bytes; the least that R2 takes. */
export const MIN_PART_SIZE = 5 * MIB;
export const MAX_PARTS = 10_000;
/** Two parts are in memory at a time, and an isolate has 128 MB for all that it does. */
export const MAX_PART_SIZE = 16 * MIB;
/** What fits into parts of the least size: 48.8 GiB. The limit for a file whose length is not known beforehand. */
export const MAX_UNKNOWN_LENGTH = MIN_PART_SIZE * MAX_PARTS;
/** 156.25 GiB. */
export const MAX_LENGTH = MAX_PART_SIZE * MAX_PARTS;

/** The size of the parts for a file of `length` bytes, so that `MAX_PARTS` suffice; `null`: not known yet. */
export const partSizeFor = (length: number | null): number =>
  Math.max(MIN_PART_SIZE, Math.ceil((length ?? 0) / MAX_PARTS / MIB) * MIB);

export const READ_SIZE = 256 * 1024;

/**
 * The chunks of a stream. Each is valid only until the next is asked for: they share a buffer. Rejects with a
 * `Problem` when the sender breaks off, or may end like that or at once when `stopped` is aborted.
 */
export async function* readChunks(
  stream: ReadableStream<Uint8Array> | null,
  stopped?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  if (!stream || stopped?.aborted) return;
  const reader = stream.getReader({ mode: "byob" });
  stopped?.addEventListener("abort", () => {
    reader.cancel().catch(() => {});
  });
  let buffer = new ArrayBuffer(READ_SIZE);
  let isOver = false;
  try {
    for (;;) {
      const { done, value } = await reader.read(new Uint8Array(buffer)).catch(breakOff);
      isOver = done;
      if (done || value === undefined) return;
      yield value;
      buffer = value.buffer;
    }
  } catch (error) {
    isOver = true;
    throw error;
  } finally {
    if (!isOver && !stopped?.aborted) await drain(reader);
    // Whoever reads no further does not want the rest.
    if (!isOver) reader.cancel().catch(() => {});
  }
}

/** Refuses a body that nobody has begun to read. */
export async function dropBody(
  stream: ReadableStream<Uint8Array> | null,
  stopped?: AbortSignal,
): Promise<void> {
  if (!stream) return;
  const reader = stream.getReader({ mode: "byob" });
  stopped?.addEventListener("abort", () => {
    reader.cancel().catch(() => {});
  });
  await drain(reader);
  reader.cancel().catch(() => {});
}

/** Of a body that is refused. */
const DRAIN_BYTES = MIB;
const DRAIN_MS = 1_000;

/** Takes a little of what is left: a sender in full flow would else not get to read why it is refused. */
async function drain(reader: ReadableStreamBYOBReader): Promise<void> {
  const until = scheduler.wait(DRAIN_MS);
  let buffer = new ArrayBuffer(READ_SIZE);
  for (let size = 0; size < DRAIN_BYTES; ) {
    const read = await Promise.race([reader.read(new Uint8Array(buffer)).catch(() => undefined), until]);
    if (!read?.value || read.done) return;
    size += read.value.length;
    buffer = read.value.buffer;
  }
}

function breakOff(cause: unknown): never {
  throw new Problem("client-gone", "The body broke off.", { cause });
}

/** Passes the chunks on; throws a `Problem` 413 once there are more than `max` bytes. */
export async function* atMost(chunks: AsyncIterable<Uint8Array>, max: number): AsyncGenerator<Uint8Array> {
  let size = 0;
  for await (const chunk of chunks) {
    size += chunk.length;
    if (size > max) throw tooLarge(max);
    yield chunk;
  }
}

/**
 * Cuts chunks into parts of exactly `size`, and a last one that is shorter, or equal, or empty. Chunks may be reused.
 * A part is valid until the one after it has been dealt with, and the next is asked for: two buffers take turns.
 */
export async function* intoParts(chunks: AsyncIterable<Uint8Array>, size: number) {
  let part = new PartBuffer(size);
  let other: PartBuffer | undefined;
  for await (const chunk of chunks) {
    for (let rest = part.fill(chunk); rest.length > 0; rest = part.fill(rest)) {
      yield { part: part.bytes, isLast: false };
      [part, other] = [other?.emptied() ?? new PartBuffer(size, size), part];
    }
  }
  yield { part: part.bytes, isLast: true };
}

/** Takes up to `size` bytes. Grows to it from `startSize`, so that a small file costs little. */
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

  /** What it holds: a view, valid until more is put in. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#buffer.subarray(0, this.#filled);
  }

  /** Itself, with nothing in it; what it has held is overwritten by what comes. */
  emptied(): this {
    this.#filled = 0;
    return this;
  }

  /** Puts in what there is room for; gives the rest. */
  fill(chunk: Uint8Array): Uint8Array {
    const taken = chunk.subarray(0, this.#size - this.#filled);
    const end = this.#filled + taken.length;
    if (end > this.#buffer.length) this.#grow(end);
    this.#buffer.set(taken, this.#filled);
    this.#filled = end;
    return chunk.subarray(taken.length);
  }

  #grow(least: number): void {
    const grown = new Uint8Array(Math.min(this.#size, Math.max(least, 2 * this.#buffer.length)));
    grown.set(this.bytes);
    this.#buffer = grown;
  }
}
