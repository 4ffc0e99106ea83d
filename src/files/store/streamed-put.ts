/**
 * One put of a stream whose length is known: one operation of R2 however long it is, with one chunk in memory.
 *
 * R2 gets the last byte only when `check` has passed. Until then the put can only fail as a whole, so R2 never has bytes
 * that broke off, or that are not what they should be.
 */

import { Problem } from "../../kernel/problem.ts";

/** In bytes; the most that R2 takes in one put: 5 GiB less 5 MiB. */
export const MAX_PUT_SIZE = (5 * 1024 - 5) * 1024 * 1024;

/**
 * Puts chunks that have `length` bytes altogether; a chunk may be reused once the next is requested. `check` is called
 * when the last one is here, before R2 gets it. Rejects with what the chunks or `check` throw, or with the error of R2.
 */
export async function putStream(
  bucket: R2Bucket,
  key: string,
  chunks: AsyncIterable<Uint8Array>,
  length: number,
  check: () => void,
): Promise<void> {
  const { readable, writable } = new FixedLengthStream(length);
  const writer = writable.getWriter();
  let failure: { error: unknown } | undefined;
  const settled = async (work: Promise<unknown>) => {
    try {
      await work;
    } catch (error) {
      // The first one is the cause of the other.
      failure ??= { error };
      // Wakes a write that nobody reads any longer.
      await writer.abort(error).catch(() => {});
    }
  };
  await Promise.all([settled(bucket.put(key, readable)), settled(send(writer, chunks, length, check))]);
  if (failure) throw failure.error;
}

async function send(
  writer: WritableStreamDefaultWriter<Uint8Array>,
  chunks: AsyncIterable<Uint8Array>,
  length: number,
  check: () => void,
): Promise<void> {
  let left = length;
  if (left === 0) check();
  for await (const chunk of chunks) {
    left -= chunk.length;
    if (left < 0) throw new RangeError(`more than the ${length} bytes that were announced`);
    if (left === 0 && chunk.length > 0) check();
    await writer.write(chunk);
  }
  if (left > 0) throw new Problem("client-gone", "The body broke off.");
  await writer.close();
}
