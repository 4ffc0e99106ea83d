/** The catalogue: no file is visible too early, no file is lost, and no bytes stay behind. */
import { env, reset, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { FileCatalogue } from "../../../src/files/store/catalogue.ts";
import { NO_PRECONDITIONS } from "../../../src/files/store/preconditions.ts";
import type { NewFile } from "../../../src/files/store/schema.ts";
import { etagOf } from "../../../src/files/store/schema.ts";
import { captureLogs } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { changed, objectKeys, rowsOf } from "../../support/stored.ts";

const HOUR = 3_600_000;
const NOW = Date.UTC(2030, 0, 1);

const catalogue = () => env.FILE_CATALOGUE.getByName("c0");
const alarmAt = () => runInDurableObject(catalogue(), (_, { storage }) => storage.getAlarm());

const newFile = (id: string, blob: string, more: Partial<NewFile> = {}): NewFile => ({
  id,
  blob,
  filename: id,
  content_type: "text/plain",
  size: 1,
  sha256: "00".repeat(32),
  expires_at_ms: null,
  ...more,
});

const reserve = (blob: string, uploadId: string | null = null, dueAtMs = Date.now() + HOUR) =>
  catalogue().reserve(blob, uploadId, dueAtMs);

/** Reserves the blob, writes it to R2, and commits it as a file. */
async function store(id: string, blob: string, more: Partial<NewFile> = {}, conditions = NO_PRECONDITIONS) {
  await reserve(blob);
  await env.FILES.put(blob, blob);
  return catalogue().commit([newFile(id, blob, more)], conditions);
}

keepQuiet();
beforeEach(async () => {
  await reset();
  vi.useFakeTimers({ toFake: ["Date"], now: NOW });
});
afterEach(() => {
  vi.useRealTimers();
});

describe("a file", () => {
  test("exists once it is committed, with all its metadata", async () => {
    await reserve("b1");
    expect(await catalogue().find("a")).toBeUndefined();
    const file = newFile("a", "b1", { filename: "ä", size: 5, expires_at_ms: NOW + HOUR });
    const row = {
      ...file,
      source: null,
      source_task: null,
      owner: null,
      metadata: null,
      modified_at_ms: NOW,
      dated_at_ms: NOW,
      is_replacement: 0,
    };
    expect(await catalogue().commit([file], NO_PRECONDITIONS)).toEqual({ is: "created", rows: [row] });
    expect(await catalogue().find("a")).toEqual({ ...row, last_modified_ms: NOW });
    expect((await rowsOf(catalogue())).strays).toEqual([]);
  });

  test("is replaced by the next one with its id; the old bytes are collected", async () => {
    await store("a", "b1");
    expect(await store("a", "b2")).toMatchObject({ is: "replaced", rows: [{ blob: "b2" }] });
    expect(await objectKeys()).toEqual(["b1", "b2"]);
    await runDurableObjectAlarm(catalogue());
    expect(await objectKeys()).toEqual(["b2"]);
    expect((await rowsOf(catalogue())).strays).toEqual([]);
  });

  test("cannot be committed without a reservation: none, one that is due, one that was discarded", async () => {
    const commit = (blob: string) => catalogue().commit([newFile("a", blob)], NO_PRECONDITIONS);
    expect(await commit("b0")).toEqual({ is: "unreserved" });
    await reserve("b1", null, NOW + HOUR);
    vi.setSystemTime(NOW + HOUR);
    expect(await commit("b1")).toEqual({ is: "unreserved" });
    await reserve("b2");
    await catalogue().discard("b2");
    expect(await commit("b2")).toEqual({ is: "unreserved" });
    await reserve("b3");
    expect(await commit("b3")).toMatchObject({ is: "created" });
  });

  test("can be committed again if the response was lost: the file is the same, also if it was a replacement", async () => {
    await store("a", "b1");
    const first = await catalogue().find("a");
    vi.setSystemTime(NOW + 1000);
    expect(await catalogue().commit([newFile("a", "b1")], NO_PRECONDITIONS)).toEqual({
      is: "created",
      rows: [
        {
          ...newFile("a", "b1"),
          source: null,
          source_task: null,
          owner: null,
          metadata: null,
          modified_at_ms: NOW,
          dated_at_ms: NOW,
          is_replacement: 0,
        },
      ],
    });
    expect(await catalogue().find("a")).toEqual(first);
    // Its own preconditions do not fail against itself.
    const conditions = { ...NO_PRECONDITIONS, ifNoneMatch: "*" };
    expect(await catalogue().commit([newFile("a", "b1")], conditions)).toMatchObject({ is: "created" });
    await store("a", "b2");
    expect(await catalogue().commit([newFile("a", "b1")], NO_PRECONDITIONS)).toEqual({ is: "unreserved" });
    expect(await catalogue().find("a")).toMatchObject({ blob: "b2" });
  });

  test("is removed once, and then its bytes are collected", async () => {
    await store("a", "b1");
    expect(await catalogue().remove("a", NO_PRECONDITIONS)).toBe("removed");
    expect(await catalogue().find("a")).toBeUndefined();
    expect(await catalogue().remove("a", NO_PRECONDITIONS)).toBe("missing");
    await runDurableObjectAlarm(catalogue());
    expect([await objectKeys(), await alarmAt()]).toEqual([[], null]);
  });

  test("is replaced and removed only if the preconditions hold in that very step", async () => {
    const only = { ...NO_PRECONDITIONS, ifNoneMatch: "*" };
    expect(await store("a", "b1", {}, only)).toMatchObject({ is: "created" });
    expect(await store("a", "b2", {}, only)).toEqual({ is: "precondition-failed" });
    const other = { ...NO_PRECONDITIONS, ifMatch: '"other"' };
    expect(await catalogue().remove("a", other)).toBe("precondition-failed");
    expect(await catalogue().find("a")).toMatchObject({ blob: "b1" });
    const same = { ...NO_PRECONDITIONS, ifMatch: etagOf(newFile("a", "b1")) };
    expect(await catalogue().remove("a", same)).toBe("removed");
  });

  test("that does not exist is missing, whatever the preconditions (RFC 9110 §13.2.1)", async () => {
    expect(await catalogue().remove("a", { ...NO_PRECONDITIONS, ifMatch: '"x"' })).toBe("missing");
  });
});

describe("a file that expires", () => {
  test("is gone for readers at that time, before it is collected, and its id is free", async () => {
    await store("a", "b1", { expires_at_ms: NOW + HOUR });
    vi.setSystemTime(NOW + HOUR - 1);
    expect([(await catalogue().find("a"))?.blob, await catalogue().list("", "", 9)]).toMatchObject([
      "b1",
      [{}],
    ]);
    vi.setSystemTime(NOW + HOUR);
    expect([await catalogue().find("a"), await catalogue().list("", "", 9)]).toEqual([undefined, []]);
    expect(await catalogue().remove("a", NO_PRECONDITIONS)).toBe("missing");
    expect((await rowsOf(catalogue())).files).toHaveLength(1);
    expect(await store("a", "b2", {}, { ...NO_PRECONDITIONS, ifNoneMatch: "*" })).toMatchObject({
      is: "created",
    });
    await runDurableObjectAlarm(catalogue());
    expect(await objectKeys()).toEqual(["b2"]);
  });

  test("sets the alarm to that time at the latest", async () => {
    await store("a", "b1", { expires_at_ms: NOW + 3 * HOUR });
    await store("b", "b2", { expires_at_ms: NOW + 2 * HOUR });
    await runDurableObjectAlarm(catalogue());
    expect(await alarmAt()).toBe(NOW + 2 * HOUR);
    vi.setSystemTime(NOW + 2 * HOUR);
    await runDurableObjectAlarm(catalogue());
    expect([await objectKeys(), await alarmAt()]).toEqual([["b1"], NOW + 3 * HOUR]);
    vi.setSystemTime(NOW + 3 * HOUR);
    await runDurableObjectAlarm(catalogue());
    expect([await objectKeys(), await alarmAt()]).toEqual([[], null]);
  });
});

describe("a blob that was reserved and never committed", () => {
  test("is removed when it is due, together with its multipart upload, and not before", async () => {
    const upload = await env.FILES.createMultipartUpload("b1");
    await reserve("b1", upload.uploadId);
    await reserve("b2");
    await env.FILES.put("b2", "x");
    await runDurableObjectAlarm(catalogue());
    expect((await rowsOf(catalogue())).strays).toHaveLength(2);
    expect(await alarmAt()).toBe(NOW + HOUR);
    vi.setSystemTime(NOW + HOUR);
    await runDurableObjectAlarm(catalogue());
    expect([await objectKeys(), (await rowsOf(catalogue())).strays, await alarmAt()]).toEqual([[], [], null]);
    await expect(upload.uploadPart(1, "x")).rejects.toThrow(/does not exist|aborted|10024/);
  });

  test("is removed even if R2 has already aborted its multipart upload", async () => {
    const upload = await env.FILES.createMultipartUpload("b1");
    await reserve("b1", upload.uploadId);
    await upload.abort();
    await catalogue().discard("b1");
    await runDurableObjectAlarm(catalogue());
    expect((await rowsOf(catalogue())).strays).toEqual([]);
  });

  test("is due at once when it is discarded; a file is not", async () => {
    await store("a", "b1");
    await reserve("b2");
    for (const blob of ["b1", "b2", "unknown"]) await catalogue().discard(blob);
    expect((await rowsOf(catalogue())).strays).toMatchObject([{ blob: "b2", due_at_ms: NOW }]);
    await runDurableObjectAlarm(catalogue());
    expect(await objectKeys()).toEqual(["b1"]);
  });
});

test("a duplicate reservation that arrives after the commit does not endanger the file", async () => {
  await store("a", "b1");
  await reserve("b1");
  vi.setSystemTime(NOW + HOUR);
  await runDurableObjectAlarm(catalogue());
  expect(await catalogue().find("a")).toMatchObject({ blob: "b1" });
  expect(await objectKeys()).toEqual(["b1"]);
});

/** Replaces the bucket that the object sees. */
const withR2 = (methods: object) =>
  runInDurableObject(catalogue(), (instance: FileCatalogue) => {
    Object.defineProperty(instance, "env", {
      configurable: true,
      value: { ...env, FILES: changed(env.FILES, methods) },
    });
  });

test("when R2 fails, the alarm logs it, keeps what is due, and tries again in a minute", async () => {
  await store("a", "b1");
  await catalogue().remove("a", NO_PRECONDITIONS);
  await withR2({ delete: async () => Promise.reject(new Error("R2 is away")) });
  const { lines } = await captureLogs(async () => runDurableObjectAlarm(catalogue()));
  expect(lines).toMatchObject([{ level: "error", error: "Error: R2 is away" }]);
  expect((await rowsOf(catalogue())).strays).toMatchObject([{ blob: "b1" }]);
  expect(await alarmAt()).toBe(NOW + 60_000);
  await withR2({});
  vi.setSystemTime(NOW + 60_000);
  await runDurableObjectAlarm(catalogue());
  expect([await objectKeys(), (await rowsOf(catalogue())).strays]).toEqual([[], []]);
});

type Step =
  | { do: "reserve" | "commit" | "discard"; blob: number }
  | { do: "remove"; id: number }
  | { do: "wait"; hours: number }
  | { do: "collect" };

const step = fc.oneof<fc.Arbitrary<Step>[]>(
  fc.record({
    do: fc.constantFrom("reserve" as const, "commit" as const, "discard" as const),
    blob: fc.nat(3),
  }),
  fc.record({ do: fc.constant("remove" as const), id: fc.nat(1) }),
  fc.record({ do: fc.constant("wait" as const), hours: fc.integer({ min: 1, max: 2 }) }),
  fc.constant({ do: "collect" as const }),
);

test("in whatever order its methods are called, the blob of a file is never due or deleted, and all others are", async () => {
  const deleted: string[] = [];
  await withR2({ delete: async (keys: string[]) => void deleted.push(...keys) });
  await runInDurableObject(catalogue(), async (instance: FileCatalogue, { storage }) => {
    const blobsOf = (table: string) =>
      storage.sql
        .exec<{ blob: string }>(`SELECT blob FROM ${table}`)
        .toArray()
        .map(({ blob }) => blob);
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40, size: "max" }), async (steps) => {
        storage.sql.exec("DELETE FROM file");
        storage.sql.exec("DELETE FROM stray");
        const known = new Set<string>();
        for (const s of steps) {
          const nowMs = Date.now();
          deleted.length = 0;
          if (s.do === "wait") vi.setSystemTime(nowMs + s.hours * HOUR);
          else if (s.do === "collect") await instance.alarm();
          else if (s.do === "remove") await instance.remove(`f${s.id}`, NO_PRECONDITIONS);
          else if (s.do === "reserve") {
            await instance.reserve(`b${s.blob}`, null, nowMs + 1.5 * HOUR);
            known.add(`b${s.blob}`);
          } else if (s.do === "discard") await instance.discard(`b${s.blob}`);
          else {
            const expires = s.blob === 3 ? nowMs + HOUR : null;
            // Each blob belongs to one file, which its key names.
            const file = newFile(`f${s.blob % 2}`, `b${s.blob}`, { expires_at_ms: expires });
            const outcome = await instance.commit([file], NO_PRECONDITIONS);
            if ("row" in outcome) expect(blobsOf("file")).toContain(file.blob);
          }
          const files = blobsOf("file");
          const strays = blobsOf("stray");
          expect(strays.filter((blob) => files.includes(blob))).toEqual([]);
          expect(deleted.filter((blob) => files.includes(blob))).toEqual([]);
          for (const blob of deleted) known.delete(blob);
          // Nothing is forgotten: whatever R2 may have belongs to a file or is a stray.
          expect([...files, ...strays].toSorted()).toEqual([...known].toSorted());
        }
      }),
      { numRuns: 100 },
    );
  });
});

