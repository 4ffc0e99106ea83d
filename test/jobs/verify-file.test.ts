import { env, reset } from "cloudflare:test";
import { beforeEach, describe, expect, test } from "vitest";
import { verify, verifyFile } from "../../src/jobs/verify-file.ts";
import { putFile, sha256 } from "../support/files.ts";
import { expectRuntimeErrors } from "../support/runtime-errors.ts";
import { objectKeys } from "../support/stored.ts";
import { taskContext } from "../support/task-context.ts";

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

  /** A context that keeps steps as the ledger does, and is interrupted in the step of a number. */
  function runContext(steps: Map<string, string>, interruptAt = Number.POSITIVE_INFINITY) {
    const interrupt = new AbortController();
    const done: string[] = [];
    const ctx = taskContext({
      signal: interrupt.signal,
      step: async (name, action) => {
        interrupt.signal.throwIfAborted();
        const text = steps.get(name);
        if (text !== undefined) return JSON.parse(text) as never;
        if (done.length + 1 === interruptAt) interrupt.abort(new Error("handed over"));
        const result = await action();
        done.push(name);
        steps.set(name, JSON.stringify(result));
        return result;
      },
    });
    return { ctx, done };
  }

  beforeEach(async () => {
    await putFile("long", bytes);
  });

  test("heeds its signal, and goes on where it was in another run", async () => {
    const steps = new Map<string, string>();
    const first = runContext(steps, 4);
    await expect(verify(first.ctx, "long", RANGE)).rejects.toThrow("handed over");
    expect(first.done).toHaveLength(3);
    const second = runContext(steps);
    expect(await verify(second.ctx, "long", RANGE)).toMatchObject({
      size: bytes.length,
      sha256: sha256(bytes),
    });
    // The last range is not worth a step: after it, the task has ended.
    expect(second.done).toHaveLength(2);
  });

  test("finds a change in its last byte", async () => {
    for (const key of await objectKeys())
      if ((await env.FILES.head(key))?.size === bytes.length) await env.FILES.put(key, replaced);
    await expect(verify(runContext(new Map()).ctx, "long", RANGE)).rejects.toThrow(
      `the sha256 is ${sha256(replaced)}`,
    );
  });

  test("begins anew with another version of the file", async () => {
    const steps = new Map<string, string>();
    await expect(verify(runContext(steps, 3).ctx, "long", RANGE)).rejects.toThrow("handed over");
    await putFile("long", replaced);
    const { ctx, done } = runContext(steps);
    expect(await verify(ctx, "long", RANGE)).toMatchObject({ sha256: sha256(replaced) });
    expect(done).toHaveLength(5);
  });

  test("has no more steps than a task may record, however long it is", async () => {
    const steps = new Map<string, string>();
    // In ranges of 64 bytes it would have 801 steps.
    const part = bytes.slice(0, 801 * 64 + 1);
    await putFile("part", part);
    expect(await verify(runContext(steps).ctx, "part", 64)).toMatchObject({ sha256: sha256(part) });
    expect(steps.size).toBeLessThan(800);
  });
});
