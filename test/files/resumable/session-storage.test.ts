import { env, runInDurableObject } from "cloudflare:test";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { type SessionRecord, SessionStorage } from "../../../src/files/resumable/session-storage.ts";
import { bytesOf, createTus, recordOf } from "../../support/uploads.ts";

const BLOCK = 256 * 1024;

/** Runs with the empty storage of an unused object, and a record to write there. */
async function withStorage(
  run: (storage: SessionStorage, record: SessionRecord, keys: () => string[]) => void,
) {
  const record = await recordOf(await createTus({ "Upload-Length": 5 }));
  if (!record) throw new Error("there is a record");
  await runInDurableObject(env.UPLOAD_SESSION.getByName(crypto.randomUUID()), (_session, { storage }) => {
    run(new SessionStorage(storage), record, () => [...storage.kv.list()].map(([key]) => key));
  });
}

const part = (partNumber: number): R2UploadedPart => ({ partNumber, etag: `etag-${partNumber}` });
const tailOf = (storage: SessionStorage) => Buffer.concat([...storage.tailBlocks()]);

test("is empty before the first save, and then has what was saved", async () => {
  await withStorage((storage, record) => {
    expect([storage.load(), storage.loadParts(), [...storage.tailBlocks()]]).toEqual([undefined, [], []]);
    storage.save(record);
    expect([storage.load(), storage.loadParts(), [...storage.tailBlocks()]]).toEqual([record, [], []]);
  });
});

test("a tail that grows is read back whole, although only its new blocks are written", async () => {
  const bytes = bytesOf(3 * BLOCK);
  const growths = fc.array(fc.nat(BLOCK + 10), { maxLength: 5 });
  await withStorage((storage, record) => {
    fc.assert(
      fc.property(growths, (sizes) => {
        storage.saveParts(record, [part(1)]);
        let length = 0;
        for (const size of [...sizes, BLOCK - 1, 1, 1]) {
          const before = length;
          length = Math.min(bytes.length, length + size);
          storage.saveAll(record, [], bytes.subarray(0, length), before);
          expect(tailOf(storage).equals(bytes.subarray(0, length))).toBe(true);
        }
      }),
      { numRuns: 30 },
    );
  });
});

test("a new part replaces the tail before it", async () => {
  await withStorage((storage, record) => {
    storage.saveAll(record, [], bytesOf(2 * BLOCK + 1), 0);
    storage.saveAll(record, [part(1)], bytesOf(10, 2), 0);
    expect(tailOf(storage).equals(bytesOf(10, 2))).toBe(true);
    storage.saveParts(record, [part(2)]);
    expect([[...storage.tailBlocks()], storage.loadParts()]).toEqual([[], [part(1), part(2)]]);
  });
});

test("parts are read in the order of their numbers, up to the maximum", async () => {
  await withStorage((storage, record) => {
    const numbers = [1, 2, 9, 10, 11, 99, 100, 999, 1000, 9999, 10_000];
    for (const number of numbers.toReversed()) storage.saveParts(record, [part(number)]);
    expect(storage.loadParts()).toEqual(numbers.map(part));
  });
});

test("a part that is sent again has its last ETag", async () => {
  await withStorage((storage, record) => {
    storage.saveParts(record, [part(1)]);
    storage.saveParts(record, [{ partNumber: 1, etag: "another" }]);
    expect(storage.loadParts()).toEqual([{ partNumber: 1, etag: "another" }]);
  });
});

test("once completed, only the record is left", async () => {
  await withStorage((storage, record, keys) => {
    storage.saveAll({ ...record, partCount: 2 }, [part(1), part(2)], bytesOf(BLOCK + 1), 0);
    storage.saveCompleted({ ...record, partCount: 2, sha256: "00" });
    expect([keys(), storage.load()?.sha256]).toEqual([["session"], "00"]);
  });
});
