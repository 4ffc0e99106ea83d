/** Cancelling, retrying and deleting tasks through the API. */

import { env, reset, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { z } from "zod";
import { defineTask, NonRetryableError, registerTaskTypes } from "../../../src/tasks/index.ts";
import { ledgerOf } from "../../../src/tasks/ledger/shards.ts";
import { leaveShard, newTaskId, shardOf } from "../../../src/tasks/ledger/task-id.ts";
import { callForJson, callWorker } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { expectRuntimeErrors } from "../../support/runtime-errors.ts";
import { begin, submitted, submittedBatch, taskOf, taskRows, taskWhen } from "../../support/submissions.ts";

expectRuntimeErrors("its code ignored its signal");

const input = z.unknown();
let gate = Promise.withResolvers<string>();
let begun = 0;
let steps = 0;
let mayWork = false;

const work = async () => {
  if (!mayWork) throw new NonRetryableError("not yet");
  return "done";
};
registerTaskTypes([
  defineTask({ name: "steer_works", input, run: async () => "done" }),
  defineTask({ name: "steer_fails", input, run: work }),
  defineTask({ name: "steer_fails_too", input, run: work }),
  defineTask({
    name: "steer_steps",
    input,
    async run(ctx) {
      await ctx.step("count", async () => ++steps);
      return work();
    },
  }),
  defineTask({
    name: "steer_listens",
    input,
    lane: "long",
    run: async ({ signal }) =>
      new Promise((_, reject) => {
        begun++;
        signal.addEventListener("abort", () => reject(signal.reason as Error));
      }),
  }),
  defineTask({
    name: "steer_deaf",
    input,
    lane: "long",
    async run() {
      begun++;
      return gate.promise;
    },
  }),
  defineTask({ name: "steer_single", input, concurrency: 1, run: async () => gate.promise }),
]);

const post = (path: string) => callForJson(path, { method: "POST" });
const cancel = (id: string) => post(`/tasks/${id}/cancel`);
const retry = (id: string) => post(`/tasks/${id}/retry`);
const remove = async (id: string) => (await callWorker(`/tasks/${id}`, { method: "DELETE" })).response;
const retryAll = (body: unknown) =>
  callForJson("/tasks/retry", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });

/** A task that is running in a runner. */
async function running(type: string): Promise<string> {
  const id = await begin({ type });
  await expect.poll(() => begun, { interval: 10 }).toBe(1);
  return id;
}

async function runAlarmOf(id: string): Promise<void> {
  const ledger = ledgerOf(env, id);
  if (!ledger) throw new Error("no ledger");
  await runDurableObjectAlarm(ledger);
}

keepQuiet();
beforeEach(async () => {
  gate = Promise.withResolvers<string>();
  [begun, steps, mayWork] = [0, 0, false];
  await reset();
});
afterEach(() => {
  gate.resolve("late");
  vi.useRealTimers();
});

