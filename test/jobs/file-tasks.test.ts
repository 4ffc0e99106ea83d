/** Uploads that start a task, through the front door. */
import { reset } from "cloudflare:test";
import { exports } from "cloudflare:workers";
import { beforeEach, describe, expect, test } from "vitest";
import { TASK_TYPES } from "../../src/jobs/task-types.ts";
import type { TaskType } from "../../src/tasks/index.ts";
import { callForJson } from "../support/call.ts";
import { putFile } from "../support/files.ts";
import { FORM_TYPE, filePart, formBody } from "../support/form.ts";
import { keepQuiet } from "../support/quiet.ts";
import { NOTHING, whatIsLeft } from "../support/stored.ts";

interface Stored {
  id: string;
  task?: { id: string; url: string };
}

const form = formBody([filePart("one"), filePart("two", 'name="file2"; filename="b.txt"')]);
const post = (path: string, body: string) =>
  callForJson(path, { method: "POST", headers: { "Content-Type": FORM_TYPE }, body });

const taskAt = async (url: string | undefined) => (await callForJson(new URL(String(url)).pathname)).body;

keepQuiet();
beforeEach(() => reset());

describe("an upload with ?task=", () => {
  test("by PUT responds with the task that it has started for the file", async () => {
    const { status, body } = await callForJson("/files/a?task=verify_file", { method: "PUT", body: "hello" });
    const { task } = body as unknown as Stored;
    expect([status, task?.url]).toEqual([201, `http://localhost/tasks/${task?.id}`]);
    await expect
      .poll(() => taskAt(task?.url))
      .toMatchObject({
        type: "verify_file",
        status: "succeeded",
        result: { fileId: "a", size: 5 },
      });
  });

  test("by a form with one file does so, too", async () => {
    const { body } = await post("/upload-file?task=verify_file", formBody([filePart("one")]));
    const { id, task } = body as unknown as Stored;
    await expect.poll(() => taskAt(task?.url)).toMatchObject({ status: "succeeded", result: { fileId: id } });
  });

  test("by a form with several files starts one task for each", async () => {
    const { body } = await post("/files?task=verify_file", form);
    const { files } = body as unknown as { files: Stored[] };
    expect(new Set(files.map(({ task }) => task?.id)).size).toBe(2);
    for (const { id, task } of files)
      await expect
        .poll(() => taskAt(task?.url))
        .toMatchObject({ status: "succeeded", result: { fileId: id } });
  });

  test("starts a task for each version of a file, and none without the parameter", async () => {
    const ids = [];
    for (const text of ["one", "one"]) {
      const { body } = await callForJson("/files/a?task=verify_file", { method: "PUT", body: text });
      ids.push((body as unknown as Stored).task?.id);
    }
    expect(new Set(ids).size).toBe(2);
    expect((await putFile("a", "x")).body).not.toHaveProperty("task");
  });

  test.each(["nonsense", "task_a", "constructor", "", "x".repeat(64)])(
    "with the type %j, which takes no file, is rejected before anything is stored",
    async (type) => {
      for (const call of [
        callForJson(`/files/a?task=${type}`, { method: "PUT", body: "x" }),
        post(`/upload-file?task=${type}`, formBody([filePart("one")])),
        post(`/files?task=${type}`, form),
      ]) {
        const { status, body } = await call;
        expect([status, body.errors]).toMatchObject([422, [{ at: "query/task" }]]);
        expect(body.detail).toContain("verify_file");
      }
      expect(await whatIsLeft()).toEqual(NOTHING);
    },
  );
});

describe("the entrypoint", () => {
  test("names the types that take a file, and no other", async () => {
    const types = await exports.FileTasks.types();
    expect(types).toContain("verify_file");
    for (const name of ["task_a", "callback"]) expect(types).not.toContain(name);
  });

  test("names each type that accepts the id of a file alone, and does not accept nothing", async () => {
    const takesFile = ({ input }: TaskType) =>
      input.safeParse({ fileId: "any" }).success && !input.safeParse({}).success;
    const names = TASK_TYPES.filter(takesFile).map(({ name }) => name);
    expect(await exports.FileTasks.types()).toEqual(expect.arrayContaining(names));
    expect(names).toContain("verify_file");
  });

  test("starts a task once for each key", async () => {
    await putFile("a", "x");
    const start = async (key: string) => exports.FileTasks.start("verify_file", "a", key);
    const ids = await Promise.all([start("k1"), start("k1"), start("k2")]);
    expect(ids[0]).toBe(ids[1]);
    expect(ids[0]).not.toBe(ids[2]);
    await expect
      .poll(() => taskAt(`http://localhost/tasks/${ids[0]}`))
      .toMatchObject({ status: "succeeded" });
    expect(await start("k1")).toBe(ids[0]);
    expect(await taskAt(`http://localhost/tasks/${ids[0]}`)).toMatchObject({
      attempt: 1,
      status: "succeeded",
    });
  });
});
