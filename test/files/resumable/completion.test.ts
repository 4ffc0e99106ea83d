import { env, evictDurableObject, reset, runDurableObjectAlarm } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { FileCatalogue } from "../../../src/files/store/catalogue.ts";
import { FileTasks } from "../../../src/jobs/index.ts";
import { callForJson } from "../../support/call.ts";
import { sha256 } from "../../support/files.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { expectRuntimeErrors } from "../../support/runtime-errors.ts";
import {
  blobsLeft,
  bytesOf,
  createTus,
  digest,
  EMPTY_STORAGE,
  fileOf,
  headTus,
  isMultipartOpen,
  MIB,
  patchTus,
  pathOf,
  recordOf,
  replaceBucket,
  send,
  sessionOf,
  storageOf,
  TUS,
} from "../../support/uploads.ts";

keepQuiet();
expectRuntimeErrors("R2 is not available", "jsg.Error: killed", "deleteAllDurableObjects");

// The pauses before another try.
beforeEach(() => {
  vi.spyOn(scheduler, "wait").mockResolvedValue();
});

afterEach(async () => {
  vi.useRealTimers();
  await reset();
});

const SMALL = bytesOf(1000);
const LARGE = bytesOf(5 * MIB + 1000);

const fail = async (): Promise<never> => {
  throw new Error("R2 is not available");
};

/** R2 does what was asked, but the response is lost. */
const losesResponses = (bucket: R2Bucket): Partial<R2Bucket> => ({
  put: async (key: string, value: Uint8Array) => {
    await bucket.put(key, value);
    return fail();
  },
  resumeMultipartUpload: (key, uploadId) => {
    const multipart = bucket.resumeMultipartUpload(key, uploadId);
    return {
      ...multipart,
      uploadId,
      uploadPart: async (number, part) => multipart.uploadPart(number, part as Uint8Array),
      abort: async () => multipart.abort(),
      complete: async (parts) => {
        await multipart.complete(parts);
        return fail();
      },
    };
  },
});

/** When the last byte arrives, R2 or the catalogue fails. */
const FAILURES: Record<string, (path: string) => Promise<unknown>> = {
  "R2 can neither complete it nor say whether it has": async (path) =>
    replaceBucket(path, (bucket) => ({
      put: fail,
      head: fail,
      resumeMultipartUpload: (key, uploadId) => ({
        ...bucket.resumeMultipartUpload(key, uploadId),
        uploadId,
        uploadPart: fail,
        complete: fail,
      }),
    })),
  "R2 completes it, but cannot say so": async (path) =>
    replaceBucket(path, (bucket) => ({ ...losesResponses(bucket), head: fail })),
  "the catalogue is not available": async () =>
    vi.spyOn(FileCatalogue.prototype, "commit").mockImplementation(fail),
  "the catalogue commits it, but the response is lost": async () => {
    // oxlint-disable-next-line typescript/unbound-method -- it is called with its `this` below
    const { commit } = FileCatalogue.prototype;
    vi.spyOn(FileCatalogue.prototype, "commit").mockImplementation(async function (
      this: FileCatalogue,
      ...args
    ) {
      await commit.apply(this, args);
      return fail();
    });
  },
};

/** An upload that has all its bytes and could not be completed. */
async function createUncompleted(bytes: Uint8Array<ArrayBuffer>, failure: string): Promise<string> {
  const path = await createTus({ "Upload-Length": bytes.length });
  await FAILURES[failure]?.(path);
  expect((await patchTus(path, 0, bytes)).status).toBe(503);
  vi.spyOn(FileCatalogue.prototype, "commit").mockRestore();
  await evictDurableObject(sessionOf(path));
  return path;
}

const [FAILURE_OF_R2 = ""] = Object.keys(FAILURES);
const every = Object.keys(FAILURES).flatMap((failure) => [
  { failure, size: "small", bytes: SMALL },
  { failure, size: "large", bytes: LARGE },
]);