describe("cancelling a task", () => {
  test("that waits for its time ends it at once", async () => {
    const id = await submitted({ type: "steer_works", delay: 60 });
    const { status, headers, body } = await cancel(id);
    expect([status, headers.get("Cache-Control")]).toEqual([200, "no-store"]);
    expect(body).toMatchObject({
      id,
      status: "cancelled",
      attempt: 0,
      runAt: null,
      result: null,
      error: null,
    });
    expect(body.finishedAt).toEqual(expect.any(String));
    expect(await taskOf(id)).toEqual(body);
  });

  test("that waits for a free slot ends it at once", async () => {
    const first = await begin({ type: "steer_single" });
    const second = await submitted({ type: "steer_single" });
    expect(await taskOf(second)).toMatchObject({ status: "queued" });
    expect((await cancel(second)).body).toMatchObject({ status: "cancelled", startedAt: null });
    gate.resolve("done");
    expect(await taskWhen(first, "succeeded")).toMatchObject({ result: "done" });
    expect(await taskOf(second)).toMatchObject({ status: "cancelled", attempt: 0 });
  });

  test("that is running asks its code to stop, and ends it when the code has stopped", async () => {
    const id = await running("steer_listens");
    expect((await cancel(id)).body).toMatchObject({ status: "cancelling", finishedAt: null });
    expect(await taskWhen(id, "cancelled")).toMatchObject({ attempt: 1, result: null, error: null });
  });

  test("whose code ignores its signal withdraws its claim after ten seconds, and later reports are ignored", async () => {
    const id = await running("steer_deaf");
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() });
    expect((await cancel(id)).body).toMatchObject({ status: "cancelling" });
    vi.setSystemTime(Date.now() + 9_999);
    await runAlarmOf(id);
    expect(await taskOf(id)).toMatchObject({ status: "cancelling" });
    vi.setSystemTime(Date.now() + 1);
    await runAlarmOf(id);
    expect(await taskOf(id)).toMatchObject({ status: "cancelled" });
    gate.resolve("late");
    const events = async () => (await taskRows()).find((row) => row.id === id)?.events;
    const before = await events();
    await reportOf(id);
    expect(await taskOf(id)).toMatchObject({ status: "cancelled", result: null });
    expect(await events()).toBe(before);
  });

  test("twice has the same effect as once", async () => {
    const id = await submitted({ type: "steer_works", delay: 60 });
    const first = await cancel(id);
    const again = await cancel(id);
    expect([again.status, again.body]).toEqual([200, first.body]);
    const listener = await running("steer_listens");
    await Promise.all([cancel(listener), cancel(listener)]);
    await taskWhen(listener, "cancelled");
    const events = new Map((await taskRows()).map((row) => [row.id, row.events]));
    // Scheduled; queued, running and cancelling. That it was cancelled is in the task's own row.
    expect([events.get(id), events.get(listener)]).toEqual([1, 3]);
  });

  test.each(["steer_works", "steer_fails"])("that has ended is a conflict: %s", async (type) => {
    const id = await submitted({ type });
    const before = await taskOf(id);
    const { status, body } = await cancel(id);
    expect([status, body.type]).toEqual([409, "urn:sluice:problem:conflict"]);
    expect(await taskOf(id)).toEqual(before);
  });
});

describe("retrying a task", () => {
  test("that has failed starts it over, without repeating its recorded steps", async () => {
    const id = await submitted({ type: "steer_steps" });
    expect(await taskOf(id)).toMatchObject({ status: "failed", error: { message: "not yet" } });
    mayWork = true;
    const { status, body } = await retry(id);
    expect(status).toBe(202);
    expect(body).toMatchObject({
      id,
      status: "queued",
      attempt: 0,
      finishedAt: null,
      startedAt: null,
      error: null,
    });
    expect(await taskWhen(id, "succeeded")).toMatchObject({ attempt: 1, result: "done", error: null });
    expect(steps).toBe(1);
  });

  test("that was cancelled starts it at its original time, or now if that has passed", async () => {
    const id = await submitted({ type: "steer_works", delay: 60 });
    const { runAt } = await taskOf(id);
    await cancel(id);
    expect(await retry(id)).toMatchObject({ status: 202, body: { status: "scheduled", runAt } });
    const listener = await running("steer_listens");
    await cancel(listener);
    await taskWhen(listener, "cancelled");
    expect(await retry(listener)).toMatchObject({ status: 202, body: { status: "queued", runAt: null } });
    await expect.poll(() => begun, { interval: 10 }).toBe(2);
  });

  test("that has succeeded or has not ended is a conflict", async () => {
    const done = await submitted({ type: "steer_works" });
    const later = await submitted({ type: "steer_works", delay: 60 });
    const at = await running("steer_deaf");
    for (const id of [done, later, at]) {
      const { status, body } = await retry(id);
      expect([status, body.type]).toEqual([409, "urn:sluice:problem:conflict"]);
    }
    await cancel(at);
    expect((await retry(at)).status).toBe(409);
    expect(await taskOf(done)).toMatchObject({ attempt: 1, status: "succeeded" });
  });
});

