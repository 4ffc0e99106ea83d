/** Each end of a task has a callback of its own, which reports that end or nothing. */
import { env, reset, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { Webhook } from "standardwebhooks";
import { afterEach, beforeEach, expect, test } from "vitest";
import { z } from "zod";
import { defineTask, NonRetryableError, registerTaskTypes } from "../../../src/tasks/index.ts";
import type { TaskRow } from "../../../src/tasks/ledger/schema.ts";
import { ledgerOf } from "../../../src/tasks/ledger/shards.ts";
import { callForJson } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { resetUpstream } from "../../support/scripted-upstream.ts";
import { submitted, taskRows, taskWhen } from "../../support/submissions.ts";
import { TEST_VARIABLES } from "../../support/variables.ts";

const HOOK = "https://app.example.com/hooks/tasks";
const [KEY = ""] = TEST_VARIABLES.CALLBACK_KEYS.split(" ");

let mayWork = false;
let gate = Promise.withResolvers<string>();
registerTaskTypes([
  defineTask({
    name: "callback_ends",
    input: z.unknown(),
    async run() {
      if (!mayWork) throw new NonRetryableError("not yet");
      return gate.promise;
    },
  }),
]);

/** What the receiver has been sent, whether it accepted it or not. */
let sent: { id: string; type: string; data: { status: string; finishedAt: string } }[] = [];
let isUp = false;

keepQuiet();
beforeEach(async () => {
  gate = Promise.withResolvers<string>();
  [sent, mayWork, isUp] = [[], false, false];
  resetUpstream(async (request) => {
    const headers = Object.fromEntries(request.headers);
    const message = new Webhook(KEY).verify(await request.text(), headers) as Omit<(typeof sent)[0], "id">;
    sent.push({ id: String(headers["webhook-id"]), ...message });
    return new Response(null, { status: isUp ? 204 : 503 });
  });
  await reset();
});
afterEach(() => gate.resolve("late"));

/** A task that has failed while its receiver was down, and its callback, which waits for a retry. */
async function failedUnreported(): Promise<{ taskId: string; callbackId: string }> {
  const taskId = await submitted({ type: "callback_ends", callback_url: HOOK });
  const first = async () => (await callbackRows())[0];
  await expect.poll(first, { interval: 20 }).toMatchObject({ status: "scheduled", attempt: 1 });
  expect(sent.map(({ type }) => type)).toEqual(["task.failed"]);
  return { taskId, callbackId: String((await first())?.id) };
}

const callbackRows = async () =>
  (await taskRows())
    .filter(({ type }) => type === "callback")
    .toSorted((a, b) => a.created_at_ms - b.created_at_ms);

/** The receiver is up again, and the next try is due. */
async function tryAgain(callbackId: string): Promise<void> {
  isUp = true;
  const ledger = ledgerOf(env, callbackId);
  if (!ledger) throw new Error("no ledger");
  await runInDurableObject(ledger, (_, { storage }) => {
    storage.sql.exec("UPDATE task SET due_at_ms = 0 WHERE id = ? AND status = 'scheduled'", callbackId);
  });
  await runDurableObjectAlarm(ledger);
}

async function retryByHand(taskId: string): Promise<void> {
  mayWork = true;
  expect((await callForJson(`/tasks/${taskId}/retry`, { method: "POST" })).status).toBe(202);
  await taskWhen(taskId, "running");
}

const isOver = (row: TaskRow) => row.finished_at_ms !== null;

test("(control) a failure is reported when its receiver is up again", async () => {
  const { taskId, callbackId } = await failedUnreported();
  await tryAgain(callbackId);
  await taskWhen(callbackId, "succeeded");
  expect(sent.map(({ type }) => type)).toEqual(["task.failed", "task.failed"]);
  expect(sent[1]).toEqual(sent[0]);
  expect(await taskWhen(taskId, "failed")).toMatchObject({ finishedAt: sent[0]?.data.finishedAt });
});

test("a failure whose task has succeeded since is not reported, neither as failure nor as success", async () => {
  const { taskId, callbackId } = await failedUnreported();
  await retryByHand(taskId);
  isUp = true;
  gate.resolve("done");
  const { finishedAt } = await taskWhen(taskId, "succeeded");
  await expect.poll(() => sent.length, { interval: 20 }).toBe(2);
  await tryAgain(callbackId);
  expect(await taskWhen(callbackId, "failed")).toMatchObject({
    attempt: 2,
    error: { name: "NonRetryableError", message: expect.stringContaining(taskId) },
  });
  await expect.poll(async () => (await callbackRows()).map(isOver)).toEqual([true, true]);
  expect(sent).toMatchObject([
    { id: `msg_${callbackId}`, type: "task.failed" },
    { type: "task.succeeded", data: { status: "succeeded", finishedAt } },
  ]);
  expect(sent[1]?.id).not.toBe(sent[0]?.id);
});

test("a failure whose task runs again is not reported, and the task's next end is", async () => {
  const { taskId, callbackId } = await failedUnreported();
  await retryByHand(taskId);
  await tryAgain(callbackId);
  expect(await taskWhen(callbackId, "failed")).toMatchObject({ error: { name: "NonRetryableError" } });
  expect(sent).toHaveLength(1);
  gate.resolve("done");
  await taskWhen(taskId, "succeeded");
  await expect.poll(async () => (await callbackRows()).map(isOver)).toEqual([true, true]);
  expect(sent.map(({ type }) => type)).toEqual(["task.failed", "task.succeeded"]);
});

test("two failures are reported as two, each with its own time", async () => {
  const { taskId, callbackId } = await failedUnreported();
  isUp = true;
  expect((await callForJson(`/tasks/${taskId}/retry`, { method: "POST" })).status).toBe(202);
  await expect.poll(async () => (await callbackRows()).length, { interval: 20 }).toBe(2);
  await tryAgain(callbackId);
  await expect.poll(async () => (await callbackRows()).map(isOver)).toEqual([true, true]);
  expect(sent.map(({ type }) => type)).toEqual(["task.failed", "task.failed"]);
  expect(new Set(sent.map(({ id }) => id)).size).toBe(2);
  expect(new Set(sent.map(({ data }) => data.finishedAt)).size).toBe(2);
});
