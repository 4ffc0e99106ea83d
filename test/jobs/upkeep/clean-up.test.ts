/** `clean_up`, from its submission to what is left. The age of files and tasks is written into their rows. */
import { env, reset, runInDurableObject } from "cloudflare:test";
import { beforeEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { CATALOGUE_COUNT } from "../../../src/files/index.ts";
import { clean, cleanUp } from "../../../src/jobs/upkeep/clean-up.ts";
import { defineTask, NonRetryableError, registerTaskTypes } from "../../../src/tasks/index.ts";
import { ledgerOf } from "../../../src/tasks/ledger/shards.ts";
import { callForJson } from "../../support/call.ts";
import { fetchText, putFile } from "../../support/files.ts";
import { follow, rejection } from "../../support/followed.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { submitted, taskRows } from "../../support/submissions.ts";
import { cutAtEveryMoment, TestTask } from "../../support/task-context.ts";
import { bytesOf, createTus, MIB, patchTus } from "../../support/uploads.ts";

const DAY_MS = 86_400_000;

registerTaskTypes([
  defineTask({ name: "clean_a", input: z.unknown(), run: async () => "done" }),
  defineTask({
    name: "clean_b",
    input: z.unknown(),
    run: async () => Promise.reject(new NonRetryableError("as it should")),
  }),
]);

keepQuiet();
beforeEach(async () => reset());

type Rule = { prefix: string; older_than_days: number };

const parsed = (input: object) => cleanUp.input.parse(input);
const cleanNow = async (input: object) =>
  new TestTask().finish(async (ctx) => clean(env, ctx, parsed(input)));
const filesRule = (prefix: string, days: number): Rule => ({ prefix, older_than_days: days });

/** Stores a file, as if that had been so many days ago. */
async function oldFile(id: string, days: number): Promise<void> {
  await putFile(id, id);
  for (let n = 0; n < CATALOGUE_COUNT; n++)
    await runInDurableObject(env.FILE_CATALOGUE.getByName(`c${n}`), (_, { storage }) => {
      const sql = "UPDATE file SET modified_at_ms = ? WHERE id = ?";
      storage.sql.exec(sql, Date.now() - days * DAY_MS, id);
    });
}

/** A task that has ended so many days ago. */
async function oldTask(
  type: string,
  days: number,
  columns: Record<string, string | number> = {},
): Promise<string> {
  const id = await submitted({ type, input: {} });
  const endedAtMs = Date.now() - days * DAY_MS;
  const changes = { created_at_ms: endedAtMs - 5, finished_at_ms: endedAtMs, ...columns };
  const ledger = ledgerOf(env, id);
  if (!ledger) throw new Error(`${id} has no ledger`);
  await runInDurableObject(ledger, (_, { storage }) => {
    for (const [name, value] of Object.entries(changes))
      storage.sql.exec(`UPDATE task SET ${name} = ? WHERE id = ?`, value, id);
  });
  return id;
}

const fileIds = async () => {
  const { body } = await callForJson("/files");
  return (body.files as { id: string }[]).map(({ id }) => id);
};
const taskIds = async () => (await taskRows()).map(({ id }) => id).toSorted();

describe("from end to end", () => {
  test("old files and tasks are removed, and counted", async () => {
    await oldFile("tmp-old", 31);
    await oldFile("tmp-young", 29);
    await oldFile("kept-old", 400);
    // Younger than what the ledger itself removes.
    const [old, young] = [await oldTask("clean_a", 3), await oldTask("clean_a", 1)];
    const { task, events, id } = await follow("clean_up", {
      files: [filesRule("tmp-", 30)],
      tasks: [{ status: "succeeded", older_than_days: 2 }],
    });
    expect(task).toMatchObject({
      status: "succeeded",
      result: {
        dryRun: false,
        files: [{ prefix: "tmp-", older_than_days: 30, count: 1, bytes: 7 }],
        tasks: [{ status: "succeeded", older_than_days: 2, count: 1 }],
      },
    });
    expect(events).toContainEqual(
      expect.objectContaining({ data: expect.objectContaining({ message: "1 files and 1 tasks" }) }),
    );
    expect(await fileIds()).toEqual(["kept-old", "tmp-young"]);
    expect(await taskIds()).toEqual([young, id].toSorted());
    expect((await callForJson(`/tasks/${old}`)).status).toBe(404);
    expect((await callForJson("/files/tmp-old")).status).toBe(404);
  });

  test("a dry run counts the same, and removes nothing", async () => {
    await oldFile("tmp-old", 31);
    const old = await oldTask("clean_b", 8);
    const input = { files: [filesRule("", 30)], tasks: [{ status: "failed", older_than_days: 7 }] };
    const { task, id } = await follow("clean_up", { ...input, dry_run: true });
    expect(task.result).toMatchObject({
      dryRun: true,
      files: [{ count: 1, bytes: 7 }],
      tasks: [{ count: 1 }],
    });
    expect(await fileIds()).toEqual(["tmp-old"]);
    expect(await taskIds()).toEqual([id, old].toSorted());
  });
});

describe("a file stays", () => {
  test("if it was stored again since, even after it was chosen", async () => {
    await oldFile("tmp", 31);
    const task = new TestTask();
    // Cut when the choice has been saved, before it is removed.
    await expect(
      task.run(async (ctx) => clean(env, ctx, parsed({ files: [filesRule("", 30)] })), 4),
    ).rejects.toThrow("cut at moment 4");
    expect(task.checkpoint).toMatchObject({ chosen: { files: [{ id: "tmp" }] } });
    await putFile("tmp", "new");
    await task.finish(async (ctx) => clean(env, ctx, parsed({ files: [filesRule("", 30)] })));
    expect((await fetchText("/files/tmp")).text).toBe("new");
  });

  test("if it grew old only after the task had begun", async () => {
    await oldFile("tmp", 29.999);
    const task = new TestTask();
    const run = async () =>
      task.finish(async (ctx) => clean(env, ctx, parsed({ files: [filesRule("", 30)] })));
    await run();
    await oldFile("tmp", 31);
    // The checkpoint of the first run says when "now" is.
    (task.checkpoint as { place: number; startedAtMs: number }).place = 0;
    (task.checkpoint as { startedAtMs: number }).startedAtMs -= 2 * DAY_MS;
    expect(await run()).toMatchObject({ files: [{ count: 0 }] });
    expect(await fileIds()).toEqual(["tmp"]);
  });

  test("while it is an upload in progress, which can be completed", async () => {
    const bytes = bytesOf(MIB);
    const path = await createTus({ "Upload-Length": bytes.length });
    await patchTus(path, 0, bytes.subarray(0, 1000));
    expect(await cleanNow({ files: [filesRule("", 0.000_000_1)] })).toMatchObject({ files: [{ count: 0 }] });
    expect((await patchTus(path, 1000, bytes.subarray(1000))).status).toBe(204);
    expect(await fileIds()).toHaveLength(1);
  });
});

describe("a task stays", () => {
  test.each<[string, string, number, Record<string, number | string>]>([
    ["if it has another status", "clean_b", 9, {}],
    ["if it ended too late, though it began early enough", "clean_a", 9, { finished_at_ms: Date.now() }],
    ["while its callback may be tried", "clean_a", 2.9, { callback_url: "https://app.example.com/hooks/" }],
    ["while code of it may be at work", "clean_a", 9, { busy_until_ms: Date.now() + DAY_MS }],
  ])("%s", async (_name, type, days, columns) => {
    const id = await oldTask(type, days, columns);
    await cleanNow({ tasks: [{ status: "succeeded", older_than_days: 2 }] });
    const gone = await oldTask("clean_a", 4, { callback_url: "https://app.example.com/hooks/" });
    await cleanNow({ tasks: [{ status: "succeeded", older_than_days: 2 }] });
    expect(await taskIds()).not.toContain(gone);
    expect(await taskIds()).toEqual([id]);
  });

  test("if it has another type than the rule", async () => {
    const kept = await oldTask("clean_a", 9);
    await oldTask("clean_b", 9);
    const rules = [
      { status: "failed", type: "clean_a", older_than_days: 2 },
      { status: "failed", type: "clean_b", older_than_days: 2 },
    ];
    expect(await cleanNow({ tasks: rules })).toMatchObject({ tasks: [{ count: 0 }, { count: 1 }] });
    expect(await taskIds()).toEqual([kept]);
  });
});

test("a task goes with all of its history, though that is more than one call removes", async () => {
  const id = await oldTask("clean_a", 9, { events: 5_001 });
  await oldTask("clean_a", 9);
  const ledger = ledgerOf(env, id);
  if (!ledger) throw new Error(`${id} has no ledger`);
  const countEvents = async () =>
    runInDurableObject(
      ledger,
      (_, { storage }) =>
        storage.sql.exec<{ n: number }>("SELECT count(*) AS n FROM event WHERE task_id = ?", id).one().n,
    );
  await runInDurableObject(ledger, (_, { storage }) => {
    for (let number = 1_000; number < 6_000; number++)
      storage.sql.exec(
        "INSERT INTO event (task_id, number, at_ms, name, data) VALUES (?, ?, 0, 'progress', '{}')",
        id,
        number,
      );
  });
  expect(await countEvents()).toBeGreaterThanOrEqual(5_000);
  expect(await cleanNow({ tasks: [{ status: "succeeded", older_than_days: 7 }] })).toMatchObject({
    tasks: [{ count: 2 }],
  });
  expect([await taskIds(), await countEvents()]).toEqual([[], 0]);
});

test("all that is old goes, in many pieces", async () => {
  await putFile("seed", "x");
  for (let n = 0; n < CATALOGUE_COUNT; n++)
    await runInDurableObject(env.FILE_CATALOGUE.getByName(`c${n}`), (_, { storage }) => {
      for (let i = 0; i < 300; i++)
        storage.sql.exec(
          `INSERT INTO file (id, blob, filename, content_type, size, sha256, modified_at_ms, dated_at_ms, is_replacement)
           VALUES (?1, ?1, 'x', 'text/plain', 3, '', ?2, ?2, 0)`,
          `tmp-${n}-${String(i).padStart(3, "0")}`,
          i % 3 === 0 ? Date.now() : 1,
        );
    });
  const result = await cleanNow({ files: [filesRule("tmp-", 30)] });
  expect(result).toMatchObject({ files: [{ count: 200 * CATALOGUE_COUNT, bytes: 600 * CATALOGUE_COUNT }] });
});

test("wherever a run is cut, the next one removes the rest, and counts nothing twice", async () => {
  const moments = await cutAtEveryMoment(
    async () => {
      await reset();
      await oldFile("tmp-1", 31);
      await oldFile("tmp-2", 31);
      await oldFile("kept", 1);
      await oldTask("clean_a", 9);
      const input = parsed({
        files: [filesRule("tmp-", 30)],
        tasks: [{ status: "succeeded", older_than_days: 7 }],
      });
      return async (ctx) => clean(env, ctx, input);
    },
    async (result) => {
      expect(result).toMatchObject({ files: [{ count: 2, bytes: 10 }], tasks: [{ count: 1 }] });
      expect(await fileIds()).toEqual(["kept"]);
      expect(await taskIds()).toEqual([]);
    },
  );
  expect(moments).toBeGreaterThanOrEqual(6);
});

describe("a submission is rejected", () => {
  test.each<[string, object, Record<string, unknown>]>([
    ["without a rule", {}, { files: expect.stringContaining("name what to remove") }],
    [
      "without a prefix, which could mean all files",
      { files: [{ older_than_days: 1 }] },
      { "files/0/prefix": expect.any(String) },
    ],
    ["without an age", { files: [{ prefix: "a" }] }, { "files/0/older_than_days": expect.any(String) }],
    [
      "for no age",
      { files: [{ prefix: "a", older_than_days: 0 }] },
      { "files/0/older_than_days": expect.any(String) },
    ],
    [
      "for a prefix that no id has",
      { files: [{ prefix: "a/", older_than_days: 1 }] },
      { "files/0/prefix": expect.any(String) },
    ],
    [
      "for tasks that have not ended",
      { tasks: [{ status: "running", older_than_days: 1 }] },
      { "tasks/0/status": expect.any(String) },
    ],
    [
      "for a member that there is not",
      { tasks: [{ status: "failed", older_than_days: 1, limit: 1 }] },
      { "tasks/0": expect.stringContaining("limit") },
    ],
  ])("%s", async (_name, input, errors) => {
    expect(await rejection("clean_up", input)).toEqual(errors);
  });
});
