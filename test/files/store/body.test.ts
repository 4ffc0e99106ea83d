import { describe, expect, test } from "vitest";
import { limitSize, readChunks } from "../../../src/files/store/body.ts";
import { bytes, collected, reused } from "../../support/chunks.ts";
import { streamOf } from "../../support/form.ts";

describe("a size limit", () => {
  const chunks = [bytes(1, 2, 3), bytes(4, 5)];

  test("lets exactly that many bytes through", async () => {
    expect([...(await collected(limitSize(reused(chunks), 5)))]).toEqual([1, 2, 3, 4, 5]);
  });

  test("stops at the chunk that exceeds it", async () => {
    const taken: number[] = [];
    const read = async () => {
      for await (const chunk of limitSize(reused(chunks), 4)) taken.push(...chunk);
    };
    await expect(read()).rejects.toMatchObject({ kind: "too-large" });
    expect(taken).toEqual([1, 2, 3]);
  });
});

describe("reading a stream", () => {
  test("returns its bytes", async () => {
    const chunks = [bytes(1, 2), new Uint8Array(600_000).fill(3), bytes(4)];
    expect((await collected(readChunks(streamOf(chunks)))).equals(Buffer.concat(chunks))).toBe(true);
    expect((await collected(readChunks(null))).length).toBe(0);
  });

  test("rejects with a problem if it breaks off, instead of ending", async () => {
    const stream = streamOf([bytes(1), bytes(2)], (handedOut) => {
      if (handedOut === 1) throw new Error("the connection is reset");
    });
    await expect(collected(readChunks(stream))).rejects.toMatchObject({ kind: "client-gone" });
  });

  test("cancels it when the consumer stops reading", async () => {
    const cancelled = Promise.withResolvers<void>();
    const stream = new ReadableStream({
      type: "bytes",
      pull: (controller) => controller.enqueue(new Uint8Array(64 * 1024)),
      cancel: () => {
        cancelled.resolve();
      },
    });
    for await (const chunk of readChunks(stream)) if (chunk.length > 0) break;
    await cancelled.promise;
  });

  test("ends at once when it is stopped, even while nothing arrives", async () => {
    const stop = new AbortController();
    const stream = new ReadableStream({
      type: "bytes",
      start: (controller) => controller.enqueue(bytes(1)),
      pull: () => new Promise(() => {}),
    });
    const taken: number[] = [];
    for await (const chunk of readChunks(stream, stop.signal)) {
      taken.push(...chunk);
      stop.abort();
    }
    expect(taken).toEqual([1]);
  });
});
