/** Reading the body of a request as a stream, in chunks that share one buffer. */
import { Problem } from "../../kernel/problem.ts";
import { tooLarge } from "./problems.ts";

/** In bytes; the buffer that chunks are read into. */
export const READ_SIZE = 256 * 1024;

/**
 * The chunks of a stream. Each is valid only until the next is requested, because they share a buffer. Rejects with
 * a `Problem` if the sender breaks off. Once `stopped` is aborted, it ends at once, normally or with that `Problem`.
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
      const { done, value } = await reader.read(new Uint8Array(buffer)).catch(throwBrokenOff);
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
    // A consumer that stopped early does not want the rest.
    if (!isOver) reader.cancel().catch(() => {});
  }
}

/** Rejects a body that nothing has read from yet. Returns whether it had no bytes. */
export async function discardBody(
  stream: ReadableStream<Uint8Array> | null,
  stopped?: AbortSignal,
): Promise<boolean> {
  if (!stream) return true;
  const reader = stream.getReader({ mode: "byob" });
  stopped?.addEventListener("abort", () => {
    reader.cancel().catch(() => {});
  });
  const isEmpty = await drain(reader);
  reader.cancel().catch(() => {});
  return isEmpty;
}

/** How much of a rejected body is still read, and for how long. */
const MAX_DRAIN_BYTES = 1024 * 1024;
const MAX_DRAIN_MS = 1_000;

/**
 * Reads a little of the rest: a client that is busy sending would otherwise never read why it was rejected. Returns
 * whether it ended without a byte.
 */
async function drain(reader: ReadableStreamBYOBReader): Promise<boolean> {
  const deadline = scheduler.wait(MAX_DRAIN_MS);
  let buffer = new ArrayBuffer(READ_SIZE);
  let size = 0;
  while (size < MAX_DRAIN_BYTES) {
    const read = await Promise.race([reader.read(new Uint8Array(buffer)).catch(() => undefined), deadline]);
    if (!read?.value || read.done) return size === 0 && read?.done === true;
    size += read.value.length;
    buffer = read.value.buffer;
  }
  return false;
}

function throwBrokenOff(cause: unknown): never {
  throw new Problem("client-gone", "The body broke off.", { cause });
}

/** Passes the chunks on; throws a `Problem` 413 once there are more than `maxBytes`. */
export async function* limitSize(
  chunks: AsyncIterable<Uint8Array>,
  maxBytes: number,
  by: string | null = null,
): AsyncGenerator<Uint8Array> {
  let size = 0;
  for await (const chunk of chunks) {
    size += chunk.length;
    if (size > maxBytes) throw tooLarge(maxBytes, by);
    yield chunk;
  }
}
