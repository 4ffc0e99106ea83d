/** Writing bytes to R2: in which order and parts; and that nothing stays behind when something fails. */
import { env, reset } from "cloudflare:test";
import { beforeEach, describe, expect, test } from "vitest";
import { newBlobKey, writeBlob } from "../../../src/files/store/blob-writer.ts";
import { MIN_PART_SIZE } from "../../../src/files/store/parts.ts";
import { postForm, putFile, sha256 } from "../../support/files.ts";
import { filePart, formBody } from "../../support/form.ts";
import { keepQuiet } from "../../support/quiet.ts";
import {
  catalogueRows,
  changed,
  changedCatalogue,
  NOTHING,
  objectKeys,
  watchedBucket,
  whatIsLeft,
} from "../../support/stored.ts";

const fails = async () => Promise.reject(new Error("R2 is away"));

async function* chunksOf(size: number, count: number): AsyncGenerator<Uint8Array> {
  for (let i = 0; i < count; i++) yield new Uint8Array(size).fill(i);
}

const write = (variables: object, size: number, count: number) =>
  writeBlob(
    { ...env, ...variables },
    { id: "a", chunks: chunksOf(size, count), owner: null, length: null, expected: [] },
  );

keepQuiet();
beforeEach(() => reset());

test("each blob has a new key", () => {
  const keys = [newBlobKey("a"), newBlobKey("a")];
  expect(new Set(keys).size).toBe(2);
  for (const key of keys) expect(key).toMatch(/^files\/a\/[0-9a-f-]{36}$/);
});

describe("in R2", () => {
  test.each([
    [0, 0, []],
    [10, 3, []],
    [MIN_PART_SIZE, 1, []],
    [MIN_PART_SIZE + 1, 1, [MIN_PART_SIZE, 1]],
    [MIN_PART_SIZE, 2, [MIN_PART_SIZE, MIN_PART_SIZE]],
    [3 * MIN_PART_SIZE + 7, 1, [MIN_PART_SIZE, MIN_PART_SIZE, MIN_PART_SIZE, 7]],
  ])("%i bytes, %i times, are written as the parts %j, or as one", async (size, count, parts) => {
    const { seen, variables } = watchedBucket();
    const stored = await write(variables, size, count);
    expect([stored.size, seen.partSizes, seen.open]).toEqual([size * count, parts, 0]);
    const object = await env.FILES.get(stored.blob);
    expect(sha256(new Uint8Array((await object?.arrayBuffer()) ?? []))).toBe(stored.sha256);
  });

  test("nothing is written before it is reserved, and a multipart upload is recorded with its id", async () => {
    const order: string[] = [];
    const reserve = async (call: () => Promise<unknown>) => {
      await scheduler.wait(10); // slower than R2
      await call();
      order.push("reserved");
    };
    const FILES = changed(env.FILES, {
      put: async (key: string, body: Uint8Array) => {
        order.push("put");
        return env.FILES.put(key, body);
      },
      createMultipartUpload: async (key: string) => {
        order.push("create");
        return env.FILES.createMultipartUpload(key);
      },
    });
    const { variables } = changedCatalogue({ reserve });
    await write({ ...variables, FILES }, 10, 1);
    await write({ ...variables, FILES }, MIN_PART_SIZE + 1, 1);
    expect(order).toEqual(["reserved", "put", "reserved", "create", "reserved"]);
    const { strays } = await catalogueRows();
    expect(strays.filter(({ upload_id }) => upload_id !== null)).toHaveLength(1);
    const inADay = Date.now() + 86_400_000;
    for (const { due_at_ms } of strays) expect(Math.abs(due_at_ms - inADay)).toBeLessThan(60_000);
  });
});

/** Two parts. */
const LARGE = "x".repeat(MIN_PART_SIZE + 1);

describe.each(["POST /upload-file", "PUT /files/a"])("%s", (route) => {
  const store = (content: string, variables: Record<string, unknown>) =>
    route.startsWith("POST")
      ? postForm("/upload-file", formBody([filePart(content)]), { variables })
      : putFile("a", content, { variables });

  test.each<[string, string, Parameters<typeof watchedBucket>[0]]>([
    ["put", "x", { put: fails }],
    ["createMultipartUpload", LARGE, { createMultipartUpload: fails }],
    ["uploadPart", LARGE, { uploadPart: fails }],
    ["the last uploadPart", LARGE, { uploadPart: async (number, send) => (number === 2 ? fails() : send()) }],
    ["complete", LARGE, { complete: fails }],
    [
      "put, although it was made",
      "x",
      {
        put: async (...args: unknown[]) => {
          await env.FILES.put(...(args as Parameters<R2Bucket["put"]>));
          throw new Error("the response was lost");
        },
      },
    ],
    [
      "complete, although it was made",
      LARGE,
      {
        complete: async (complete) => {
          await complete();
          throw new Error("the response was lost");
        },
      },
    ],
  ])(
    "when R2 fails at %s, the response is a 500 without internals, and nothing is left",
    async (_at, content, change) => {
      const { variables } = watchedBucket(change);
      const { status, body } = await store(content, variables);
      expect([status, body.type]).toEqual([500, "urn:sluice:problem:internal"]);
      expect(body.detail).not.toContain("R2");
      expect(await whatIsLeft()).toEqual(NOTHING);
    },
  );

  test("when the catalogue cannot reserve, the response is a 503 and nothing was written to R2", async () => {
    const { variables } = changedCatalogue({ reserve: fails });
    expect((await store(LARGE, variables)).status).toBe(503);
    expect(await whatIsLeft()).toEqual(NOTHING);
  });

  test("when the catalogue is away for a moment, or only its response is lost, the file is stored once", async () => {
    let commits = 0;
    const { variables } = changedCatalogue({
      reserve: async (call) => call(),
      commit: async (call) => {
        const outcome = await call();
        if (++commits === 1) throw new Error("the response was lost");
        return outcome;
      },
    });
    expect((await store("x", variables)).status).toBe(201);
    const { files, strays } = await catalogueRows();
    expect([files.length, strays, (await objectKeys()).length]).toEqual([1, [], 1]);
  });
});
