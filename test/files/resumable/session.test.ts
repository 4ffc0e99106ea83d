import { evictDurableObject, reset, runDurableObjectAlarm } from "cloudflare:test";
import { afterEach, describe, expect, test, vi } from "vitest";
import { sha256 } from "../../support/files.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { expectRuntimeErrors } from "../../support/runtime-errors.ts";
import { collect, objectKeys } from "../../support/stored.ts";
import {
  bytesOf,
  countAppended,
  createFinal,
  createTus,
  digest,
  EMPTY_STORAGE,
  expectNothingLeft,
  fileOf,
  headTus,
  idOf,
  inSession,
  isMultipartOpen,
  kill,
  MIB,
  patchTus,
  replaceBucket,
  send,
  sessionOf,
  stalledBody,
  storageOf,
  storedRecord,
  TUS,
  uploadTus,
  withoutLength,
} from "../../support/uploads.ts";

keepQuiet();
expectRuntimeErrors("jsg.Error: killed", "disconnected: ", "R2 is not available");

afterEach(async () => {
  vi.useRealTimers();
  await reset();
});

const HOUR_MS = 3_600_000;

/** A PATCH that has sent these bytes and then stalls. */
async function stuckPatch(path: string, bytes: Uint8Array | string, headers: Record<string, string> = {}) {
  const { untilAppended } = countAppended();
  const stalled = stalledBody(bytes);
  const response = patchTus(path, 0, stalled.body, { headers });
  await untilAppended(bytes.length);
  return { response, ...stalled };
}

describe("while a PATCH is stuck half-way", () => {
  const requests: Record<string, (path: string) => Promise<{ status: number; headers: Headers }>> = {
    HEAD: headTus,
    GET: async (path) => send("GET", path, { headers: TUS }),
    PATCH: async (path) => patchTus(path, 3, "lo"),
    DELETE: async (path) => send("DELETE", path, { headers: TUS }),
  };

  test.each([
    ["HEAD", 200, "3"],
    ["GET", 200, "3"],
    ["PATCH", 204, "5"],
    ["DELETE", 204, null],
  ])("a %s preempts it, and the stuck request keeps what it has received", async (method, status, offset) => {
    const path = await createTus({ "Upload-Length": 5 });
    const stuck = await stuckPatch(path, "hel");
    const newcomer = await requests[method]?.(path);
    expect([newcomer?.status, newcomer?.headers.get("Upload-Offset")]).toEqual([status, offset]);
    const response = await stuck.response;
    expect([response.status, response.headers.get("Upload-Offset")]).toEqual([409, "3"]);
    if (method === "PATCH") expect((await fileOf(path)).sha256).toBe(sha256("hello"));
    if (method === "DELETE") await expectNothingLeft(path);
  });

  test("one with a checksum keeps nothing when it is preempted", async () => {
    const path = await createTus({ "Upload-Length": 5 });
    const stuck = await stuckPatch(path, "hel", { "Upload-Checksum": `sha1 ${digest("sha1", "hello")}` });
    expect((await headTus(path)).headers.get("Upload-Offset")).toBe("0");
    expect([(await stuck.response).status, (await patchTus(path, 0, "hello")).status]).toEqual([409, 204]);
  });

  test("the newest of many has precedence, and all of them get a response", async () => {
    const path = await createTus({ "Upload-Length": 5 });
    const stuck = await stuckPatch(path, "hel");
    const later = Array.from({ length: 5 }, async () => patchTus(path, 3, stalledBody("l").body));
    const head = await headTus(path);
    const offset = Number(head.headers.get("Upload-Offset"));
    expect([3, 4]).toContain(offset);
    expect((await patchTus(path, offset, "hello".slice(offset))).status).toBe(204);
    const responses = await Promise.all([stuck.response, ...later]);
    expect(responses.map(({ status }) => status)).toEqual(Array.from({ length: 6 }, () => 409));
    expect((await fileOf(path)).sha256).toBe(sha256("hello"));
  });

  test("the bytes after its last full part are kept too", async () => {
    const bytes = bytesOf(6 * MIB);
    const path = await createTus({ "Upload-Length": bytes.length + 1 });
    const stuck = await stuckPatch(path, bytes);
    expect((await headTus(path)).headers.get("Upload-Offset")).toBe(String(bytes.length));
    expect((await stuck.response).status).toBe(409);
    await patchTus(path, bytes.length, "!");
    expect((await fileOf(path)).sha256).toBe(sha256(Buffer.concat([bytes, Buffer.from("!")])));
  });

  test("acknowledged bytes survive the death of the object", async () => {
    const bytes = bytesOf(6 * MIB);
    const path = await createTus({ "Upload-Length": bytes.length });
    await patchTus(path, 0, bytes.slice(0, 1000));
    const { untilAppended } = countAppended();
    const { body } = stalledBody(bytes.slice(1000, 5.5 * MIB));
    const stuck = patchTus(path, 1000, body);
    await untilAppended(5.5 * MIB - 1000);
    await expect.poll(async () => (await storedRecord(path)).offset).toBe(5 * MIB);
    await kill(path);
    expect((await stuck).status).toBe(503);
    expect((await headTus(path)).headers.get("Upload-Offset")).toBe(String(5 * MIB));
    expect((await patchTus(path, 5 * MIB, bytes.slice(5 * MIB))).status).toBe(204);
    expect((await fileOf(path)).sha256).toBe(sha256(bytes));
  });
});

