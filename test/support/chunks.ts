/** Chunks of bytes, and what comes out of those that read them. */

export const bytes = (...values: number[]) => new Uint8Array(values);

/** All chunks, joined; each is copied when it arrives, because it may be overwritten later. */
export async function collected(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const chunk of chunks) all.push(chunk.slice());
  return Buffer.concat(all);
}

/** Yields the chunks in one buffer, which is overwritten when the next is requested. */
export async function* reused(chunks: Uint8Array[]): AsyncGenerator<Uint8Array> {
  const buffer = new Uint8Array(64);
  for (const chunk of chunks) {
    buffer.fill(0xee);
    buffer.set(chunk);
    yield buffer.subarray(0, chunk.length);
  }
  buffer.fill(0xee);
}
