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
  const bytes = bytesOf(9 * BLOCK);
  const growths = fc.array(fc.oneof(fc.nat(10), fc.nat(BLOCK + 10), fc.nat(7 * BLOCK + 1)), { maxLength: 5 });
  await withStorage((storage, record) => {
    fc.assert(
      fc.property(growths, fc.boolean(), (sizes, isOld) => {
        const { etags: _etags, ...old } = record;
        storage.saveParts(isOld ? old : record, [part(1)]);
        let length = 0;
        for (const size of [...sizes, BLOCK - 1, 1, 1]) {
          const before = length;
          length = Math.min(bytes.length, length + size);
          storage.saveAll(isOld ? old : record, [], bytes.subarray(0, length), before);
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
    const saved = storage.saveAll(record, [part(1)], bytesOf(10, 2), 0);
    expect(tailOf(storage).equals(bytesOf(10, 2))).toBe(true);
    storage.saveParts(saved, [part(2)]);
    expect([[...storage.tailBlocks()], storage.loadParts()]).toEqual([[], [part(1), part(2)]]);
  });
});

test.each([1, 63, 64, 65, 128, 1000, 10_000])("%i parts are read in their order", async (count) => {
  const parts = Array.from({ length: count }, (_, i) => part(i + 1));
  await withStorage((storage, record, keys) => {
    let saved = record;
    for (const one of parts.slice(0, 200)) saved = storage.saveParts(saved, [one]);
    storage.saveParts(saved, parts.slice(200));
    expect(storage.loadParts()).toEqual(parts);
    expect(keys()).toHaveLength(1 + Math.floor(count / 64));
  });
});

test("an upload that began with 0.1.0 goes on as it began", async () => {
  await withStorage((storage, { etags: _etags, ...record }, keys) => {
    const numbers = [1, 2, 9, 10, 11, 99, 100];
    for (const number of numbers) storage.saveParts(record, [part(number)]);
    storage.saveAll(record, [], bytesOf(BLOCK), 0);
    storage.saveAll(record, [], bytesOf(BLOCK + 1), BLOCK);
    expect(storage.loadParts().map(({ etag }) => etag)).toEqual(numbers.map((n) => `etag-${n}`));
    expect(keys().filter((key) => key.startsWith("tail/"))).toEqual(["tail/0", "tail/1"]);
    expect(keys()).toContain("part/00100");
    storage.saveCompleted(record);
    expect(keys()).toEqual(["session"]);
  });
});

test("a part that is sent again has its last ETag", async () => {
  await withStorage((storage, record) => {
    const saved = storage.saveParts(record, [part(1)]);
    storage.saveParts(saved, [{ partNumber: 1, etag: "another" }]);
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
