/** Uploads in chunks of any kind, over HTTP, on the simulated R2: the file has the bytes that were sent. */
import { reset } from "cloudflare:test";
import * as fc from "fast-check";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { sha256 } from "../../support/files.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { expectRuntimeErrors } from "../../support/runtime-errors.ts";
import {
  blobsLeft,
  bytesOf,
  corrupted,
  countAppended,
  createTus,
  digest,
  fileOf,
  headTus,
  idOf,
  kill,
  MIB,
  patchTus,
  recordOf,
  stalledBody,
  withoutLength,
} from "../../support/uploads.ts";

keepQuiet();
expectRuntimeErrors("jsg.Error: killed");

beforeEach(() => {
  // The pauses before a part is sent again.
  vi.spyOn(scheduler, "wait").mockResolvedValue();
});

const chunk = fc.record({
  /** The share of the whole, in thousandths. */
  part: fc.nat(600),
  how: fc.constantFrom("plain", "streamed", "right", "wrong", "broken", "taken over", "at a wrong offset"),
  isKilled: fc.boolean(),
});
type Chunk = typeof chunk extends fc.Arbitrary<infer T> ? T : never;

/** Sends one chunk; returns the offset that the client then knows. */
async function sendChunk(path: string, all: Uint8Array<ArrayBuffer>, offset: number, { part, how }: Chunk) {
  const bytes = all.slice(offset, offset + Math.floor((part / 1000) * all.length));
  const checksum = { headers: { "Upload-Checksum": `sha256 ${digest("sha256", bytes)}` } };
  const end = offset + bytes.length;
  const expectAnswer = async (response: ReturnType<typeof patchTus>, status: number, expected: number) => {
    const { status: given, headers } = await response;
    expect([given, headers.get("Upload-Offset")]).toEqual([status, String(expected)]);
    return expected;
  };
  switch (how) {
    case "plain":
      return expectAnswer(patchTus(path, offset, bytes), 204, end);
    case "streamed":
      return expectAnswer(patchTus(path, offset, withoutLength(bytes)), 204, end);
    case "right":
      return expectAnswer(patchTus(path, offset, bytes, checksum), 204, end);
    case "wrong":
      if (bytes.length === 0) return offset;
      return expectAnswer(patchTus(path, offset, corrupted(bytes), checksum), 460, offset);
    case "at a wrong offset":
      return expectAnswer(patchTus(path, offset + 1, bytes), 409, offset);
    case "broken":
    case "taken over": {
      if (bytes.length === 0 || end === all.length) return offset;
      const { untilAppended } = countAppended();
      const { body, breakOff } = stalledBody(bytes);
      const response = patchTus(path, offset, body);
      await untilAppended(bytes.length);
      if (how === "broken") await breakOff();
      else expect((await headTus(path)).headers.get("Upload-Offset")).toBe(String(end));
      return expectAnswer(response, how === "broken" ? 400 : 409, end);
    }
  }
}

async function uploadInChunks(
  all: Uint8Array<ArrayBuffer>,
  chunks: Chunk[],
  isDeferred: boolean,
): Promise<void> {
  const length = { "Upload-Length": all.length };
  const path = await createTus(isDeferred ? { "Upload-Defer-Length": 1 } : length);
  let offset = 0;
  for (const next of chunks) {
    if (offset === all.length) break;
    offset = await sendChunk(path, all, offset, next);
    if (next.isKilled) await kill(path);
    expect((await headTus(path)).headers.get("Upload-Offset")).toBe(String(offset));
  }
  expect((await fileOf(path)).status).toBe(offset === all.length && !isDeferred ? 200 : 404);
  const rest = offset < all.length ? all.slice(offset) : null;
  const last = await patchTus(path, offset, rest, { headers: length });
  expect([last.status, last.headers.get("Upload-Offset")]).toEqual([204, String(all.length)]);
  expect(await fileOf(path)).toMatchObject({ status: 200, size: all.length, sha256: sha256(all) });
  const { objects, strays } = await blobsLeft();
  expect([objects.filter((key) => key.includes(idOf(path))), strays]).toEqual([
    [(await recordOf(path))?.blob],
    [],
  ]);
}

const uploads = (minSize: number, maxSize: number) =>
  fc.asyncProperty(
    fc.integer({ min: minSize, max: maxSize }),
    fc.array(chunk, { maxLength: 8 }),
    fc.boolean(),
    async (size, chunks, isDeferred) => uploadInChunks(bytesOf(size), chunks, isDeferred),
  );

afterEach(async () => {
  await reset();
});

test("an upload in random chunks, interrupted, preempted and killed at random, has the bytes that were sent", async () => {
  await fc.assert(uploads(1, 700_000), { numRuns: 30 });
}, 60_000);

test("the same holds across the boundaries of parts", async () => {
  await fc.assert(uploads(5 * MIB - 2, 12 * MIB), { numRuns: 6 });
}, 60_000);
