import {
  createScheduledController,
  env,
  reset,
  runDurableObjectAlarm,
  runInDurableObject,
} from "cloudflare:test";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { TaskLedger } from "../../../src/tasks/index.ts";
import { ledgerOf } from "../../../src/tasks/ledger/shards.ts";
import { SHARDS } from "../../../src/tasks/ledger/task-id.ts";
import { wakeOverdue } from "../../../src/tasks/schedules/watchdog.ts";
import { fetchTask, newType, taskWhen, withLedger } from "../../support/background.ts";
import { callForJson, captureLogs } from "../../support/call.ts";
import worker from "../../support/worker.ts";

// No other test may leave an overdue task or schedule behind.
beforeEach(() => reset());
afterEach(() => {
  vi.useRealTimers();
});

/** As if these objects had registered. */
const register = async (...objects: string[]) =>
  env.FILES.put("sluice/objects.json", JSON.stringify({ objects }));
const LEDGERS = SHARDS.map((shard) => `TASK_LEDGER/${shard}`);

test("every shard that exists is rearmed; an overdue or unreachable one is logged", async () => {
  await register(...LEDGERS, "TASK_LEDGER/no-shard", "LATER/x");
  const rearmed: string[] = [];
  const replies: Record<string, () => number> = {
    s1: () => {
      throw new Error("broken");
    },
    s2: () => 61_000,
  };
  const fleet = withLedger((shard) => ({
    rearm: async () => {
      rearmed.push(shard);
      return replies[shard]?.() ?? 0;
    },
  }));
  vi.useFakeTimers({ toFake: ["Date"] });
  const { lines } = await captureLogs(async () => wakeOverdue(fleet, Date.now() - 1_500));
  expect(rearmed).toEqual(SHARDS);
  expect(lines).toHaveLength(2);
  expect(lines).toEqual(
    expect.arrayContaining([
      expect.objectContaining({
        level: "error",
        message: "the watchdog could not reach an object",
        what: "ledger s1",
        error: "Error: broken",
      }),
      {
        level: "warn",
        message: "overdue; its alarm was set again",
        what: "ledger s2",
        lateMs: 61_000,
        cronLateMs: 1_500,
      },
    ]),
  );
});

test("the scheduler is rearmed too, even if no shard can be reached", async () => {
  await register(...LEDGERS, "SCHEDULER/schedules");
  const broken = { rearm: async () => Promise.reject(new Error("broken")) };
  const fleet = {
    ...withLedger(() => broken),
    SCHEDULER: { getByName: () => ({ rearm: async () => 31_000 }) },
  };
  vi.useFakeTimers({ toFake: ["Date"] });
  const rearm = async (changes = {}) =>
    (await captureLogs(async () => wakeOverdue({ ...fleet, ...changes } as unknown as Env, Date.now())))
      .lines;
  const lines = await rearm();
  expect(lines.filter(({ level }) => level === "error")).toHaveLength(SHARDS.length);
  expect(lines.filter(({ level }) => level === "warn")).toEqual([
    {
      level: "warn",
      message: "overdue; its alarm was set again",
      what: "schedules",
      lateMs: 31_000,
      cronLateMs: 0,
    },
  ]);
  const noScheduler = { SCHEDULER: { getByName: () => broken } };
  expect(await rearm(noScheduler)).toContainEqual(
    expect.objectContaining({
      message: "the watchdog could not reach an object",
      what: "schedules",
      error: "Error: broken",
    }),
  );
});

test("what does not exist is not called: a new deployment has nothing to tend", async () => {
  const called: string[] = [];
  const tended = (name: string) => ({ rearm: async () => called.push(name) * 0 });
  const fleet = { ...env, TASK_LEDGER: { getByName: tended }, SCHEDULER: { getByName: tended } };
  await wakeOverdue(fleet as unknown as Env, Date.now());
  expect(called).toEqual([]);
});

test("the catalogues are tended in turn, one a minute, also while they run the code of the version before", async () => {
  await register(...LEDGERS, "FILE_CATALOGUE/c1", "FILE_CATALOGUE/c4");
  const called: string[] = [];
  const tended = (name: string) => ({
    rearm: async () => {
      called.push(name);
      throw new TypeError('The RPC receiver does not implement the method "rearm".');
    },
  });
  const fleet = { ...withLedger(() => ({ rearm: async () => 0 })), FILE_CATALOGUE: { getByName: tended } };
  const { lines } = await captureLogs(async () => {
    for (const minute of [0, 1, 2]) await wakeOverdue(fleet as unknown as Env, minute * 60_000);
  });
  expect([called, lines]).toEqual([["c1", "c4", "c1"], []]);
});

/** Runs the Worker's cron as the platform does. */
async function runCron(): Promise<Record<string, unknown>[]> {
  const controller = createScheduledController({ scheduledTime: new Date() });
  return (await captureLogs(async () => worker.scheduled(controller, env))).lines;
}

test("a shard that has lost its alarm gets a new one, and catches up", async () => {
  const type = newType("watchdog-late", async () => "late");
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

  // The shard has registered, in the background.
  await expect.poll(async () => (await env.FILES.head("sluice/objects.json")) !== null).toBe(true);
  // The task is not due at first, and then not late enough to be overdue.
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
      message: "overdue; its alarm was set again",
      what: `ledger ${id.slice(0, 2)}`,
      lateMs: 60_000,
      cronLateMs: 0,
    },
  ]);
  expect(await runDurableObjectAlarm(ledger)).toBe(true);
  await taskWhen(id, "running");
  while (!(await runDurableObjectAlarm(env.TASK_RUNNER.getByName(`${id}.1`)))) await scheduler.wait(2);
  expect(await fetchTask(id)).toMatchObject({ status: "succeeded", attempt: 1, crashes: 0, result: "late" });
});
