/** One put of a stream: R2 has all of it, or nothing, whatever fails. */
import { env, reset } from "cloudflare:test";
import { beforeEach, describe, expect, test } from "vitest";
import { putStream } from "../../../src/files/store/streamed-put.ts";
import { putFile, sha256 } from "../../support/files.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { expectRuntimeErrors } from "../../support/runtime-errors.ts";
import { changed, NOTHING, objectKeys, watchedBucket, whatIsLeft } from "../../support/stored.ts";

keepQuiet();
// Of the simulated R2, whose reader is told that the put broke off.
expectRuntimeErrors(
  "Network connection lost",
  "because client disconnected",
  "fixed-length pipe ended prematurely",
);
beforeEach(() => reset());

/** Chunks of these sizes in one buffer, which is used again; then an error, if there is one. */
async function* chunksOf(sizes: number[], error?: Error): AsyncGenerator<Uint8Array> {
  const buffer = new Uint8Array(Math.max(0, ...sizes));
  for (const [i, size] of sizes.entries()) {
    yield buffer.fill(i + 1).subarray(0, size);
    buffer.fill(0);
  }
  if (error) throw error;
}

const put = async (
  sizes: number[],
  length: number,
  {
    check = () => {},
    bucket = env.FILES,
    error,
  }: { check?: () => void; bucket?: R2Bucket; error?: Error } = {},
) => putStream(bucket, "key", chunksOf(sizes, error), length, check);

const throws = (message: string) => () => {
  throw new Error(message);
};

test.each<[number[], number[]]>([
  [[], []],
  [[0], []],
  [[3], [1, 1, 1]],
  [
    [2, 0, 1],
    [1, 1, 3],
  ],
  [
    [2, 1, 0],
    [1, 1, 2],
  ],
])("chunks of %j bytes are stored as %j, and checked once, before the last byte", async (sizes, bytes) => {
  let checks = 0;
  await put(sizes, bytes.length, { check: () => void checks++ });
  const object = await env.FILES.get("key");
  expect([...new Uint8Array((await object?.arrayBuffer()) ?? [])]).toEqual(bytes);
  expect(checks).toBe(1);
});

describe("nothing is stored", () => {
  test.each<[string, number[], number, Parameters<typeof put>[2], string]>([
    ["if the chunks break off", [2], 3, { error: new Error("gone") }, "gone"],
    [
      "if they break off after the last byte of the chunk before it",
      [2, 1],
      4,
      { error: new Error("gone") },
      "gone",
    ],
    ["if they are too few", [2], 3, {}, "The body broke off."],
    ["if they are too many", [2, 2], 3, {}, "more than the 3 bytes that were announced"],
    ["if the check fails", [2, 1], 3, { check: throws("wrong") }, "wrong"],
    ["if the check of no bytes fails", [], 0, { check: throws("wrong") }, "wrong"],
  ])("%s", async (_, sizes, length, options, message) => {
    await expect(put(sizes, length, options)).rejects.toThrow(message);
    expect(await objectKeys()).toEqual([]);
  });

  test.each([0, 20])("if R2 fails after %i ms, without having read anything", async (afterMs) => {
    const bucket = changed(env.FILES, {
      put: async () => {
        if (afterMs > 0) await scheduler.wait(afterMs);
        throw new Error("R2 is away");
      },
    });
    await expect(put([2, 1], 3, { bucket })).rejects.toThrow("R2 is away");
    expect(await objectKeys()).toEqual([]);
  });
});

describe("a PUT that says its length", () => {
  const content = "x".repeat(3 * 1024 * 1024);
  const headers = { "Content-Length": String(content.length) };

  test("is one put, without parts", async () => {
    const { seen, variables } = watchedBucket();
    const { status, body } = await putFile("a", content, { headers, variables });
    expect([status, body.sha256, seen.partSizes]).toEqual([201, sha256(content), []]);
  });

  test.each<[string, Record<string, string>, number]>([
    ["has another digest", { ...headers, "Content-MD5": Buffer.alloc(16).toString("base64") }, 400],
    ["breaks off", { "Content-Length": String(content.length + 1) }, 400],
  ])("leaves nothing if it %s", async (_, sent, expected) => {
    expect((await putFile("a", content, { headers: sent })).status).toBe(expected);
    expect(await whatIsLeft()).toEqual(NOTHING);
  });
});
