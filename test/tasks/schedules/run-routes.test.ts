/** Running a schedule by hand, and the runs that it remembers. */
import { env, reset, runDurableObjectAlarm } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { z } from "zod";
import { defineTask } from "../../../src/tasks/index.ts";
import { registerSchedules } from "../../../src/tasks/schedules/registry.ts";
import { registerTaskTypes } from "../../../src/tasks/types/registry.ts";
import { callForJson, callWorker } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { brokenScheduler } from "../../support/schedulers.ts";

const NOW = Date.UTC(2030, 0, 1, 12) + 1_234;
const MINUTE = 60_000;

const held = defineTask({
  name: "run_held",
  input: z.object({}),
  lane: "long",
  // It runs in the long lane, whose alarms no test here rings: so it stays as it is.
  run: async () => null,
});
registerTaskTypes([held]);

const put = async (id: string, more: object = {}) =>
  callForJson(`/schedules/${id}`, {
    method: "PUT",
    body: JSON.stringify({ cron: "@daily", type: "run_held", ...more }),
    headers: { "Content-Type": "application/json" },
  });
const run = async (id: string, variables: Record<string, unknown> = {}) =>
  callForJson(`/schedules/${id}/run`, { method: "POST", variables });
const runsOf = async (id: string) =>
  (await callForJson(`/schedules/${id}/runs`)).body.runs as Record<string, unknown>[];
const cancel = async (taskId: unknown) => callWorker(`/tasks/${String(taskId)}/cancel`, { method: "POST" });

keepQuiet();
beforeEach(async () => {
  await reset();
  registerSchedules([]);
  vi.useFakeTimers({ toFake: ["Date"], now: NOW });
});
afterEach(() => {
  vi.useRealTimers();
});

describe("POST /schedules/{id}/run", () => {
  test("starts a task of the schedule at once, and the schedule shows it", async () => {
    await put("a");
    const { status, body } = await run("a");
    expect(status).toBe(202);
    expect(body).toEqual({
      dueAt: "2030-01-01T12:00:01.234Z",
      taskId: expect.any(String),
      taskUrl: `http://localhost/tasks/${String(body.taskId)}`,
    });
    expect((await callForJson(`/tasks/${String(body.taskId)}`)).body).toMatchObject({ type: "run_held" });
    const schedule = await callForJson("/schedules/a");
    expect(schedule.body).toMatchObject({ lastTaskId: body.taskId, lastTickAt: body.dueAt, waiting: 0 });
    expect((schedule.body.next as string[])[0]).toBe("2030-01-02T00:00:00.000Z");
  });

  test("is refused while the previous run goes on, under `skip`", async () => {
    await put("a");
    const { body: first } = await run("a");
    vi.setSystemTime(NOW + MINUTE);
    const { status, body } = await run("a");
    expect([status, body.type]).toEqual([409, "urn:sluice:problem:conflict"]);
    expect(body.detail).toContain(String(first.taskId));
    await cancel(first.taskId);
    expect((await run("a")).status).toBe(202);
    expect(await runsOf("a")).toHaveLength(2);
  });

  test("waits for the previous run, under `queue`, and then starts", async () => {
    await put("a", { overlap: "queue" });
    const { body: first } = await run("a");
    vi.setSystemTime(NOW + MINUTE);
    const { status, body } = await run("a");
    expect([status, body.taskId, body.taskUrl]).toEqual([202, null, null]);
    expect((await callForJson("/schedules/a")).body).toMatchObject({ waiting: 1 });
    await cancel(first.taskId);
    vi.setSystemTime(NOW + 3 * MINUTE);
    await runDurableObjectAlarm(env.SCHEDULER.getByName("schedules"));
    expect(await runsOf("a")).toMatchObject([{ dueAt: body.dueAt }, { dueAt: first.dueAt }]);
  });

  test("is refused while another task holds its unique key, and leaves nothing", async () => {
    await put("other", { unique: { key: "k" } });
    const { body: first } = await run("other");
    await put("a", { unique: { key: "k", on_conflict: "reject" } });
    const { status, body } = await run("a");
    expect([status, body.detail]).toEqual([
      409,
      "Another task holds the unique key of the schedule a: this run was dropped.",
    ]);
    expect((await callForJson("/schedules/a")).body).toMatchObject({ waiting: 0, skippedCount: 1 });
    await cancel(first.taskId);
    expect((await run("a")).body.taskId).toEqual(expect.any(String));
    expect(await runsOf("a")).toHaveLength(1);
  });

  test("is possible while it is paused", async () => {
    await put("a", { paused: true });
    expect((await run("a")).body.taskId).toEqual(expect.any(String));
    expect((await callForJson("/schedules/a")).body).toMatchObject({ paused: true, next: [] });
  });

  test("starts one task, if its reply was lost", async () => {
    await put("a", { overlap: "queue" });
    vi.spyOn(scheduler, "wait").mockResolvedValue();
    let asked = 0;
    const { status, body } = await run(
      "a",
      brokenScheduler("runByHand", () => ++asked === 1, "reply"),
    );
    expect([status, asked]).toEqual([202, 2]);
    expect(await runsOf("a")).toMatchObject([{ taskId: body.taskId }]);
    expect((await callForJson("/schedules/a")).body).toMatchObject({ waiting: 0 });
  });

  test("of what does not exist is a 404", async () => {
    expect((await run("a")).status).toBe(404);
    expect((await callForJson("/schedules/a/runs")).status).toBe(404);
  });
});

describe("GET /schedules/{id}/runs", () => {
  test("has the latest 20, newest first, with the state of each task", async () => {
    await put("a");
    expect(await runsOf("a")).toEqual([]);
    const due = [];
    for (let i = 0; i < 22; i++) {
      vi.setSystemTime(NOW + i * MINUTE);
      const { body } = await run("a");
      due.unshift(body.dueAt);
      if (i < 21) await cancel(body.taskId);
    }
    const runs = await runsOf("a");
    expect(runs.map(({ dueAt }) => dueAt)).toEqual(due.slice(0, 20));
    expect(runs[1]).toMatchObject({ status: "cancelled", enqueuedAt: due[1], finishedAt: due[1] });
    expect(["queued", "running"]).toContain(runs[0]?.status);
    await callWorker(`/tasks/${String(runs[1]?.taskId)}`, { method: "DELETE" });
    expect((await runsOf("a"))[1]).toMatchObject({ status: null, startedAt: null, finishedAt: null });
  });
});
