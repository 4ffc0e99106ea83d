/** Uploads that start a task, through the front door. */
import { env, reset } from "cloudflare:test";
import { exports } from "cloudflare:workers";
import { beforeEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { openFile } from "../../src/files/index.ts";
import { TASK_TYPES } from "../../src/jobs/task-types.ts";
import type { TaskType } from "../../src/tasks/index.ts";
import { defineTask, registerTaskTypes } from "../../src/tasks/index.ts";
import { callForJson } from "../support/call.ts";
import { chainOf } from "../support/chains.ts";
import { putFile } from "../support/files.ts";
import { FORM_TYPE, filePart, formBody } from "../support/form.ts";
import { keepQuiet } from "../support/quiet.ts";
import { NOTHING, whatIsLeft } from "../support/stored.ts";
import { CHUNK, idOf, metadata, pathOf, send, TUS } from "../support/uploads.ts";

registerTaskTypes([
  defineTask({
    name: "upload_report",
    input: z.strictObject({ fileId: z.string(), title: z.string() }),
    run: async (_ctx, { fileId }) => ({
      size: (await openFile(env, fileId, { range: { suffix: 1 } }))?.info.size,
    }),
  }),
  defineTask({
    name: "upload_mail",
    input: z.strictObject({ text: z.string() }),
    run: async (_ctx, { text }) => text,
  }),
]);

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

describe("an upload with a task as JSON", () => {
  const JSON_TASK = {
    type: "upload_report",
    input: { title: "Report" },
    then: [
      { type: "upload_mail", input: { text: "{{input.title}}: {{result.size}} bytes of {{input.fileId}}" } },
    ],
  };
  const query = (task: unknown) => `?task=${encodeURIComponent(JSON.stringify(task))}`;

  async function expectChain(stored: Stored) {
    const [report, mail] = await chainOf(String(stored.task?.id));
    expect(report).toMatchObject({ type: "upload_report", input: { title: "Report", fileId: stored.id } });
    expect(mail).toMatchObject({ type: "upload_mail", result: `Report: 5 bytes of ${stored.id}` });
  }

  test("by PUT, by both forms, by tus and by the IETF draft starts it and what follows", async () => {
    const put = await callForJson(`/files/a${query(JSON_TASK)}`, { method: "PUT", body: "hello" });
    await expectChain(put.body as unknown as Stored);
    const one = await post(`/upload-file${query(JSON_TASK)}`, formBody([filePart("hello")]));
    await expectChain(one.body as unknown as Stored);
    const many = await post(`/files${query(JSON_TASK)}`, formBody([filePart("hello")]));
    await expectChain((many.body as unknown as { files: [Stored] }).files[0]);
    const headers = { "Upload-Length": 5, ...metadata({ task: JSON.stringify(JSON_TASK) }) };
    const tus = await send("POST", "/uploads", { headers: { ...CHUNK, ...headers }, body: "hello" });
    const monitor = /tasks\/([^>]+)>/.exec(tus.headers.get("Link") ?? "")?.[1] ?? "none";
    await expectChain({ id: idOf(pathOf(tus)), task: { id: monitor, url: "" } });
    const ietf = await send("POST", `/uploads${query(JSON_TASK)}`, {
      headers: { "Upload-Complete": "?1" },
      body: "hello",
    });
    await expectChain(ietf.body as unknown as Stored);
  });

  test.each<[string, unknown, string]>([
    ["of an unknown type", { type: "none" }, "/type"],
    ["of a type that takes no file", { type: "task_a" }, "/type"],
    ["whose input does not fit", { type: "upload_report", input: { title: 1 } }, "/input/title"],
    ["whose input is no object", { type: "upload_report", input: [] }, "/input"],
    [
      "that names a file itself",
      { type: "upload_report", input: { title: "x", fileId: "b" } },
      "/input/fileId",
    ],
    ["with a member that there is not", { ...JSON_TASK, run_at: "2030-01-01T00:00:00Z" }, ""],
    ["with a callback to nowhere", { ...JSON_TASK, callback_url: "https://example.org/" }, "/callback_url"],
    ["whose follow-up does not exist", { ...JSON_TASK, then: [{ type: "none" }] }, "/then/0/type"],
    [
      "whose follow-up asks for what is not there",
      { ...JSON_TASK, then: [{ type: "upload_mail", input: { text: "{{input.nope}}" } }] },
      "/then/0/input/text",
    ],
  ])("%s is rejected before anything is stored", async (_name, task, at) => {
    for (const call of [
      callForJson(`/files/a${query(task)}`, { method: "PUT", body: "x" }),
      post(`/files${query(task)}`, form),
      callForJson("/uploads", {
        method: "POST",
        headers: { ...TUS, "Upload-Length": "1", ...metadata({ task: JSON.stringify(task) }) },
      }),
    ]) {
      const { status, body } = await call;
      expect([status, body.errors]).toMatchObject([422, [{ at: `query/task${at}` }]]);
    }
    expect(await whatIsLeft()).toEqual(NOTHING);
  });

  test.each(["{", "{}", '{"type":'])("that is %j is rejected", async (task) => {
    const { status } = await callForJson(`/files/a?task=${encodeURIComponent(task)}`, {
      method: "PUT",
      body: "x",
    });
    expect(status).toBe(422);
  });
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