test("of concurrent writers that send the same bytes, each byte is stored once", async () => {
  const bytes = bytesOf(300_000);
  const path = await createTus({ "Upload-Length": bytes.length });
  const responses = await Promise.all(
    Array.from({ length: 6 }, async () => patchTus(path, 0, withoutLength(bytes))),
  );
  for (const { status } of responses) expect([204, 409, 413]).toContain(status);
  const offset = Number((await headTus(path)).headers.get("Upload-Offset"));
  if (offset < bytes.length) await patchTus(path, offset, bytes.slice(offset));
  expect(await fileOf(path)).toMatchObject({ size: bytes.length, sha256: sha256(bytes) });
});

test("an upload is not visible before it is complete", async () => {
  const path = await createTus({ "Upload-Length": 6 * MIB });
  const id = idOf(path);
  await patchTus(path, 0, bytesOf(6 * MIB - 1));
  expect((await send("GET", `/files/${id}`)).status).toBe(404);
  expect((await send("GET", `/files?prefix=${id}`)).body?.files).toEqual([]);
  await patchTus(path, 6 * MIB - 1, "!");
  expect((await send("GET", `/files?prefix=${id}`)).body?.files).toHaveLength(1);
});

test("an upload continues in a new instance of its object between any two chunks", async () => {
  const bytes = bytesOf(5.5 * MIB);
  const path = await createTus({ "Upload-Length": bytes.length });
  const cuts = [0, 1, 300_000, 3 * MIB, 5 * MIB - 1, 5 * MIB, 5 * MIB + 1, bytes.length];
  for (const [i, start] of cuts.slice(0, -1).entries()) {
    const response = await patchTus(path, start, bytes.slice(start, cuts[i + 1]));
    expect([response.status, response.headers.get("Upload-Offset")]).toEqual([204, String(cuts[i + 1])]);
    await evictDurableObject(sessionOf(path));
  }
  expect(await fileOf(path)).toMatchObject({ size: bytes.length, sha256: sha256(bytes) });
});

describe("parts", () => {
  test.each([
    [1, 5],
    [52_428_800_000, 5],
    [52_428_800_001, 6],
    [167_772_160_000, 16],
  ])("of an upload of %i bytes have %i MiB, so that 10,000 are enough", async (length, mebibytes) => {
    const variables = { MAX_FILE_BYTES: 167_772_160_000 };
    const path = await createTus({ "Upload-Length": length }, { variables });
    const { partSize } = await storedRecord(path);
    expect(partSize).toBe(mebibytes * MIB);
    expect(length / partSize).toBeLessThanOrEqual(10_000);
  });
});

