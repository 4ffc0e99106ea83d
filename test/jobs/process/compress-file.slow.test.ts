/** compress_file and decompress_file: each alone, one after the other, and cut at every moment. */

import { env, reset } from "cloudflare:test";
import zlib from "node:zlib";
import { beforeEach, describe, expect, test } from "vitest";
import { compress } from "../../../src/jobs/process/compress-file.ts";
import { decompress } from "../../../src/jobs/process/decompress-file.ts";
import type { TaskContext } from "../../../src/tasks/index.ts";
import { callForJson, callWorker } from "../../support/call.ts";
import { fetchText, putFile, sha256 } from "../../support/files.ts";
import { expectRuntimeErrors } from "../../support/runtime-errors.ts";
import { NOTHING, whatIsLeftOf } from "../../support/stored.ts";
import { submit, submitted, taskWhen } from "../../support/submissions.ts";
import { cutAtEveryMoment, TestTask } from "../../support/task-context.ts";

// A range that is not read to its end.
expectRuntimeErrors("reader canceled");

/** 3 MiB in lines: three blocks, and several batches where these are small. */
const lines = Buffer.from(
  Array.from({ length: 90_000 }, (_, i) => `${i},a line with number ${(i * 7919) % 1_000}\n`).join(""),
);
const BATCH = 100_000;
const DEFAULTS = { max_bytes: 1e9, max_ratio: 250 };

async function bytesOf(fileId: unknown): Promise<Buffer> {
  const { response } = await callWorker(`/files/${String(fileId)}`);
  expect(response.status).toBe(200);
  return Buffer.from(await response.arrayBuffer());
}

beforeEach(async () => {
  await reset();
  await putFile("lines.csv", lines);
  await putFile("lines.csv.gz", zlib.gzipSync(lines), {
    headers: { "Content-Disposition": 'attachment; filename="data.csv.gz"' },
  });
});

describe("compress_file", () => {
  test("makes a gzip file of its own, linked to its source, and tells its progress", async () => {
    const id = await submitted({ type: "compress_file", input: { fileId: "lines.csv", level: 9 } });
    const { result } = await taskWhen(id, "succeeded");
    const data = await bytesOf(`${id}.gz`);
    expect(zlib.gunzipSync(data).equals(lines)).toBe(true);
    expect(result).toEqual({
      fileId: `${id}.gz`,
      filename: "lines.csv.gz",
      contentType: "application/gzip",
      size: data.length,
      sha256: sha256(data),
      originalSize: lines.length,
    });
    const { body } = await callForJson("/files?source=lines.csv");
    expect(body.files).toMatchObject([{ id: `${id}.gz`, source: "lines.csv", sourceTask: id }]);
    expect((await fetchText(`/tasks/${id}/events`)).text).toContain("succeeded");
  });

  test("makes zlib data, and a file of nothing", async () => {
    await putFile("empty", "");
    const input = { fileId: "empty", format: "deflate", expires_in: 3_600 };
    const id = await submitted({ type: "compress_file", input });
    expect(await taskWhen(id, "succeeded")).toMatchObject({
      result: { filename: "empty.zz", originalSize: 0 },
    });
    expect(zlib.inflateSync(await bytesOf(`${id}.zz`))).toEqual(Buffer.alloc(0));
    expect((await callForJson("/files")).body.files).toContainEqual(
      expect.objectContaining({ id: `${id}.zz`, expiresAt: expect.stringMatching(/^20/) }),
    );
  });

  test("goes on wherever it was cut, to the same bytes", async () => {
    const code = async (ctx: TaskContext) =>
      compress(ctx, { fileId: "lines.csv", format: "gzip", level: 6 }, BATCH);
    const digests = new Set<string>();
    const moments = await cutAtEveryMoment(
      async () => {
        await reset();
        await putFile("lines.csv", lines);
        return code;
      },
      async (result) => {
        digests.add(result.sha256);
        expect(zlib.gunzipSync(await bytesOf(result.fileId)).equals(lines)).toBe(true);
      },
    );
    expect(moments).toBeGreaterThanOrEqual(4);
    expect(digests.size).toBe(1);
  });

  test("fails if the source is replaced while it goes on, and leaves nothing", async () => {
    const task = new TestTask();
    const code = async (ctx: TaskContext) =>
      compress(ctx, { fileId: "lines.csv", format: "gzip", level: 6 }, BATCH);
    await expect(task.run(code, 3)).rejects.toThrow("cut at moment 3");
    await putFile("lines.csv", "another");
    await expect(task.run(code)).rejects.toThrow("was replaced");
    expect((await callForJson("/files?source=lines.csv")).body.files).toEqual([]);
  });
});

