/** Final uploads during their concatenation: their partials or they themselves may be removed, and R2 may stall. */
import { env, reset, runDurableObjectAlarm } from "cloudflare:test";
import { afterEach, describe, expect, test, vi } from "vitest";
import type { UploadSpec } from "../../../src/files/resumable/session-storage.ts";
import { captureLogs } from "../../support/call.ts";
import { sha256 } from "../../support/files.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { expectRuntimeErrors } from "../../support/runtime-errors.ts";
import { collect, objectKeys } from "../../support/stored.ts";
import {
  blobsLeft,
  bytesOf,
  createFinal,
  createTus,
  EMPTY_STORAGE,
  fileOf,
  headTus,
  holdersOf,
  idOf,
  isMultipartOpen,
  kill,
  MIB,
  PARTIAL,
  patchTus,
  pathOf,
  recordOf,
  replaceBucket,
  send,
  sessionOf,
  stalledBody,
  storageOf,
  storedRecord,
  TUS,
  uploadTus,
} from "../../support/uploads.ts";

keepQuiet();
expectRuntimeErrors("jsg.Error: killed");

afterEach(async () => {
  vi.useRealTimers();
  await reset();
});

/** Creates a complete partial upload; returns its path. */
const createPartial = async (bytes: Uint8Array<ArrayBuffer> | string) =>
  bytes.length === 0 ? createTus({ ...PARTIAL, "Upload-Length": 0 }) : uploadTus(bytes, PARTIAL);

const remove = async (path: string) => send("DELETE", path, { headers: TUS });

/** Starts the concatenation as the alarm does, which does not wait for it. */
const concatenate = async (path: string) => expect(await runDurableObjectAlarm(sessionOf(path))).toBe(true);

/** Pauses the concatenation before the partial with this number (from 1 on) is read. */
async function holdBefore(path: string, number: number) {
  const { promise: gate, resolve: goOn } = Promise.withResolvers<void>();
  const reads: number[] = [];
  await replaceBucket(path, (bucket) => ({
    get: async (key: string, options?: R2GetOptions) => {
      const { range } = options ?? {};
      if (reads.push(range && "offset" in range ? (range.offset ?? 0) : 0) === number) await gate;
      return bucket.get(key, options);
    },
  }));
  await concatenate(path);
  await expect.poll(() => reads.length).toBe(number);
  return { goOn, reads };
}

/** Makes R2 stall in the middle of the partial with this number. */
async function stallIn(path: string, number: number) {
  let reads = 0;
  await replaceBucket(path, (bucket) => ({
    get: async (key: string, options?: R2GetOptions) =>
      ++reads === number ? ({ body: stalledBody("l").body } as R2ObjectBody) : bucket.get(key, options),
  }));
  await concatenate(path);
  await expect.poll(() => reads).toBe(number);
}

const untilComplete = async (path: string) =>
  expect.poll(async () => (await recordOf(path))?.phase, { timeout: 10_000 }).toBe("complete");

const untilStored = async (path: string, state: object) =>
  expect.poll(async () => storageOf(path)).toEqual(state);