describe("a length that was not known at first", () => {
  const max = { variables: { MAX_FILE_BYTES: 5 } };
  test.each([
    ["up to the maximum", "hello", { "Content-Length": 5 }, 204],
    ["beyond it, announced", "hello!", { "Content-Length": 6 }, 413],
    ["up to it, not announced", withoutLength("hello"), {}, 204],
    ["beyond it, not announced", withoutLength("hello!"), {}, 413],
  ])("may go %s", async (_name, body, headers, status) => {
    const path = await createTus({ "Upload-Defer-Length": 1 }, max);
    expect((await patchTus(path, 0, body, { headers, ...max })).status).toBe(status);
    expect((await storedRecord(path)).offset).toBeLessThanOrEqual(5);
  });

  test("has a limit of its own, because the parts have the smallest size", async () => {
    const variables = { MAX_FILE_BYTES: 167_772_160_000 };
    const path = await createTus({ "Upload-Defer-Length": 1 }, { variables });
    const lengthOf = async (length: number) =>
      (await patchTus(path, 0, null, { variables, headers: { "Upload-Length": length } })).status;
    expect([await lengthOf(52_428_800_001), await lengthOf(52_428_800_000)]).toEqual([413, 204]);
  });
});

describe("the alarm", () => {
  const later = (ms: number) => vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + ms });

  test.each([
    ["no bytes", 0],
    ["a tail", 1000],
    ["a part, a tail and an open multipart upload", 5 * MIB + 1000],
  ])("removes an abandoned upload with %s, and all its state", async (_name, size) => {
    const path = await createTus({ "Upload-Length": 6 * MIB });
    await patchTus(path, 0, bytesOf(size));
    const before = await storedRecord(path);
    expect(await isMultipartOpen(before)).toBe(size > 5 * MIB);
    later(24 * HOUR_MS + 1000);
    expect(await runDurableObjectAlarm(sessionOf(path))).toBe(true);
    expect([(await headTus(path)).status, await isMultipartOpen(before)]).toEqual([404, false]);
    await expectNothingLeft(path);
  });

  test("leaves an upload alone that was active since it was set, and fires again when that expires", async () => {
    const path = await createTus({ "Upload-Length": 6 });
    later(23 * HOUR_MS);
    await patchTus(path, 0, "hello");
    later(2 * HOUR_MS);
    await runDurableObjectAlarm(sessionOf(path));
    expect((await storageOf(path)).alarm).toBe((await storedRecord(path)).expiresAtMs);
    expect((await patchTus(path, 5, "!")).status).toBe(204);
  });

  test("removes a complete upload, whose file stays", async () => {
    const path = await uploadTus("hello");
    later(25 * HOUR_MS);
    await runDurableObjectAlarm(sessionOf(path));
    expect([(await headTus(path)).status, await storageOf(path)]).toEqual([404, EMPTY_STORAGE]);
    await collect();
    expect((await fileOf(path)).sha256).toBe(sha256("hello"));
  });

  test("removes a partial upload and its bytes, which belong to no file", async () => {
    const path = await uploadTus("hello", { "Upload-Concat": "partial" });
    expect(await objectKeys()).toHaveLength(1);
    later(6 * 24 * HOUR_MS + 1);
    await runDurableObjectAlarm(sessionOf(path));
    await expectNothingLeft(path);
  });

  test("leaves a request alone whose upload has not expired", async () => {
    const path = await createTus({ "Upload-Length": 5 });
    const stuck = await stuckPatch(path, "hel");
    await runDurableObjectAlarm(sessionOf(path));
    expect(await Promise.race([stuck.response, scheduler.wait(200)])).toBeUndefined();
    // Until another request comes.
    expect((await headTus(path)).headers.get("Upload-Offset")).toBe("3");
    expect((await stuck.response).status).toBe(409);
  });

  test("stops a request that is stuck for that long", async () => {
    const path = await createTus({ "Upload-Length": 5 });
    const stuck = await stuckPatch(path, "hel");
    later(25 * HOUR_MS);
    await runDurableObjectAlarm(sessionOf(path));
    expect((await stuck.response).status).toBe(409);
    await expectNothingLeft(path);
  });
});

