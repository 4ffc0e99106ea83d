/** `POST /tasks/bulk`, from a preview to the result of the task that does it. */
import { env, reset } from "cloudflare:test";
import { beforeEach, expect, test, vi } from "vitest";
import { z } from "zod";
import { actOnMatching, bulkSchema } from "../../../src/jobs/upkeep/bulk-tasks.ts";
import { defineTask, NonRetryableError, registerTaskTypes, type TaskType } from "../../../src/tasks/index.ts";
import { callForJson } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { submittedBatch, taskOf, taskRows, taskWhen } from "../../support/submissions.ts";
import { cutAtEveryMoment } from "../../support/task-context.ts";

const leaf = defineTask({ name: "bulk_leaf", input: z.unknown(), run: async (ctx) => ctx.waitFor("go") });
/** On a shard of its own. */
const farLeaf = defineTask({ ...leaf, name: "bulk_far_leaf", concurrency: 9 });
/** Waits for two trees, or for two leaves at the end. */
const tree: TaskType = defineTask({
  name: "bulk_tree",
  input: z.int(),
  async run(ctx, depth) {
    const types = depth > 1 ? [tree, tree] : [leaf, farLeaf];
    const starts = types.map((type) => ({ type, input: depth - 1, tags: ["tree"] }));
    return ctx.waitForTasks(await ctx.startTasks(starts));
  },
});

registerTaskTypes([
  tree,
  leaf,
  farLeaf,
  defineTask({ name: "bulk_waits", input: z.unknown(), run: async () => "done" }),
  defineTask({ name: "bulk_capped", input: z.unknown(), concurrency: 9, run: async () => "done" }),
  defineTask({
    name: "bulk_fails",
    input: z.unknown(),
    run: async () => Promise.reject(new NonRetryableError("as it should")),
  }),
]);

keepQuiet();
beforeEach(async () => reset());

const bulk = async (body: object) =>
  callForJson("/tasks/bulk", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });

/** Tasks that wait, on more than one shard. */
const waiting = async (count: number, more: object = {}) =>
  submittedBatch(
    Array.from({ length: count }, (_, n) => ({
      type: n % 2 === 0 ? "bulk_waits" : "bulk_capped",
      delay: 600,
      ...more,
    })),
  );

const statuses = async () => Object.fromEntries((await taskRows()).map(({ id, status }) => [id, status]));

test("a dry run counts the tasks of all shards, shows the newest, and changes nothing", async () => {
  const ids = await waiting(7, { tags: ["batch"] });
  await waiting(2);
  const before = await statuses();
  const { status, body } = await bulk({ action: "cancel", filter: { tag: ["batch"] }, dry_run: true });
  expect([status, body]).toMatchObject([200, { action: "cancel", count: 7, complete: true }]);
  const examples = body.examples as { id: string }[];
  expect(examples).toHaveLength(5);
  for (const { id } of examples) expect(ids).toContain(id);
  expect(await statuses()).toEqual(before);
  expect((await bulk({ action: "delete", filter: { tag: ["batch"] }, dry_run: true })).body.count).toBe(0);
});

test("a task of its own cancels all that match, and leaves all others, itself among them", async () => {
  const ids = await waiting(5, { tags: ["batch"] });
  const [other] = await waiting(1);
  const { status, headers, body } = await bulk({ action: "cancel", filter: { tag: ["batch"] } });
  expect([status, headers.get("Location")]).toEqual([202, body.url]);
  const task = await taskWhen(String(body.id), "succeeded");
  expect(task).toMatchObject({
    type: "bulk_tasks",
    result: { action: "cancel", done: 5, skipped: 0, failed: 0 },
  });
  for (const id of ids) expect(await taskOf(id)).toMatchObject({ status: "cancelled" });
  expect(await taskOf(String(other))).toMatchObject({ status: "scheduled" });
  const all = await bulk({ action: "cancel", filter: {} });
  expect(await taskWhen(String(all.body.id), "succeeded")).toMatchObject({ result: { done: 1 } });
});

test("dead letters are retried once each, and what has ended is deleted", async () => {
  const ids = await submittedBatch([{ type: "bulk_fails" }, { type: "bulk_fails" }]);
  const retried = await bulk({ action: "retry", filter: { error: "NonRetryableError" } });
  expect(await taskWhen(String(retried.body.id), "succeeded")).toMatchObject({ result: { done: 2 } });
  for (const id of ids) await taskWhen(id, "failed");
  const deleted = await bulk({ action: "delete", filter: { type: "bulk_fails" } });
  expect(await taskWhen(String(deleted.body.id), "succeeded")).toMatchObject({ result: { done: 2 } });
  expect((await callForJson(`/tasks/${ids[0]}`)).status).toBe(404);
});

test("parents and children that match together are cancelled, retried and deleted, each counted once", async () => {
  const roots = await submittedBatch(
    Array.from({ length: 3 }, () => ({ type: "bulk_tree", input: 2, tags: ["tree"] })),
  );
  const inAll = async (status: string, count: number) =>
    vi.waitFor(
      async () => {
        const { body } = await callForJson("/tasks/counts?tag=tree");
        const counts = body.counts as { status: string; count: number }[];
        expect(counts.map((one) => one.status)).toEqual(counts.map(() => status));
        expect(counts.reduce((sum, one) => sum + one.count, 0)).toBe(count);
      },
      { timeout: 15_000 },
    );
  const act = async (action: string) => {
    const { body } = await bulk({ action, filter: { tag: ["tree"] } });
    return (await taskWhen(String(body.id), "succeeded")).result;
  };
  // Each root has two children, each of those two, and these wait.
  const all = 3 * (1 + 2 + 4);
  await inAll("scheduled", all);
  const counted = { done: all, skipped: 0, failed: 0 };
  for (let time = 0; time < 2; time++) {
    expect(await act("cancel")).toMatchObject(counted);
    await inAll("cancelled", all);
    expect(await act("retry")).toMatchObject(counted);
    await inAll("scheduled", all);
  }
  await act("cancel");
  await inAll("cancelled", all);
  expect(await act("delete")).toMatchObject(counted);
  await inAll("", 0);
  for (const id of roots) expect((await callForJson(`/tasks/${id}`)).status).toBe(404);
});

test.each([
  [{ action: "stop", filter: {} }, "json/action"],
  [{ action: "cancel" }, "json/filter"],
  [{ action: "cancel", filter: { statuses: ["queued"] } }, "json/filter"],
  [{ action: "cancel", filter: { tag: ["a b"] } }, "json/filter/tag/0"],
  [{ action: "cancel", filter: { created_after: "yesterday" } }, "json/filter/created_after"],
])("%j is rejected, and starts nothing", async (body, at) => {
  expect(await bulk(body)).toMatchObject({ status: 422, body: { errors: [{ at }] } });
  expect(await taskRows()).toEqual([]);
});

test("cut at any moment, the work goes on, and each task counts once", async () => {
  const input = bulkSchema.parse({ action: "cancel", filter: { type: "bulk_waits" } });
  const moments = await cutAtEveryMoment(
    async () => {
      await reset();
      await waiting(3);
      return async (ctx) => actOnMatching(env, ctx, input);
    },
    async (result) => {
      expect(result).toEqual({ action: "cancel", done: 2, skipped: 0, failed: 0 });
      const left = (await taskRows()).map(({ type, status }) => `${type} ${status}`).toSorted();
      expect(left).toEqual(["bulk_capped scheduled", "bulk_waits cancelled", "bulk_waits cancelled"]);
    },
  );
  expect(moments).toBeGreaterThan(3);
});