describe.each(every)("when $failure, a $size upload", ({ failure, bytes }) => {
  test("is completed by the next HEAD", async () => {
    const path = await createUncompleted(bytes, failure);
    const head = await headTus(path);
    expect([head.status, head.headers.get("Upload-Offset")]).toEqual([200, String(bytes.length)]);
    expect(head.headers.get("Content-Location")).toContain("/files/");
    expect((await fileOf(path)).sha256).toBe(sha256(bytes));
    expect(await blobsLeft()).toEqual({ objects: [expect.any(String)], strays: [] });
  });

  test("can be removed, and then nothing is left, not even a file", async () => {
    const path = await createUncompleted(bytes, failure);
    expect((await send("DELETE", path, { headers: TUS })).status).toBe(204);
    expect([await storageOf(path), (await fileOf(path)).status]).toEqual([EMPTY_STORAGE, 404]);
    expect(await blobsLeft()).toEqual({ objects: [], strays: [] });
  });
});

test.each([
  ...Object.keys(FAILURES).map((failure) => [failure, SMALL] as const),
  [FAILURE_OF_R2, LARGE] as const,
])("when %s, it is completed by the alarm if no request comes", async (failure, bytes) => {
  const path = await createUncompleted(bytes, failure);
  expect((await storageOf(path)).alarm).toBeLessThan(Date.now() + 60_000);
  await runDurableObjectAlarm(sessionOf(path));
  expect((await recordOf(path))?.phase).toBe("complete");
  expect((await fileOf(path)).sha256).toBe(sha256(bytes));
});

test.each([
  ["small", SMALL],
  ["large", LARGE],
])(
  "a lost response of R2 does not matter, because the object is there (a %s upload)",
  async (_name, bytes) => {
    const path = await createTus({ "Upload-Length": bytes.length });
    await replaceBucket(path, losesResponses);
    expect((await patchTus(path, 0, bytes)).status).toBe(204);
    expect((await fileOf(path)).sha256).toBe(sha256(bytes));
  },
);

test("a part that R2 rejects is sent again", async () => {
  const path = await createTus({ "Upload-Length": LARGE.length });
  let tries = 0;
  await replaceBucket(path, (bucket) => ({
    createMultipartUpload: async (key) => {
      const multipart = await bucket.createMultipartUpload(key);
      return {
        ...multipart,
        uploadId: multipart.uploadId,
        uploadPart: async (number, part) =>
          ++tries < 3 ? fail() : multipart.uploadPart(number, part as Uint8Array),
      };
    },
  }));
  expect((await patchTus(path, 0, LARGE)).status).toBe(204);
  expect([tries, (await fileOf(path)).sha256]).toEqual([3, sha256(LARGE)]);
});

test("while R2 accepts no part the offset stays, and later the upload continues", async () => {
  const path = await createTus({ "Upload-Length": LARGE.length });
  await patchTus(path, 0, LARGE.slice(0, 1000));
  await replaceBucket(path, () => ({ createMultipartUpload: fail }));
  expect((await patchTus(path, 1000, LARGE.slice(1000))).status).toBe(503);
  expect((await headTus(path)).headers.get("Upload-Offset")).toBe("1000");
  await evictDurableObject(sessionOf(path));
  expect((await patchTus(path, 1000, LARGE.slice(1000))).status).toBe(204);
  expect((await fileOf(path)).sha256).toBe(sha256(LARGE));
});

test("an alarm that fails because of R2 does not throw, and fires again", async () => {
  const path = await createUncompleted(SMALL, "R2 can neither complete it nor say whether it has");
  await replaceBucket(path, () => ({ put: fail, head: fail }));
  await runDurableObjectAlarm(sessionOf(path));
  const { alarm } = await storageOf(path);
  expect(alarm).toBeGreaterThan(Date.now());
  await evictDurableObject(sessionOf(path));
  await runDurableObjectAlarm(sessionOf(path));
  expect((await fileOf(path)).sha256).toBe(sha256(SMALL));
});