describe("a final upload", () => {
  const [a, b] = [bytesOf(5 * MIB + 1000, 1), bytesOf(1000, 2)];
  const c = bytesOf(1000, 3);
  const whole = sha256(Buffer.concat([a, b, c]));

  async function begin(): Promise<string> {
    const partials: string[] = [];
    for (const partial of [a, b, c]) partials.push(await uploadTus(partial, { "Upload-Concat": "partial" }));
    return createFinal(partials);
  }

  /** Starts the concatenation and stops it before its end: R2 does not accept the first part. */
  async function stallAssembly(path: string) {
    const { untilAppended } = countAppended();
    const { promise: gate, resolve: goOn } = Promise.withResolvers<void>();
    await replaceBucket(path, (bucket) => ({
      createMultipartUpload: async (key) => {
        const multipart = await bucket.createMultipartUpload(key);
        const uploadPart: R2MultipartUpload["uploadPart"] = async (number, bytes) => {
          await gate;
          return multipart.uploadPart(number, bytes);
        };
        return { ...multipart, uploadId: multipart.uploadId, uploadPart };
      },
    }));
    await runDurableObjectAlarm(sessionOf(path));
    await untilAppended(a.length);
    return { goOn };
  }

  const untilComplete = async (path: string) =>
    expect.poll(async () => (await storedRecord(path)).phase, { timeout: 10_000 }).toBe("complete");

  test("is concatenated by the alarm from where it stopped, also in another instance", async () => {
    const path = await begin();
    let reads = 0;
    await replaceBucket(path, (bucket) => ({
      get: async (key: string, options?: R2GetOptions) => {
        if (++reads === 2) throw new Error("R2 is not available");
        return bucket.get(key, options);
      },
    }));
    await inSession(path, async (_state, session) => {
      await expect(session.concatenate()).rejects.toThrow("R2 is not available");
    });
    expect(await storedRecord(path)).toMatchObject({ phase: "receiving", offset: 5 * MIB });
    await evictDurableObject(sessionOf(path));
    expect(await runDurableObjectAlarm(sessionOf(path))).toBe(true);
    await untilComplete(path);
    expect((await fileOf(path)).sha256).toBe(whole);
  });

  test("rejects a PATCH during its concatenation, and has the bytes of its partials", async () => {
    const path = await begin();
    const { goOn } = await stallAssembly(path);
    const abort = vi.spyOn(AbortController.prototype, "abort");
    const patch = patchTus(path, 0, "x");
    // Long enough to stop the concatenation, if it does that.
    await expect
      .poll(() => abort.mock.calls.length, { timeout: 500 })
      .toBeGreaterThan(0)
      .catch(() => {});
    goOn();
    expect((await patch).status).toBe(403);
    await runDurableObjectAlarm(sessionOf(path));
    await untilComplete(path);
    expect((await fileOf(path)).sha256).toBe(whole);
  });

  test("can be read during its concatenation, which does not stop it", async () => {
    const path = await begin();
    const { goOn } = await stallAssembly(path);
    const head = await headTus(path);
    expect([head.status, head.headers.get("Upload-Offset")]).toEqual([200, null]);
    expect(head.headers.get("Upload-Length")).toBe(String(a.length + b.length + c.length));
    goOn();
    await untilComplete(path);
    expect((await fileOf(path)).sha256).toBe(whole);
  });

  test("can be removed during its concatenation", async () => {
    const path = await begin();
    const { goOn } = await stallAssembly(path);
    const abort = vi.spyOn(AbortController.prototype, "abort");
    const removed = send("DELETE", path, { headers: TUS });
    await expect.poll(() => abort.mock.calls.length).toBeGreaterThan(0);
    goOn();
    expect((await removed).status).toBe(204);
    expect(await storageOf(path)).toEqual(EMPTY_STORAGE);
  });

  test("that takes long gets a response before it is concatenated, and continues in the background", async () => {
    const { sources } = await storedRecord(await begin());
    vi.spyOn(scheduler, "wait").mockResolvedValue();
    const headers = { ...TUS, "Upload-Concat": `final;${sources.map((id) => `/uploads/${id}`).join(" ")}` };
    const { status, headers: created } = await send("POST", "/uploads", { headers });
    const path = new URL(String(created.get("Location"))).pathname;
    expect([status, created.get("Upload-Offset")]).toEqual([201, null]);
    await untilComplete(path);
    expect((await fileOf(path)).sha256).toBe(whole);
  });
});