test("an alarm collects one batch and is set again for now, at a cost that grows with what expires, not with what is kept", async () => {
  const keep = 3000;
  const expire = 1100;
  const deleted: string[][] = [];
  await withR2({ delete: async (keys: string[]) => void deleted.push(keys) });
  await runInDurableObject(catalogue(), async (instance: FileCatalogue, { storage }) => {
    for (let i = 0; i < keep + expire; i++) {
      await instance.reserve(`b${i}`, null, NOW + HOUR);
      const expires_at_ms = i < expire ? NOW + 2 * HOUR : null;
      await instance.commit([newFile(`f${i}`, `b${i}`, { expires_at_ms })], NO_PRECONDITIONS);
    }
    const exec = vi.spyOn(storage.sql, "exec");
    vi.setSystemTime(NOW + 2 * HOUR - 1);
    await instance.alarm();
    expect(exec.mock.calls.length).toBeGreaterThan(2);
    const readFor = () =>
      exec.mock.results.reduce((sum, { value }) => sum + (value as { rowsRead: number }).rowsRead, 0);
    expect([deleted, readFor()]).toEqual([[], expect.any(Number)]);
    expect(readFor()).toBeLessThan(20);
    exec.mockClear();
    vi.setSystemTime(NOW + 2 * HOUR);
    for (const total of [500, 1000, expire]) {
      await storage.deleteAlarm();
      await instance.alarm();
      expect(deleted.flat()).toHaveLength(total);
      expect(await storage.getAlarm()).toBe(total < expire ? NOW + 2 * HOUR : null);
    }
    expect(deleted).toHaveLength(3);
    expect(readFor()).toBeLessThan(10 * expire);
    exec.mockRestore();
    expect(storage.sql.exec("SELECT COUNT(*) AS count FROM file").one()).toEqual({ count: keep });
  });
});

