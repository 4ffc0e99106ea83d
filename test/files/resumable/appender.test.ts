import { env, reset, runInDurableObject } from "cloudflare:test";
import { SHA256 } from "@stablelib/sha256";
import * as fc from "fast-check";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Appender } from "../../../src/files/resumable/appender.ts";
import {
  newRecord,
  type SessionRecord,
  SessionStorage,
} from "../../../src/files/resumable/session-storage.ts";
import { sha256 } from "../../support/files.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { expectRuntimeErrors } from "../../support/runtime-errors.ts";
import {
  blobsLeft,
  bytesOf,
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
  specOf,
  stalledBody,
  withoutLength,
} from "../../support/uploads.ts";

keepQuiet();
expectRuntimeErrors("jsg.Error: killed");

beforeEach(() => {
  // The pauses before a part is sent again.
  vi.spyOn(scheduler, "wait").mockResolvedValue();
});

function corrupted(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const copy = bytes.slice();
  if (copy.length > 0) copy[0] = Number(copy[0]) ^ 1;
  return copy;
}

// ------------------------------------------------------- parts of a few bytes, and a fake R2

/** Keeps the parts that it receives; rejects each for which `rejects` has true. */
class FakeR2 {
  readonly parts = new Map<string, Uint8Array>();
  readonly #rejects: boolean[];

  constructor(rejects: boolean[]) {
    this.#rejects = rejects;
  }

  readonly open = async (uploadId: string | null): Promise<R2MultipartUpload> => ({
    key: "key",
    uploadId: uploadId ?? "the only one",
    uploadPart: async (partNumber, bytes) => {
      if (this.#rejects.shift() === true) throw new Error("R2 is busy");
      const etag = crypto.randomUUID();
      this.parts.set(etag, (bytes as Uint8Array).slice());
      return { partNumber, etag };
    },
    abort: async () => {},
    complete: async () => Promise.reject(new Error("nobody completes here")),
  });
}

const emptyRecord = (partSize: number): SessionRecord => ({ ...newRecord(specOf(), Date.now()), partSize });

/** What is stored: the parts in their order, and the tail. */
function keptBytes(storage: SessionStorage, r2: FakeR2): Buffer {
  const parts = storage.loadParts().map(({ etag }) => r2.parts.get(etag) ?? new Uint8Array(0));
  return Buffer.concat([...parts, ...storage.loadTail()]);
}

const FEW = bytesOf(12 * 200);
const step = fc.record({
  size: fc.nat(200),
  /** The size of the chunks in which it arrives. */
  cut: fc.integer({ min: 1, max: 60 }),
  checksum: fc.constantFrom("none", "none", "right", "wrong"),
  end: fc.constantFrom("kept", "kept", "lost"),
});

test("whatever arrives, in whatever chunks: the stored bytes, their number and their hash are those of a prefix", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 12 }),
      fc.integer({ min: 1, max: 64 }),
      fc.array(fc.boolean(), { maxLength: 10 }),
      async (steps, partSize, rejects) => {
        const stub = env.UPLOAD_SESSION.getByName(crypto.randomUUID());
        const all = FEW;
        await runInDurableObject(stub, async (_session, state) => {
          const storage = new SessionStorage(state.storage);
          const r2 = new FakeR2(rejects);
          storage.save(emptyRecord(partSize));
          for (const { size, cut, checksum, end } of steps) {
            const before = storage.load() ?? emptyRecord(partSize);
            const bytes = all.slice(before.offset, before.offset + size);
            const value = Buffer.from(digest("sha1", bytes), "base64");
            const expected = checksum === "none" ? [] : [{ algorithm: "sha1" as const, value, header: "" }];
            const appender = new Appender(storage, before, r2.open, expected, null);
            const sent = checksum === "wrong" ? corrupted(bytes) : bytes;
            let isKept = false;
            try {
              for (let i = 0; i < sent.length; i += cut) await appender.append(sent.slice(i, i + cut));
              const isRight = appender.wrongDigest() === undefined;
              expect(isRight).toBe(checksum !== "wrong" || size === 0);
              if (isRight && end === "kept") await appender.commit({ phase: "receiving", length: null });
              isKept = isRight && end === "kept";
            } catch (error) {
              expect(error).toMatchObject({ message: "R2 is busy" });
            }
            await appender.settle();
            const after = storage.load() ?? emptyRecord(partSize);
            if (isKept) expect(after.offset).toBe(before.offset + size);
            else if (checksum !== "none") expect(after.offset).toBe(before.offset);
            expect(after.offset).toBeGreaterThanOrEqual(before.offset);
            const prefix = all.subarray(0, after.offset);
            expect(keptBytes(storage, r2).equals(prefix)).toBe(true);
            const hash = after.hash && new SHA256().restoreState(after.hash).digest();
            expect(Buffer.from(hash ?? []).toString("hex")).toBe(sha256(prefix));
            expect(storage.loadParts().map(({ partNumber }) => partNumber)).toEqual(
              Array.from({ length: Math.floor(after.offset / partSize) }, (_, i) => i + 1).slice(
                0,
                after.partCount,
              ),
            );
          }
        });
      },
    ),
    { numRuns: 100 },
  );
});

// --------------------------------------------------------------------------- the whole, over HTTP

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

const MANY = bytesOf(6 * MIB);

const uploads = (minSize: number, maxSize: number) =>
  fc.asyncProperty(
    fc.integer({ min: minSize, max: maxSize }),
    fc.array(chunk, { maxLength: 8 }),
    fc.boolean(),
    async (size, chunks, isDeferred) => uploadInChunks(MANY.slice(0, size), chunks, isDeferred),
  );

afterEach(async () => {
  await reset();
});

test("an upload in random chunks, interrupted, preempted and killed at random, has the bytes that were sent", async () => {
  await fc.assert(uploads(1, 700_000), { numRuns: 30 });
}, 60_000);

test("the same holds across the boundary of a part", async () => {
  await fc.assert(uploads(5 * MIB - 2, 6 * MIB), { numRuns: 6 });
}, 60_000);

test.each([5 * MIB - 1, 5 * MIB, 5 * MIB + 1])("%i bytes with a checksum over all of them", async (size) => {
  const all = MANY.slice(0, size);
  const path = await createTus({ "Upload-Length": size });
  const headers = { "Upload-Checksum": `md5 ${digest("md5", all)}` };
  expect((await patchTus(path, 0, corrupted(all), { headers })).status).toBe(460);
  expect((await patchTus(path, 0, all, { headers })).status).toBe(204);
  expect((await fileOf(path)).sha256).toBe(sha256(all));
});
