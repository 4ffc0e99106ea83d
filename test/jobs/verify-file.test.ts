import { env, reset } from "cloudflare:test";
import { beforeEach, describe, expect, test } from "vitest";
import { verify, verifyFile } from "../../src/jobs/verify-file.ts";
import type { TaskContext } from "../../src/tasks/index.ts";
import { putFile, sha256 } from "../support/files.ts";
import { expectRuntimeErrors } from "../support/runtime-errors.ts";
import { objectKeys } from "../support/stored.ts";
import { cutAtEveryMoment, TestTask, taskContext } from "../support/task-context.ts";

// A range that is not read to its end.
expectRuntimeErrors("reader canceled");

const lines: unknown[] = [];
const context = taskContext({ log: (...line) => void lines.push(line) });
const verifySmall = async (fileId: string) => verifyFile.run(context, { fileId });

beforeEach(async () => {
  lines.length = 0;
  await reset();
  await putFile("a", "hello", { headers: { "Content-Disposition": 'attachment; filename="b.txt"' } });
});

describe("verify_file", () => {
  test("describes the file when its bytes are those that were uploaded", async () => {
    const result = { fileId: "a", filename: "b.txt", size: 5, sha256: sha256("hello") };
    expect(await verifySmall("a")).toEqual(result);
    expect(lines).toEqual([["info", "File verified.", { fileId: "a", size: 5 }]]);
  });

  test("fails when they are not, and names both digests", async () => {
    const [key = ""] = await objectKeys();
    await env.FILES.put(key, "hullo");
    await expect(verifySmall("a")).rejects.toThrow(
      `the sha256 is ${sha256("hullo")}; it was ${sha256("hello")} when the file was stored`,
    );
    expect(lines).toEqual([]);
  });

  test("fails when the file does not exist, or its bytes are lost", async () => {
    await expect(verifySmall("none")).rejects.toThrow("there is no file none");
    await env.FILES.delete(await objectKeys());
    await expect(verifySmall("a")).rejects.toThrow("the bytes of the file a are not in R2");
  });
});

describe("verify_file of a long file", () => {
  const RANGE = 64 * 1024;
  const bytes = new Uint8Array(5 * RANGE + 777).map((_, n) => (n * 31) % 251);
  const replaced = bytes.map((byte, n) => (n === bytes.length - 1 ? byte ^ 1 : byte));

  const verifyLong =
    (maxBytesPerRun = bytes.length) =>
    async (ctx: TaskContext) =>
      verify(ctx, "long", RANGE, maxBytesPerRun);

  beforeEach(async () => {
    await putFile("long", bytes);
  });

  const whole = { fileId: "long", filename: "long", size: bytes.length, sha256: sha256(bytes) };

  test("goes on where it was, wherever a run is cut", async () => {
    const moments = await cutAtEveryMoment(
      async () => verifyLong(),
      (result, task) => {
        expect(result).toEqual(whole);
        expect(task.runs).toBeLessThanOrEqual(2);
      },
    );
    // Before and after each of five checkpoints.
    expect(moments).toBe(10);
  });

  test("continues in another run when one has done enough, and reads no range twice", async () => {
    const task = new TestTask();
    expect(await task.finish(verifyLong(2 * RANGE))).toEqual(whole);
    expect(task.runs).toBe(3);
    expect(task.progress.map(([ratio]) => Math.round(ratio * 5.01))).toEqual([1, 2, 3, 4, 5]);
  });

  test("heeds its signal", async () => {
    const run = new AbortController();
    const ctx = taskContext({ signal: run.signal });
    run.abort(new Error("handed over"));
    await expect(verifyLong()(ctx)).rejects.toThrow("handed over");
  });

  test("finds a change in its last byte", async () => {
    for (const key of await objectKeys())
      if ((await env.FILES.head(key))?.size === bytes.length) await env.FILES.put(key, replaced);
    await expect(new TestTask().run(verifyLong())).rejects.toThrow(`the sha256 is ${sha256(replaced)}`);
  });

  test("begins anew with another version of the file", async () => {
    const task = new TestTask();
    await expect(task.run(verifyLong(), 4)).rejects.toThrow("cut at moment 4");
    await putFile("long", replaced);
    expect(await task.run(verifyLong())).toMatchObject({ sha256: sha256(replaced) });
    expect(task.progress).toHaveLength(6);
  });
});
