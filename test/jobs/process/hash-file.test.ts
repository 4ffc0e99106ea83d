import { reset } from "cloudflare:test";
import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import { beforeEach, describe, expect, test } from "vitest";
import { ALGORITHMS, type Algorithm } from "../../../src/jobs/process/digests.ts";
import { hash, hashFile } from "../../../src/jobs/process/hash-file.ts";
import type { TaskContext } from "../../../src/tasks/index.ts";
import { fetchText, putFile } from "../../support/files.ts";
import { expectRuntimeErrors } from "../../support/runtime-errors.ts";
import { submit, submitted, taskWhen } from "../../support/submissions.ts";
import { cutAtEveryMoment, TestTask, taskContext } from "../../support/task-context.ts";

// A range that is not read to its end.
expectRuntimeErrors("reader canceled");

const RANGE = 64 * 1024;
const bytes = new Uint8Array(3 * RANGE + 777).map((_, n) => (n * 31) % 251);

const expected = Object.fromEntries(
  ALGORITHMS.map((name) => [
    name,
    name === "crc32"
      ? crc32(bytes).toString(16).padStart(8, "0")
      : createHash(name.replace("-", "")).update(bytes).digest("hex"),
  ]),
);
const whole = { fileId: "long", filename: "long", size: bytes.length, digests: expected };

const inRanges =
  (algorithms: Algorithm[] = [...ALGORITHMS]) =>
  async (ctx: TaskContext) =>
    hash(ctx, { fileId: "long", algorithms }, { atOnce: 0, range: RANGE });

beforeEach(async () => {
  await reset();
  await putFile("long", bytes);
});

test("a submitted task tells its progress, and ends with the digests", async () => {
  const id = await submitted({ type: "hash_file", input: { fileId: "long" } });
  expect(await taskWhen(id, "succeeded")).toMatchObject({ result: whole });
  const { text } = await fetchText(`/tasks/${id}/events`);
  expect(text).toContain(`${bytes.length} of ${bytes.length} bytes hashed`);
});

test("only the algorithms that were asked for", async () => {
  const id = await submitted({ type: "hash_file", input: { fileId: "long", algorithms: ["crc32"] } });
  const { result } = await taskWhen(id, "succeeded");
  expect(result).toMatchObject({ digests: { crc32: expected.crc32 } });
  expect(Object.keys((result as { digests: object }).digests)).toEqual(["crc32"]);
});

test("an empty file has digests too", async () => {
  await putFile("empty", "");
  const result = await hashFile.run(taskContext(), { fileId: "empty", algorithms: ["md5"] });
  expect(result).toMatchObject({ size: 0, digests: { md5: "d41d8cd98f00b204e9800998ecf8427e" } });
});

describe("a long file", () => {
  test("is hashed in ranges, to the same digests, and goes on wherever it was cut", async () => {
    const moments = await cutAtEveryMoment(
      async () => inRanges(),
      (result) => expect(result).toEqual(whole),
    );
    expect(moments).toBe(6);
  });

  test("that is replaced meanwhile fails the task for good", async () => {
    const task = new TestTask();
    await expect(task.run(inRanges(), 3)).rejects.toThrow("cut at moment 3");
    await putFile("long", "another");
    await expect(task.run(inRanges())).rejects.toThrow("the file long was replaced");
  });
});

describe("is refused, and starts nothing:", () => {
  test.each([
    ["no file", {}, "json/input/fileId"],
    ["an id that no file can have", { fileId: "../a" }, "json/input/fileId"],
    ["no algorithm", { fileId: "a", algorithms: [] }, "json/input/algorithms"],
    ["an algorithm that is not known", { fileId: "a", algorithms: ["md4"] }, "json/input/algorithms/0"],
    ["one twice", { fileId: "a", algorithms: ["md5", "md5"] }, "json/input/algorithms"],
  ])("%s", async (_, input, at) => {
    const { status, body } = await submit({ type: "hash_file", input });
    expect([status, body.errors]).toEqual([422, [expect.objectContaining({ at })]]);
  });

  test("a file that does not exist fails the task, and says so", async () => {
    const id = await submitted({ type: "hash_file", input: { fileId: "none" } });
    expect(await taskWhen(id, "failed")).toMatchObject({ error: { message: "there is no file none" } });
  });
});