test("no statement scans a whole table", async () => {
  await store("a", "b1", { expires_at_ms: NOW + HOUR });
  await runInDurableObject(catalogue(), async (instance: FileCatalogue, { storage }) => {
    const exec = vi.spyOn(storage.sql, "exec");
    instance.find("a");
    instance.list("a", "", 10);
    await instance.reserve("b2", null, NOW + HOUR);
    await instance.commit([newFile("a", "b2")], NO_PRECONDITIONS);
    await instance.discard("b1");
    await instance.remove("a", NO_PRECONDITIONS);
    await instance.alarm();
    const statements = new Map(exec.mock.calls.map(([query, ...bindings]) => [query, bindings]));
    exec.mockRestore();
    expect(statements.size).toBeGreaterThan(10);
    const plans = [...statements].flatMap(([query, bindings]) =>
      storage.sql.exec<{ detail: string }>(`EXPLAIN QUERY PLAN ${query}`, ...bindings).toArray(),
    );
    const details = plans.map(({ detail }) => detail);
    expect(details).toContainEqual(expect.stringMatching(/SEARCH file USING .*INDEX file_expiring/));
    expect(details).toContainEqual(expect.stringMatching(/SEARCH stray USING .*INDEX stray_due/));
    expect(details.filter((detail) => /^SCAN (file|stray)\b/.test(detail))).toEqual([]);
  });
});
