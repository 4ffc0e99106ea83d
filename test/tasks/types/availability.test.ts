/** Task types that this deployment cannot run. */
import { createExecutionContext, env, reset } from "cloudflare:test";
import { beforeEach, expect, test } from "vitest";
import { z } from "zod";
import { defineTask, registerTaskTypes, startTasks } from "../../../src/tasks/index.ts";
import { submitUnchecked, whenEnded } from "../../support/background.ts";
import { callForJson } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";

keepQuiet();
beforeEach(() => reset());

const REASON = "The binding EMAIL is missing: add [[send_email]] to wrangler.toml.";
const body = { input: z.object({ n: z.int().optional() }), run: async () => "done" };
const lacking = defineTask({ ...body, name: "lacking", unavailable: () => REASON });
const complete = defineTask({
  ...body,
  name: "complete",
  unavailable: (bindings) => (bindings.FILES === undefined ? "no R2" : undefined),
});
registerTaskTypes([lacking, complete]);

const post = async (path: string, json: unknown) =>
  callForJson(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", Prefer: "wait=10" },
    body: JSON.stringify(json),
  });
const detail = `The task type "lacking" cannot run here. ${REASON}`;

test("the list of types says which, and why", async () => {
  const { body: list } = await callForJson("/task-types");
  const types = list.taskTypes as { name: string }[];
  expect(types.filter(({ name }) => name === "lacking" || name === "complete")).toMatchObject([
    { name: "complete", available: true, unavailableReason: null },
    { name: "lacking", available: false, unavailableReason: REASON },
  ]);
});

test("a submission is refused, and nothing of it starts; other types run", async () => {
  expect(await post("/tasks", { type: "lacking" })).toMatchObject({
    status: 503,
    body: { type: "urn:sluice:problem:task-type-unavailable", detail, errors: [{ at: "json/type", detail }] },
  });
  const batch = await post("/tasks", [{ type: "complete" }, { type: "lacking" }]);
  expect(batch).toMatchObject({ status: 503, body: { errors: [{ at: "json/1/type", detail }] } });
  expect((await callForJson("/tasks")).body.tasks).toEqual([]);
  expect(await post("/tasks", { type: "complete" })).toMatchObject({ status: 200, body: { result: "done" } });
});

test("what is wrong with the input is said first: no deployment would take it", async () => {
  const { status, body: problem } = await post("/tasks", { type: "lacking", input: { n: "1" } });
  expect([status, problem.errors]).toMatchObject([422, [{ at: "json/input/n" }]]);
});

test("a schedule and a route of one's own are refused as well", async () => {
  const schedule = await post("/schedules", { cron: "0 0 1 1 *", type: "lacking" });
  expect([schedule.status, schedule.body.errors]).toEqual([503, [{ at: "json/type", detail }]]);
  expect((await callForJson("/schedules")).body.schedules).toEqual([]);
  await expect(
    startTasks(env, createExecutionContext(), [{ type: lacking, input: {} }]),
  ).rejects.toMatchObject({
    kind: "task-type-unavailable",
  });
});

test("a task that exists already fails for good, with the reason", async () => {
  const { id } = await submitUnchecked("lacking", {});
  expect(await whenEnded(id)).toMatchObject({ status: "failed", attempt: 1, error: { message: REASON } });
});