test("a complete upload keeps only its record, no parts and no tail", async () => {
  const path = await createTus({ "Upload-Length": LARGE.length });
  await patchTus(path, 0, LARGE);
  expect((await storageOf(path)).keys).toEqual(["session"]);
});

describe("a digest of the whole", () => {
  const create = async (bytes: Uint8Array, of: Uint8Array) => {
    const headers = { "Upload-Complete": "?0", "Repr-Digest": `sha-256=:${digest("sha256", of)}:` };
    return pathOf(await send("POST", "/uploads", { headers: { ...headers, "Upload-Length": bytes.length } }));
  };
  const append = async (path: string, offset: number, body: Uint8Array<ArrayBuffer>, complete: string) => {
    const headers = {
      "Upload-Complete": complete,
      "Upload-Offset": offset,
      "Content-Type": "application/partial-upload",
    };
    return send("PATCH", path, { body, headers });
  };

  test.each([
    ["small", SMALL, SMALL, 200],
    ["large", LARGE, LARGE, 200],
    ["small", SMALL, LARGE, 400],
    ["large", LARGE, SMALL, 400],
  ])(
    "of a %s upload must match all its chunks, or all of it is removed",
    async (_name, bytes, of, status) => {
      const path = await create(bytes, of);
      const cut = bytes.length - 500;
      expect((await append(path, 0, bytes.slice(0, cut), "?0")).status).toBe(204);
      const before = await recordOf(path);
      await evictDurableObject(sessionOf(path));
      expect((await append(path, cut, bytes.slice(cut), "?1")).status).toBe(status);
      expect((await fileOf(path)).status).toBe(status === 200 ? 200 : 404);
      if (status === 200) return;
      expect([await storageOf(path), before && (await isMultipartOpen(before))]).toEqual([
        EMPTY_STORAGE,
        false,
      ]);
      expect(await blobsLeft()).toEqual({ objects: [], strays: [] });
    },
  );
});

describe("the task of an upload", () => {
  const create = async () => {
    const response = await send("POST", "/uploads?task=verify_file", {
      headers: { ...TUS, "Upload-Length": 5 },
    });
    return pathOf(response);
  };

  test("that cannot be started does not undo the file, and is started once later", async () => {
    const path = await create();
    const start = vi.spyOn(FileTasks.prototype, "start").mockImplementation(fail);
    const response = await patchTus(path, 0, "hello");
    expect([response.status, response.body?.type]).toEqual([503, "urn:sluice:problem:task-not-started"]);
    expect((await fileOf(path)).sha256).toBe(sha256("hello"));
    start.mockRestore();
    const links = [await headTus(path), await headTus(path)].map(({ headers }) => headers.get("Link"));
    expect(links[0]).toMatch(/^<.*\/tasks\/.*>; rel="monitor"$/);
    expect(links[1]).toBe(links[0]);
  });

  test("whose start was not confirmed is the same task the next time", async () => {
    const path = await create();
    // oxlint-disable-next-line typescript/unbound-method -- it is called with its `this` below
    const { start } = FileTasks.prototype;
    const ids: (string | null)[] = [];
    vi.spyOn(FileTasks.prototype, "start").mockImplementation(async function (this: FileTasks, ...args) {
      ids.push(await start.apply(this, args));
      return ids.length < 2 ? fail() : String(ids.at(-1));
    });
    expect((await patchTus(path, 0, "hello")).status).toBe(503);
    expect((await headTus(path)).status).toBe(200);
    expect([ids.length, new Set(ids).size]).toEqual([2, 1]);
    await expect.poll(async () => (await callForJson(`/tasks/${ids[0]}`)).body.status).toBe("succeeded");
  });
});

test("the R2 object belongs to the catalogue's file, and no reservation is left", async () => {
  const path = await createTus({ "Upload-Length": 5 });
  await patchTus(path, 0, "hello");
  expect(await blobsLeft()).toEqual({ objects: [(await recordOf(path))?.blob], strays: [] });
  expect(await env.FILES.head(String((await recordOf(path))?.blob))).toMatchObject({ size: 5 });
});
