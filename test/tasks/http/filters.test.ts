/** Tags and filters through the front door: over all shards, page by page. */
import { env } from "cloudflare:test";
import { beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { mergeParts } from "../../../src/tasks/http/list.ts";
import { defineTask, NonRetryableError, registerTaskTypes, startTasks } from "../../../src/tasks/index.ts";
import { enqueueOnce } from "../../../src/tasks/run/submit.ts";
import { callForJson, callWorker } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";
import {
  brokenLedger,
  changedLedger,
  submit,
  submitted,
  taskOf,
  taskRows,
  taskWhen,
} from "../../support/submissions.ts";

keepQuiet();

const works = defineTask({ name: "filters_works", input: z.unknown(), run: async () => 1 });
const capped = defineTask({ name: "filters_capped", input: z.unknown(), concurrency: 5, run: async () => 1 });
const fails = defineTask({
  name: "filters_fails",
  input: z.unknown(),
  run: async () => {
    throw new NonRetryableError("no such thing");
  },
});
registerTaskTypes([works, capped, fails]);

interface Page {
  tasks: { id: string; tags?: string[] }[];
  next: string | null;
}

async function idsWith(query: string, limit = 2): Promise<string[]> {
  const ids: string[] = [];
  for (let cursor = ""; ; ) {
    const { status, body } = await callForJson(`/tasks?${query}&limit=${limit}&cursor=${cursor}`);
    expect(status).toBe(200);
    const { tasks, next } = body as unknown as Page;
    expect(tasks.length).toBeLessThanOrEqual(limit);
    ids.push(...tasks.map(({ id }) => id));
    if (next === null) return ids;
    cursor = next;
  }
}

const ids: Record<string, string> = {};
beforeAll(async () => {
  ids.none = await submitted({ type: "filters_works" });
  ids.red = await submitted({ type: "filters_works", tags: ["red"] });
  ids.both = await submitted({ type: "filters_capped", tags: ["red", "order/1"] });
  ids.failed = await submitted({ type: "filters_fails", tags: ["red"] });
  ids.waits = await submitted({ type: "filters_works", tags: ["blue"], delay: 600 });
});

test("a task shows its tags, and is found by them on every shard", async () => {
  expect(await taskOf(ids.both ?? "")).toMatchObject({ tags: ["red", "order/1"] });
  expect(await taskOf(ids.none ?? "")).not.toHaveProperty("tags");
  expect((await idsWith("tag=red")).toSorted()).toEqual(
    [ids.red, ids.both, ids.failed].map(String).toSorted(),
  );
  expect(await idsWith("tag=red,order/1")).toEqual([ids.both]);
  expect(await idsWith("tag=red&status=failed")).toEqual([ids.failed]);
  expect(await idsWith("tag=none")).toEqual([]);
});

test("tasks are found by the name of their error, by text, and by their start and end", async () => {
  expect(await idsWith("error=NonRetryableError&type=filters_fails")).toEqual([ids.failed]);
  expect(await idsWith("error=NonRetryable")).toEqual([]);
  expect(await idsWith("text=NO+SUCH")).toEqual([ids.failed]);
  const later = new Date(Date.now() + 60_000).toISOString();
  expect(await idsWith(`finished_after=${later}`)).toEqual([]);
  expect(await idsWith(`finished_before=${later}&tag=blue`)).toEqual([]);
  expect(await idsWith(`started_before=${later}&tag=red`)).toHaveLength(3);
});

test("a run of a schedule says of which, and is found by it", async () => {
  const run = await enqueueOnce(env, works, {}, "filters tick", {
    scheduleId: "filters-nightly",
    tags: '["night"]',
  });
  expect(await taskWhen(run, "succeeded")).toMatchObject({ scheduleId: "filters-nightly", tags: ["night"] });
  expect(await idsWith("schedule=filters-nightly")).toEqual([run]);
  expect(await idsWith("schedule=filters-nightly&status=failed")).toEqual([]);
});

test("a schedule gives its tags to its runs, and shows them", async () => {
  const headers = { "Content-Type": "application/json" };
  const body = JSON.stringify({ cron: "0 0 1 1 *", type: "filters_works", tags: ["yearly"] });
  const made = await callForJson("/schedules", { method: "POST", headers, body });
  expect(made).toMatchObject({ status: 201, body: { tags: ["yearly"] } });
  await callWorker(`/schedules/${String(made.body.id)}`, { method: "DELETE" });
});

test("follow-ups, batches and tasks that code starts have tags", async () => {
  const first = await submitted({
    type: "filters_works",
    then: [{ type: "filters_capped", tags: ["after"] }],
  });
  const { followUps } = await taskWhen(first, "succeeded");
  expect(await taskWhen(String((followUps as string[])[0]), "succeeded")).toMatchObject({ tags: ["after"] });
  await submit([
    { type: "filters_works", tags: ["batch"] },
    { type: "filters_capped", tags: ["batch"] },
  ]);
  expect(await idsWith("tag=batch")).toHaveLength(2);
  const ctx = { waitUntil: () => undefined };
  const [id] = await startTasks(env, ctx, [{ type: works, input: {}, tags: ["code"] }]);
  expect(await idsWith("tag=code")).toEqual([id]);
  await expect(startTasks(env, ctx, [{ type: works, input: {}, tags: ["a b"] }])).rejects.toThrow(TypeError);
});

test.each([
  [{ tags: ["a b"] }, "json/tags/0"],
  [{ tags: Array.from({ length: 11 }, (_, n) => `t${n}`) }, "json/tags"],
  [{ then: [{ type: "filters_works", tags: ["ä"] }] }, "json/then/0/tags/0"],
])("%j is rejected, with its place, and starts nothing", async (wrong, at) => {
  const before = (await taskRows()).length;
  const { status, body } = await submit({ type: "filters_works", ...wrong });
  expect([status, body]).toMatchObject([422, { errors: [{ at }] }]);
  expect(await taskRows()).toHaveLength(before);
});

test.each(["tag=a+b", "created_after=yesterday", "finished_before=1", "status=gone", "tag=a&tag=b"])(
  "the filter %s is rejected",
  async (query) => {
    const { status, body } = await callForJson(`/tasks?${query}`);
    expect([status, body]).toMatchObject([422, { errors: [{ at: expect.stringMatching(/^query\//) }] }]);
  },
);

test("the counts are by type and status and by tag, or of one tag alone", async () => {
  const all = await callForJson("/tasks/counts");
  expect(all.body.tags).toContainEqual({ tag: "red", count: 3 });
  expect(all.body.counts).toContainEqual(
    expect.objectContaining({ type: "filters_fails", status: "failed" }),
  );
  const red = await callForJson("/tasks/counts?tag=red");
  expect(red.body.tags).toEqual([]);
  expect(red.body.counts).toHaveLength(3);
  expect(red.body.counts).toContainEqual({ type: "filters_works", status: "succeeded", count: 1 });
  expect((await callForJson("/tasks/counts?tag=a+b")).status).toBe(422);
});

test("a ledger that has no tags yet refuses a task that has some, and takes the others", async () => {
  const lacking = new TypeError('The RPC receiver does not implement the method "commitTagged".');
  const variables = changedLedger({ commitTagged: async () => Promise.reject(lacking) });
  expect((await submit({ type: "filters_works", tags: ["a"] }, { variables })).status).toBe(503);
  expect((await submit({ type: "filters_works" }, { variables })).status).toBe(202);
  expect((await callForJson("/tasks?tag=red", { variables: brokenLedger("search") })).status).toBe(503);
});

test("a page has nothing older than the shard that has come the least far", () => {
  const row = (created_at_ms: number) => ({ id: `s0-${created_at_ms}`, created_at_ms }) as never;
  const slow = { rows: [row(9)], until: { createdAtMs: 7, id: "s0-7" } };
  const whole = { rows: [row(8), row(5)], until: null };
  expect(mergeParts([slow, whole], 5)).toEqual({ rows: [row(9), row(8)], until: slow.until });
  expect(mergeParts([slow, whole], 1)).toEqual({ rows: [row(9)], until: { createdAtMs: 9, id: "s0-9" } });
  expect(mergeParts([whole], 2)).toEqual({ rows: [row(8), row(5)], until: null });
});
