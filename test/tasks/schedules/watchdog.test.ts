import { createScheduledController, env, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { afterEach, expect, test, vi } from "vitest";
import type { TaskLedger } from "../../../src/tasks/index.ts";
import { ledgerOf } from "../../../src/tasks/ledger/shards.ts";
import { SHARDS } from "../../../src/tasks/ledger/task-id.ts";
import { wakeOverdue } from "../../../src/tasks/schedules/watchdog.ts";
import { look, newType, whenIs, withLedger } from "../../support/background.ts";
import { callForJson, captureLogs } from "../../support/call.ts";
import worker from "../../support/worker.ts";

afterEach(() => {
  vi.useRealTimers();
});

test("every shard is tended, and who is late or cannot be is told of in the log", async () => {
  const tended: string[] = [];
  const answers: Record<string, () => number> = {
    s1: () => {
      throw new Error("broken");
    },
    s2: () => 61_000,
  };
  const fleet = withLedger((shard) => ({
    tend: async () => {
      tended.push(shard);
      return answers[shard]?.() ?? 0;
    },
  }));
  vi.useFakeTimers({ toFake: ["Date"] });
  const { lines } = await captureLogs(async () => wakeOverdue(fleet, Date.now() - 1_500));
  expect(tended).toEqual(SHARDS);
  expect(lines).toHaveLength(2);
  expect(lines).toEqual(
    expect.arrayContaining([
      expect.objectContaining({
        level: "error",
        message: "could not be tended",
        what: "ledger s1",
        error: "Error: broken",
      }),
      {
        level: "warn",
        message: "overdue, and set going again",
        what: "ledger s2",
        lateMs: 61_000,
        cronLateMs: 1_500,
      },
    ]),
  );
});

test("the schedules are tended with them, also when no shard can be", async () => {
  const broken = { tend: async () => Promise.reject(new Error("broken")) };
  const fleet = {
    ...withLedger(() => broken),
    SCHEDULER: { getByName: () => ({ tend: async () => 31_000 }) },
  };
  vi.useFakeTimers({ toFake: ["Date"] });
  const tend = async (changes = {}) =>
    (await captureLogs(async () => wakeOverdue({ ...fleet, ...changes } as unknown as Env, Date.now())))
      .lines;
  const lines = await tend();
  expect(lines.filter(({ level }) => level === "error")).toHaveLength(SHARDS.length);
  expect(lines.filter(({ level }) => level === "warn")).toEqual([
    {
      level: "warn",
      message: "overdue, and set going again",
      what: "schedules",
      lateMs: 31_000,
      cronLateMs: 0,
    },
  ]);
  const noScheduler = { SCHEDULER: { getByName: () => broken } };
  expect(await tend(noScheduler)).toContainEqual(
    expect.objectContaining({ message: "could not be tended", what: "schedules", error: "Error: broken" }),
  );
});

/** The Worker's cron, as the platform calls it. */
async function runCron(): Promise<Record<string, unknown>[]> {
  const controller = createScheduledController({ scheduledTime: new Date() });
  return (await captureLogs(async () => worker.scheduled(controller, env))).lines;
}

test("a shard that has lost its alarm gets another, and goes on with what it has missed", async () => {
  const type = newType("tend-late", async () => "late");
  vi.useFakeTimers({ toFake: ["Date"] });
  const submittedAtMs = Date.now();
  const { body } = await callForJson("/tasks", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ type: type.name, delay: 60 }),
  });
  const id = String(body.id);
  const ledger = ledgerOf(env, id);
  if (!ledger) throw new Error("no ledger");
  await runInDurableObject(ledger, async (_ledger: TaskLedger, { storage }) => storage.deleteAlarm());

  // It is not due, and then not so late that anything can be wrong.
  expect(await runCron()).toEqual([]);
  await runInDurableObject(ledger, async (_ledger: TaskLedger, { storage }) => {
    expect(await storage.getAlarm()).toBe(submittedAtMs + 60_000);
    await storage.deleteAlarm();
  });
  vi.setSystemTime(submittedAtMs + 65_000);
  expect(await runCron()).toEqual([]);
  await runInDurableObject(ledger, async (_ledger: TaskLedger, { storage }) => storage.deleteAlarm());

  vi.setSystemTime(submittedAtMs + 120_000);
  expect(await runCron()).toEqual([
    {
      level: "warn",
      message: "overdue, and set going again",
      what: `ledger ${id.slice(0, 2)}`,
      lateMs: 60_000,
      cronLateMs: 0,
    },
  ]);
  expect(await runDurableObjectAlarm(ledger)).toBe(true);
  await whenIs(id, "running");
  while (!(await runDurableObjectAlarm(env.TASK_RUNNER.getByName(`${id}.1`)))) await scheduler.wait(2);
  expect(await look(id)).toMatchObject({ status: "succeeded", attempt: 1, crashes: 0, result: "late" });
});