describe("during the concatenation of a final upload", () => {
  test("the bytes of its partials are kept although they are removed, and are gone afterwards", async () => {
    const partials = [await createPartial("hel"), await createPartial("lo")];
    const path = await createFinal(partials);
    const { goOn } = await holdBefore(path, 1);
    for (const partial of partials) {
      expect([(await remove(partial)).status, (await headTus(partial)).status]).toEqual([204, 404]);
    }
    await collect();
    expect(await objectKeys()).toHaveLength(2);
    goOn();
    await untilComplete(path);
    expect(await fileOf(path)).toMatchObject({ status: 200, size: 5, sha256: sha256("hello") });
    for (const partial of partials) await untilStored(partial, EMPTY_STORAGE);
    expect(await blobsLeft()).toEqual({ objects: [(await storedRecord(path)).blob], strays: [] });
  });

  test("the bytes of its partials are kept although they expire", async () => {
    const partial = await createPartial("hello");
    const path = await createFinal([partial, partial]);
    const { goOn } = await holdBefore(path, 1);
    // While the concatenation still reads it.
    const { expiresAtMs } = await storedRecord(partial);
    vi.useFakeTimers({ toFake: ["Date"], now: expiresAtMs + 1 });
    await runDurableObjectAlarm(sessionOf(partial));
    vi.useRealTimers();
    expect((await storedRecord(partial)).phase).toBe("ended");
    goOn();
    await untilComplete(path);
    expect((await fileOf(path)).sha256).toBe(sha256("hellohello"));
    await untilStored(partial, EMPTY_STORAGE);
  });

  test("partials that are not removed are no longer pinned afterwards, and stay", async () => {
    const partial = await createPartial("hello");
    const path = await createFinal([partial]);
    const { goOn } = await holdBefore(path, 1);
    expect(await holdersOf(partial)).toEqual([idOf(path)]);
    goOn();
    await untilComplete(path);
    await expect.poll(async () => holdersOf(partial)).toEqual([]);
    expect((await headTus(partial)).status).toBe(200);
    expect(await objectKeys()).toHaveLength(2);
  });

  test("a partial that two of them need is kept until both have read it", async () => {
    const partial = await createPartial("hello");
    const [one, two] = [await createFinal([partial]), await createFinal([partial])];
    const [first, second] = [await holdBefore(one, 1), await holdBefore(two, 1)];
    await remove(partial);
    first.goOn();
    await untilComplete(one);
    await expect.poll(async () => holdersOf(partial)).toEqual([idOf(two)]);
    second.goOn();
    await untilComplete(two);
    expect([(await fileOf(one)).sha256, (await fileOf(two)).sha256]).toEqual([
      sha256("hello"),
      sha256("hello"),
    ]);
    await untilStored(partial, EMPTY_STORAGE);
  });

  test("a PATCH is rejected at once and changes nothing", async () => {
    const partials = [await createPartial("hel"), await createPartial("lo")];
    const path = await createFinal(partials);
    const { goOn, reads } = await holdBefore(path, 2);
    for (const [offset, body] of [
      [0, "x"],
      [3, "xx"],
      [5, null],
    ] as const) {
      expect((await patchTus(path, offset, body)).status).toBe(403);
    }
    goOn();
    await untilComplete(path);
    expect((await fileOf(path)).sha256).toBe(sha256("hello"));
    // Nor did it start again.
    expect(reads).toHaveLength(2);
  });

  test("its removal does not wait for R2, and leaves nothing but the partials", async () => {
    const partials = [await createPartial(bytesOf(5.5 * MIB)), await createPartial("lo")];
    const path = await createFinal(partials);
    await stallIn(path, 2);
    await expect.poll(async () => (await storedRecord(path)).offset).toBe(5 * MIB);
    const before = await storedRecord(path);
    expect(await isMultipartOpen(before)).toBe(true);
    expect((await remove(path)).status).toBe(204);
    expect([await storageOf(path), await isMultipartOpen(before)]).toEqual([EMPTY_STORAGE, false]);
    expect([(await headTus(path)).status, (await fileOf(path)).status]).toEqual([404, 404]);
    expect(await Promise.all(partials.map(holdersOf))).toEqual([[], []]);
    for (const partial of partials) await remove(partial);
    expect(await blobsLeft()).toEqual({ objects: [], strays: [] });
  });

  test("its removal removes the bytes that were kept only for it", async () => {
    const partial = await createPartial("hello");
    const path = await createFinal([partial, partial]);
    await stallIn(path, 1);
    await remove(partial);
    expect((await storageOf(partial)).keys).toContain("session");
    await remove(path);
    expect([await storageOf(path), await storageOf(partial)]).toEqual([EMPTY_STORAGE, EMPTY_STORAGE]);
    expect(await blobsLeft()).toEqual({ objects: [], strays: [] });
  });
});

describe("a final upload has the bytes of its partials", () => {
  test.each<[string, string[]]>([
    ["one", ["hello"]],
    ["two with the same bytes", ["hello", "hello"]],
    ["some without bytes", ["", "hel", "", "lo", ""]],
    ["all without bytes", ["", ""]],
  ])("%s", async (_name, texts) => {
    const paths: string[] = [];
    for (const text of texts) paths.push(await createPartial(text));
    const concat = `final;${paths.join(" ")}`;
    const response = await send("POST", "/uploads", { headers: { ...TUS, "Upload-Concat": concat } });
    expect(response.status).toBe(201);
    const whole = texts.join("");
    expect(await fileOf(pathOf(response))).toMatchObject({
      status: 200,
      size: whole.length,
      sha256: sha256(whole),
    });
    for (const partial of paths) expect(await holdersOf(partial)).toEqual([]);
  });

  test("also if it is interrupted and its partials are removed before it continues", async () => {
    const [a, b] = [bytesOf(5.5 * MIB, 1), bytesOf(1000, 2)];
    const partials = [await createPartial(a), await createPartial(b)];
    const path = await createFinal(partials);
    await stallIn(path, 2);
    await expect.poll(async () => (await storedRecord(path)).offset).toBe(5 * MIB);
    await kill(path);
    for (const partial of partials) await remove(partial);
    const { goOn, reads } = await holdBefore(path, 1);
    goOn();
    await untilComplete(path);
    expect((await fileOf(path)).sha256).toBe(sha256(Buffer.concat([a, b])));
    // What R2 already had is not copied again; the last read is for the hash, which was lost.
    expect(reads).toEqual([5 * MIB, 0, 0]);
    for (const partial of partials) await untilStored(partial, EMPTY_STORAGE);
  });
});

