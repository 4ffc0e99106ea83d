import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  atMost,
  intoParts,
  MAX_LENGTH,
  MAX_PART_SIZE,
  MAX_PARTS,
  MAX_UNKNOWN_LENGTH,
  MIN_PART_SIZE,
  PartBuffer,
  partSizeFor,
  readChunks,
} from "../../../src/files/store/parts.ts";
import { streamOf } from "../../support/form.ts";

const bytes = (...values: number[]) => new Uint8Array(values);

async function collected(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const chunk of chunks) all.push(chunk.slice());
  return Buffer.concat(all);
}

/** Chunks in one buffer, which is overwritten once the next is asked for. */
async function* reused(chunks: Uint8Array[]): AsyncGenerator<Uint8Array> {
  const buffer = new Uint8Array(64);
  for (const chunk of chunks) {
    buffer.fill(0xee);
    buffer.set(chunk);
    yield buffer.subarray(0, chunk.length);
  }
  buffer.fill(0xee);
}

describe("the size of parts", () => {
  test("is such that R2 takes them, 10,000 suffice, and two of them fit into memory", () => {
    const mib = 1024 * 1024;
    fc.assert(
      fc.property(fc.integer({ min: 0, max: MAX_LENGTH }), (length) => {
        const size = partSizeFor(length);
        expect(Math.ceil(length / size)).toBeLessThanOrEqual(MAX_PARTS);
        expect([size >= MIN_PART_SIZE, size <= MAX_PART_SIZE, size % mib]).toEqual([true, true, 0]);
      }),
    );
  });

  test.each([
    [null, MIN_PART_SIZE],
    [0, MIN_PART_SIZE],
    [MAX_UNKNOWN_LENGTH, MIN_PART_SIZE],
    [MAX_UNKNOWN_LENGTH + 1, MIN_PART_SIZE + 1024 * 1024],
    [MAX_LENGTH, MAX_PART_SIZE],
  ])("for %s bytes is %i", (length, size) => {
    expect(partSizeFor(length)).toBe(size);
  });
});

test("parts are the same bytes, each of exactly the size but the last, however they came", async () => {
  const chunk = fc.uint8Array({ maxLength: 20 });
  await fc.assert(
    fc.asyncProperty(fc.array(chunk), fc.integer({ min: 1, max: 16 }), async (chunks, size) => {
      const parts: { part: Uint8Array; isLast: boolean }[] = [];
      let before: Uint8Array | undefined;
      for await (const { part, isLast } of intoParts(reused(chunks), size)) {
        // Looked at only now: a part must not change while it is sent and the next is filled.
        if (before) parts.push({ part: before.slice(), isLast: false });
        before = part;
        if (isLast) parts.push({ part: part.slice(), isLast });
      }
      expect(Buffer.concat(parts.map(({ part }) => part)).equals(Buffer.concat(chunks))).toBe(true);
      expect(parts.map(({ isLast }) => isLast)).toEqual([...parts.slice(1).map(() => false), true]);
      for (const { part, isLast } of parts) {
        if (isLast) expect(part.length).toBeLessThanOrEqual(size);
        else expect(part.length).toBe(size);
      }
    }),
  );
});

test("a buffer takes what there is room for, gives the rest back, and grows only as far as it must", () => {
  const part = new PartBuffer(6, 1);
  expect([...part.fill(bytes(1, 2, 3, 4))]).toEqual([]);
  expect([part.length, part.isFull, [...part.bytes]]).toEqual([4, false, [1, 2, 3, 4]]);
  expect([...part.fill(bytes(5, 6, 7))]).toEqual([7]);
  expect([part.length, part.isFull, [...part.bytes]]).toEqual([6, true, [1, 2, 3, 4, 5, 6]]);
  expect([...part.fill(bytes(8))]).toEqual([8]);
  expect(part.bytes.buffer.byteLength).toBe(6);
  expect(new PartBuffer(MAX_PART_SIZE).bytes.buffer.byteLength).toBe(256 * 1024);
});

describe("a limit", () => {
  const chunks = [bytes(1, 2, 3), bytes(4, 5)];

  test("lets exactly so many bytes through", async () => {
    expect([...(await collected(atMost(reused(chunks), 5)))]).toEqual([1, 2, 3, 4, 5]);
  });

  test("stops at the chunk that goes beyond it", async () => {
    const taken: number[] = [];
    const read = async () => {
      for await (const chunk of atMost(reused(chunks), 4)) taken.push(...chunk);
    };
    await expect(read()).rejects.toMatchObject({ kind: "too-large" });
    expect(taken).toEqual([1, 2, 3]);
  });
});

describe("reading a stream", () => {
  test("gives its bytes", async () => {
    const chunks = [bytes(1, 2), new Uint8Array(600_000).fill(3), bytes(4)];
    expect((await collected(readChunks(streamOf(chunks)))).equals(Buffer.concat(chunks))).toBe(true);
    expect((await collected(readChunks(null))).length).toBe(0);
  });

  test("that breaks off is a problem, not an end", async () => {
    const stream = streamOf([bytes(1), bytes(2)], (handedOut) => {
      if (handedOut === 1) throw new Error("the line went dead");
    });
    await expect(collected(readChunks(stream))).rejects.toMatchObject({ kind: "client-gone" });
  });

  test("ends it, when nobody reads on", async () => {
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

  test("ends it at once when it is stopped, also while nothing comes", async () => {
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
