import { env, runInDurableObject } from "cloudflare:test";
import * as fc from "fast-check";
import { beforeEach, expect, test, vi } from "vitest";
import { Appender } from "../../../src/files/resumable/appender.ts";
import { HashMemory } from "../../../src/files/resumable/running-hash.ts";
import {
  newRecord,
  type SessionRecord,
  SessionStorage,
} from "../../../src/files/resumable/session-storage.ts";
import { sha256 } from "../../support/files.ts";
import { keepQuiet } from "../../support/quiet.ts";
import {
  bytesOf,
  corrupted,
  createTus,
  digest,
  fileOf,
  MIB,
  patchTus,
  specOf,
} from "../../support/uploads.ts";

keepQuiet();

beforeEach(() => {
  // The pauses before a part is sent again.
  vi.spyOn(scheduler, "wait").mockResolvedValue();
});

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
  return Buffer.concat([...parts, ...storage.tailBlocks()]);
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
          const memory = new HashMemory();
          storage.save(emptyRecord(partSize));
          for (const { size, cut, checksum, end } of steps) {
            const before = storage.load() ?? emptyRecord(partSize);
            const bytes = all.slice(before.offset, before.offset + size);
            const value = Buffer.from(digest("sha1", bytes), "base64");
            const expected = checksum === "none" ? [] : [{ algorithm: "sha1" as const, value, header: "" }];
            const appender = new Appender(storage, before, memory, r2.open, expected, null);
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
            expect(memory.digest(after)).toBe(sha256(prefix));
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
    { numRuns: 40 },
  );
});

test.each([5 * MIB - 1, 5 * MIB, 5 * MIB + 1, 10 * MIB + 1])(
  "%i bytes with a checksum over all of them",
  async (size) => {
    const all = bytesOf(size);
    const path = await createTus({ "Upload-Length": size });
    const headers = { "Upload-Checksum": `md5 ${digest("md5", all)}` };
    expect((await patchTus(path, 0, corrupted(all), { headers })).status).toBe(460);
    expect((await patchTus(path, 0, all, { headers })).status).toBe(204);
    expect((await fileOf(path)).sha256).toBe(sha256(all));
  },
);