test("a DELETE that arrives while a final upload becomes a file removes that file too", async () => {
  const path = await createFinal([await createPartial("hello")]);
  const { promise: gate, resolve: goOn } = Promise.withResolvers<void>();
  let puts = 0;
  const put = async (key: string, value: ArrayBufferView) => {
    puts++;
    await gate;
    return env.FILES.put(key, value);
  };
  await replaceBucket(path, () => ({ put: put as R2Bucket["put"] }));
  await concatenate(path);
  await expect.poll(() => puts).toBe(1);
  const steps: string[] = [];
  const session = sessionOf(path);
  const watched = {
    status: async () => {
      const now = await session.status();
      steps.push(`saw it ${now?.phase}`);
      return now;
    },
    terminate: async () => {
      steps.push("waits for the lock");
      return session.terminate();
    },
  };
  const variables = { UPLOAD_SESSION: { getByName: () => watched } };
  const removed = send("DELETE", path, { headers: TUS, variables });
  await expect.poll(() => steps).toEqual(["saw it completing", "waits for the lock"]);
  goOn();
  expect((await removed).status).toBe(204);
  expect([(await headTus(path)).status, (await fileOf(path)).status]).toEqual([404, 404]);
});

describe("a final upload that can no longer be concatenated", () => {
  const untilGone = async (path: string) =>
    expect.poll(async () => (await headTus(path)).status, { timeout: 5000 }).toBe(404);

  test("because the bytes of a partial upload are lost ends, logs that, and pins nothing", async () => {
    const partials = [
      await createPartial("hel"),
      await createPartial("lo"),
      await createPartial("!"),
    ] as const;
    const path = await createFinal([...partials]);
    await env.FILES.delete((await storedRecord(partials[1])).blob);
    const { lines } = await captureLogs(async () => {
      await concatenate(path);
      await untilGone(path);
    });
    expect(lines).toContainEqual(
      expect.objectContaining({
        level: "info",
        message: "a partial upload is gone, and its final upload is removed",
      }),
    );
    await untilStored(path, EMPTY_STORAGE);
    expect((await fileOf(path)).status).toBe(404);
    expect([await holdersOf(partials[0]), await holdersOf(partials[2])]).toEqual([[], []]);
  });

  test("is not reported as created if that happens before the response", async () => {
    const partial = await createPartial("hello");
    // Between the request and the pin.
    const UPLOAD_SESSION = {
      getByName: (name: string) => {
        const session = env.UPLOAD_SESSION.getByName(name);
        const create = async (spec: UploadSpec) => {
          await remove(partial);
          return session.create(spec);
        };
        return { create };
      },
    };
    const headers = { ...TUS, "Upload-Concat": `final;${partial}` };
    const { status } = await send("POST", "/uploads", { headers, variables: { UPLOAD_SESSION } });
    expect(status).toBeGreaterThanOrEqual(400);
  });
});

test("a pin expires if it is not removed", async () => {
  const partial = await createPartial("hello");
  await sessionOf(partial).pin("nobody");
  await remove(partial);
  const { alarm, keys } = await storageOf(partial);
  expect(keys).toEqual(["pin/nobody", "session"]);
  vi.useFakeTimers({ toFake: ["Date"], now: Number(alarm) - 1 });
  await runDurableObjectAlarm(sessionOf(partial));
  expect((await storageOf(partial)).keys).toEqual(keys);
  vi.setSystemTime(Number(alarm) + 1);
  await runDurableObjectAlarm(sessionOf(partial));
  expect(await storageOf(partial)).toEqual(EMPTY_STORAGE);
  expect(await blobsLeft()).toEqual({ objects: [], strays: [] });
});

test.each<[string, () => Promise<string>, boolean]>([
  ["a complete partial upload", async () => createPartial("hello"), true],
  ["one without bytes", async () => createPartial(""), true],
  ["one that is not complete", async () => createTus({ ...PARTIAL, "Upload-Length": 5 }), true],
  ["a whole upload", async () => uploadTus("hello"), false],
  ["none", async () => `/uploads/${crypto.randomUUID()}`, false],
])("whether %s can be pinned", async (_what, begin, can) => {
  const path = await begin();
  const pinned = await sessionOf(path).pin("somebody");
  expect(pinned !== undefined).toBe(can);
  expect(await holdersOf(path)).toEqual(can ? ["somebody"] : []);
});