describe("decompress_file", () => {
  test("makes a file under the plain name, linked to its source", async () => {
    const id = await submitted({ type: "decompress_file", input: { fileId: "lines.csv.gz" } });
    expect(await taskWhen(id, "succeeded")).toMatchObject({
      result: {
        fileId: `${id}.out`,
        filename: "data.csv",
        contentType: "text/csv",
        size: lines.length,
        sha256: sha256(lines),
        compressedSize: zlib.gzipSync(lines).length,
      },
    });
    expect((await bytesOf(`${id}.out`)).equals(lines)).toBe(true);
  });

  test("goes on wherever it was cut, also within a member", async () => {
    const half = lines.length >> 1;
    const two = Buffer.concat([zlib.gzipSync(lines.subarray(0, half)), zlib.gzipSync(lines.subarray(half))]);
    const code = async (ctx: TaskContext) => decompress(ctx, { fileId: "two.gz", ...DEFAULTS }, 1_000_000);
    const moments = await cutAtEveryMoment(
      async () => {
        await reset();
        await putFile("two.gz", two);
        return code;
      },
      (result) => expect(result).toMatchObject({ size: lines.length, sha256: sha256(lines) }),
    );
    expect(moments).toBeGreaterThanOrEqual(4);
  });

  const bomb = zlib.gzipSync(Buffer.alloc(11 * 1024 * 1024), { level: 9 });
  test.each<[string, Uint8Array, object, string]>([
    ["what is not compressed", Buffer.from("hello"), {}, "neither gzip nor zlib"],
    ["what is cut off", zlib.gzipSync(lines).subarray(0, 1_000), {}, "ends too early"],
    ["more than max_bytes", zlib.gzipSync(lines), { max_bytes: 1_000 }, "more than 1000 bytes (max_bytes)"],
    ["a bomb", bomb, {}, "more than 250 times as long (max_ratio)"],
  ])("refuses %s, and leaves nothing", async (_, data, options, message) => {
    await putFile("a.gz", data);
    const id = await submitted({ type: "decompress_file", input: { fileId: "a.gz", ...options } });
    const { error, attempt } = await taskWhen(id, "failed");
    expect(attempt).toBe(1);
    expect(error).toMatchObject({ message: expect.stringContaining(message) });
    expect(await whatIsLeftOf(`${id}.out`)).toEqual(NOTHING);
  });

  test("removes what it has written when the damage comes late", async () => {
    const damaged = zlib.gzipSync(lines).map((byte, i, all) => (i === all.length - 5 ? byte ^ 1 : byte));
    await putFile("late.gz", damaged);
    const task = new TestTask();
    const code = async (ctx: TaskContext) => decompress(ctx, { fileId: "late.gz", ...DEFAULTS }, BATCH);
    await expect(task.run(code)).rejects.toThrow("do not match its checksum");
    expect(await whatIsLeftOf(`${task.id}.out`)).toEqual(NOTHING);
    expect(await env.FILES.list({ prefix: `files/${task.id}` })).toMatchObject({ objects: [] });
  });
});

test.each([
  ["compress_file", { fileId: "a", level: 0 }, "json/input/level"],
  ["compress_file", { fileId: "a", format: "zip" }, "json/input/format"],
  ["compress_file", { fileId: "" }, "json/input/fileId"],
  ["decompress_file", { fileId: "a", format: "br" }, "json/input/format"],
  ["decompress_file", { fileId: "a", max_bytes: 0 }, "json/input/max_bytes"],
  ["decompress_file", { fileId: "a", max_ratio: 5_000 }, "json/input/max_ratio"],
  ["decompress_file", { fileId: "a", filename: "../b" }, "json/input/filename"],
  ["decompress_file", { fileId: "a", expires_in: -1 }, "json/input/expires_in"],
])("%s refuses %j, and starts nothing", async (type, input, at) => {
  const { status, body } = await submit({ type, input });
  expect([status, body.errors]).toEqual([422, [expect.objectContaining({ at })]]);
});