describe("deleting a task", () => {
  test("that has ended leaves nothing behind", async () => {
    for (const type of ["steer_works", "steer_steps"]) {
      const id = await submitted({ type });
      const response = await remove(id);
      expect([response.status, await response.text()]).toEqual([204, ""]);
      expect((await callForJson(`/tasks/${id}`)).status).toBe(404);
      expect((await remove(id)).status).toBe(404);
      expect(await leftOf(id)).toEqual({ task: 0, event: 0, step: 0 });
    }
  });

  test("leaves all others unchanged", async () => {
    const [one = "", other = ""] = await submittedBatch([{ type: "steer_steps" }, { type: "steer_steps" }]);
    await remove(one);
    // The first and the last of its three events are in the task's own row.
    expect(await leftOf(other)).toEqual({ task: 1, event: 1, step: 1 });
  });

  test("that has not ended is a conflict", async () => {
    const later = await submitted({ type: "steer_works", delay: 60 });
    const at = await running("steer_deaf");
    for (const id of [later, at]) {
      expect((await remove(id)).status).toBe(409);
      await cancel(id);
    }
    // It is still being cancelled.
    expect([(await remove(later)).status, (await remove(at)).status]).toEqual([204, 409]);
  });
});

describe("retrying the dead letters of a type", () => {
  test("starts all of them over, on every shard, and no other task", async () => {
    const ids: string[] = [];
    while (new Set(ids.map(shardOf)).size < 4) {
      leaveShard();
      ids.push(await submitted({ type: "steer_fails" }));
    }
    const other = await submitted({ type: "steer_fails_too" });
    const cancelled = await submitted({ type: "steer_fails", delay: 60 });
    await cancel(cancelled);
    mayWork = true;
    const { status, body } = await retryAll({ type: "steer_fails" });
    expect([status, body]).toEqual([200, { retried: ids.length, remaining: false }]);
    for (const id of ids) expect(await taskWhen(id, "succeeded")).toMatchObject({ attempt: 1 });
    expect(await taskOf(other)).toMatchObject({ status: "failed" });
    expect(await taskOf(cancelled)).toMatchObject({ status: "cancelled" });
    expect((await retryAll({ type: "steer_fails" })).body).toEqual({ retried: 0, remaining: false });
  });

  test.each<[string, unknown, number, string?]>([
    ["with a valid body, for comparison", { type: "steer_fails" }, 200],
    ["of callbacks", { type: "callback" }, 200],
    ["of an unknown type", { type: "steer_none" }, 422, "json/type"],
    ["of a type named like a member of every object", { type: "constructor" }, 422, "json/type"],
    ["without a type", {}, 422, "json/type"],
    ["of several types", { type: ["steer_fails"] }, 422, "json/type"],
    ["with an unknown member", { type: "steer_fails", limit: 1 }, 422, "json/"],
    ["with a body that is not JSON", "{", 400],
  ])("%s", async (_name, asked, status, at) => {
    const reply = await retryAll(asked);
    expect(reply.status).toBe(status);
    if (at !== undefined) expect(reply.body.errors).toMatchObject([{ at }]);
  });
});

test.each([newTaskId("s1"), newTaskId("s9"), "nonsense"])(
  "cancelling, retrying and deleting %s are each a 404",
  async (id) => {
    for (const reply of [await cancel(id), await retry(id)]) {
      expect([reply.status, reply.body.type]).toEqual([404, "urn:sluice:problem:not-found"]);
    }
    expect((await remove(id)).status).toBe(404);
  },
);

/** Reports the end of the task with its current token. */
async function reportOf(id: string): Promise<void> {
  const row = (await taskRows()).find((task) => task.id === id);
  const outcome = { kind: "succeeded" as const, result: '"late"' };
  await ledgerOf(env, id)?.report([{ taskId: id, token: row?.token ?? 0, outcome }]);
}

/** How many rows a task has in each table. */
async function leftOf(id: string) {
  const ledger = ledgerOf(env, id);
  if (!ledger) throw new Error("no ledger");
  return runInDurableObject(ledger, (_, { storage }) => {
    const count = (table: string, column: string) =>
      storage.sql.exec<{ n: number }>(`SELECT count(*) AS n FROM ${table} WHERE ${column} = ?`, id).one().n;
    return { task: count("task", "id"), event: count("event", "task_id"), step: count("step", "task_id") };
  });
}
