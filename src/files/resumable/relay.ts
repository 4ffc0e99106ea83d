/**
 * Hands the body of a request on to the object of an upload.
 *
 * The runtime itself would send it in chunks of 8 KiB, each a message of its own, which costs as much CPU as storing the
 * bytes. Here they are as large as what has arrived allows.
 *
 * A stream that passes through JavaScript may end normally for its reader although its sender broke off. One of a fixed
 * length cannot, so only a body whose length is known is relayed.
 */
import { READ_SIZE, readChunks } from "../store/body.ts";
import { uploadMemory } from "../store/memory-budget.ts";

/** What the object reads, and a promise that ends with it and never rejects. */
export function relay(
  body: ReadableStream<Uint8Array> | null,
  length: number | null,
): { stream: ReadableStream<Uint8Array> | null; relayed: Promise<void> } {
  const share =
    body && length !== null && length > SMALL ? uploadMemory.takeNow(READ_SIZE, SPARE) : undefined;
  // Without memory for its chunks it arrives as well, only slower.
  if (!body || length === null || !share) return { stream: body, relayed: Promise.resolve() };
  const { readable, writable } = new FixedLengthStream(length);
  return { stream: readable, relayed: pump(body, writable.getWriter()).finally(() => share.release()) };
}

/** In bytes; kept for the objects, which wait for memory of their own while this holds some. */
const SPARE = 32 * 1024 * 1024;

/** In bytes; what is not longer is a few messages anyway. */
const SMALL = 64 * 1024;

async function pump(
  body: ReadableStream<Uint8Array>,
  writer: WritableStreamDefaultWriter<Uint8Array>,
): Promise<void> {
  try {
    for await (const chunk of readChunks(body)) await writer.write(chunk);
    await writer.close();
  } catch (error) {
    // The client broke off, or the object does not want the rest. It has its own way to say so.
    await writer.abort(error).catch(() => {});
  }
}
