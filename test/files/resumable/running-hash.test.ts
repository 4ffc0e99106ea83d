/** The hash of an upload goes on across requests, restarts and versions, and one that is not known is never misread. */
import { env, evictDurableObject, reset } from "cloudflare:test";
import { type SavedState, SHA256 } from "@stablelib/sha256";
import { afterEach, describe, expect, test, vi } from "vitest";
import { HashMemory } from "../../../src/files/resumable/running-hash.ts";
import type { SessionRecord } from "../../../src/files/resumable/session-storage.ts";
import { sha256 } from "../../support/files.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { expectRuntimeErrors } from "../../support/runtime-errors.ts";
import {
  bytesOf,
  changeRecord,
  createTus,
  digest,
  expectNothingLeft,
  fileOf,
  headTus,
  inSession,
  MIB,
  PARTIAL,
  patchTus,
  send,
  sessionOf,
  storageOf,
  storedRecord,
} from "../../support/uploads.ts";

keepQuiet();
expectRuntimeErrors(
  "The hash of this upload has version 99",
  "the hash of a long upload is being computed",
  "StillReadingBack",
);
afterEach(async () => {
  vi.restoreAllMocks();
  await reset();
});

const begun = async () => {
  const path = await createTus({ "Upload-Length": 5 });
  await patchTus(path, 0, "hel");
  return path;
};

describe("a record of the releases before", () => {
  test.each([undefined, 1])("with version %s goes on with its state", async (hashVersion) => {
    const path = await begun();
    await inSession(path, ({ storage }) => {
      const { hashVersion: _, ...record } = storage.kv.get<SessionRecord>("session") as SessionRecord;
      const hash = new SHA256().update(Buffer.from("hel")).saveState();
      storage.kv.put("session", { ...record, hash, ...(hashVersion && { hashVersion }) });
    });
    await evictDurableObject(sessionOf(path));
    await patchTus(path, 3, "l");
    expect(await storedRecord(path)).toMatchObject({ hash: { bytesHashed: 4 } });
    await evictDurableObject(sessionOf(path));
    expect((await patchTus(path, 4, "o")).status).toBe(204);
    expect((await fileOf(path)).sha256).toBe(sha256("hello"));
  });

  test.each(["whole", "partial"])("of a %s upload of this release is an error in those", async (kind) => {
    const path = await createTus({ "Upload-Length": 5, ...(kind === "partial" && PARTIAL) });
    const { hash, hashVersion } = await storedRecord(path);
    expect(hashVersion).toBe(2);
    // What 0.1.0 does with it, which knows no versions.
    expect(hash).not.toBeNull();
    expect(() => new SHA256().restoreState(hash as SavedState)).toThrow(TypeError);
  });
});

test("a version that is not known keeps the upload as it is, until the code that knows it is back", async () => {
  const path = await begun();
  await changeRecord(path, { hashVersion: 99 });
  const { status } = await patchTus(path, 3, "lo");
  expect(status).toBe(503);
  expect((await headTus(path)).headers.get("Upload-Offset")).toBe("3");
  expect((await fileOf(path)).status).toBe(404);
  await changeRecord(path, { hashVersion: 2 });
  await evictDurableObject(sessionOf(path));
  expect((await patchTus(path, 3, "lo")).status).toBe(204);
  expect((await fileOf(path)).sha256).toBe(sha256("hello"));
});

describe("the object is started anew between two requests", () => {
  test.each([
    ["a tail", 5, 3],
    ["a part", 6 * MIB, 5 * MIB + 1],
  ])("after %s", async (_, size, first) => {
    const bytes = bytesOf(size);
    const path = await createTus({ "Upload-Length": size });
    await patchTus(path, 0, bytes.subarray(0, first));
    await evictDurableObject(sessionOf(path));
    expect((await patchTus(path, first, bytes.subarray(first))).status).toBe(204);
    expect((await fileOf(path)).headers.get("Repr-Digest")).toBe(`sha-256=:${digest("sha256", bytes)}:`);
  });

  test.each([
    ["right", "hello", 204],
    ["wrong", "other", 400],
  ])("and the digest of the whole is %s", async (_, content, expected) => {
    const headers = { "Upload-Complete": "?0", "Repr-Digest": `sha-256=:${digest("sha256", content)}:` };
    const { headers: created } = await send("POST", "/uploads", { headers, body: "hel" });
    const path = new URL(created.get("Location") ?? "").pathname;
    await evictDurableObject(sessionOf(path));
    const last = {
      "Upload-Complete": "?1",
      "Upload-Offset": 3,
      "Content-Type": "application/partial-upload",
    };
    const { status } = await send("PATCH", path, { headers: last, body: "lo" });
    if (expected === 400) {
      expect(status).toBe(400);
      await expectNothingLeft(path);
    } else {
      expect(status).toBeLessThan(300);
      expect((await fileOf(path)).sha256).toBe(sha256("hello"));
    }
  });

  test("and there is more to read back than one request may: the alarm goes on at once", async () => {
    const path = await begun();
    await evictDurableObject(sessionOf(path));
    vi.spyOn(HashMemory.prototype, "readBack").mockResolvedValueOnce(undefined);
    expect((await patchTus(path, 3, "lo")).status).toBe(503);
    expect((await storageOf(path)).alarm ?? 0).toBeLessThan(Date.now() + 1000);
    await expect.poll(async () => (await storedRecord(path)).phase).toBe("complete");
    expect((await fileOf(path)).sha256).toBe(sha256("hello"));
  });
});

describe("reading back", () => {
  const record = { hash: "in memory", hashVersion: 2, offset: 5 } as const;

  test("goes on where it ended", async () => {
    await env.FILES.put("key", "hello");
    const memory = new HashMemory(2);
    const read = async () => memory.readBack(env.FILES, "key", record);
    expect([await read(), await read(), await read()]).toEqual([undefined, undefined, sha256("hello")]);
    expect(memory.digest(record)).toBe(sha256("hello"));
  });

  test("is an error if bytes are missing", async () => {
    await env.FILES.put("key", "hell");
    await expect(new HashMemory().readBack(env.FILES, "key", record)).rejects.toThrow("R2 has only 4");
    await expect(new HashMemory().readBack(env.FILES, "other", record)).rejects.toThrow("R2 has only 0");
  });
});
