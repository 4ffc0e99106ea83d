import { abortAllDurableObjects, env, runInDurableObject } from "cloudflare:test";
import { describe, expect, test } from "vitest";
import type { TaskLedger } from "../../src/tasks/index.ts";
import { toTask } from "../../src/tasks/schema.ts";
import { captureLogs } from "../support/call.ts";

const TASK = { type: "example", input: '{"n":1}' };

/** A ledger of its own for each test. */
let count = 0;
const newLedger = () => env.TASK_LEDGER.getByName(`s${++count}`);
type Ledger = ReturnType<typeof newLedger>;

async function startOne(ledger: Ledger) {
  const [claim] = await ledger.startTasks([TASK]);
  if (!claim) throw new Error("nothing was started");
  return claim;
}

/** The task as its caller sees it now. */
async function look(ledger: Ledger, taskId: string) {
  const row = await ledger.getTask(taskId);
  return row && toTask(row, Date.now());
}

/** Makes it as if the Worker that runs the task had not been heard of for longer than its lease. */
const endLease = (ledger: Ledger, taskId: string) =>
  runInDurableObject(ledger, (_object: TaskLedger, { storage }) => {
    storage.sql.exec("UPDATE task SET lease_ends_at_ms = 0 WHERE id = ?", taskId);
  });

test("a started task is kept, running, under an id that names its shard", async () => {
  const ledger = newLedger();
  const { taskId, token } = await startOne(ledger);
  expect(taskId).toMatch(new RegExp(`^s${count}-[0-9a-f-]{36}$`));
  expect(token).toBe(1);
  await abortAllDurableObjects();
  expect(await look(env.TASK_LEDGER.getByName(`s${count}`), taskId)).toMatchObject({
    id: taskId,
    type: "example",
    status: "running",
    attempt: 1,
    input: { n: 1 },
    finishedAt: null,
    result: null,
    error: null,
  });
});

test("tasks that are started together are all kept, or none", async () => {
  const ledger = newLedger();
  const broken = { type: "example", input: null as unknown as string };
  await runInDurableObject(ledger, (object: TaskLedger, { storage }) => {
    expect(() => object.startTasks([TASK, broken, TASK])).toThrow("NOT NULL");
    expect(storage.sql.exec("SELECT * FROM task").toArray()).toEqual([]);
    object.startTasks([TASK, TASK]);
    expect(storage.sql.exec("SELECT * FROM task").toArray()).toHaveLength(2);
  });
});

test("of tasks with the same key, the first is kept, and the others are told so", async () => {
  const ledger = newLedger();
  const keyed = (key: string, n: number) => ({ type: "example", input: JSON.stringify({ n }), key });
  const [first, again, other] = await ledger.startTasks([keyed("a", 1), keyed("a", 2), keyed("b", 3)]);
  const [later] = await ledger.startTasks([keyed("a", 4)]);
  expect([first, again, other, later].map((claim) => claim?.isNew)).toEqual([true, false, true, false]);
  expect([again?.taskId, later?.taskId]).toEqual([first?.taskId, first?.taskId]);
  expect(other?.taskId).not.toBe(first?.taskId);
  expect(first?.taskId).toMatch(new RegExp(`^s${count}-[0-9a-f-]{36}$`));
  expect(await look(ledger, first?.taskId ?? "")).toMatchObject({ status: "running", input: { n: 1 } });
});

describe("reports", () => {
  test("a success keeps the result, a failure the error; both are final", async () => {
    const ledger = newLedger();
    const [good, bad] = await ledger.startTasks([TASK, TASK]);
    if (!good || !bad) throw new Error("nothing was started");
    expect(await ledger.finish(good, { status: "succeeded", result: '{"sum":3}' })).toBe(true);
    expect(await ledger.finish(bad, { status: "failed", error: { name: "TypeError", message: "no" } })).toBe(
      true,
    );
    expect(await ledger.finish(good, { status: "failed", error: { name: "Late", message: "" } })).toBe(false);
    expect(await look(ledger, good.taskId)).toMatchObject({
      status: "succeeded",
      result: { sum: 3 },
      error: null,
    });
    expect(await look(ledger, bad.taskId)).toMatchObject({
      status: "failed",
      result: null,
      error: { name: "TypeError", message: "no" },
    });
    expect((await look(ledger, good.taskId))?.finishedAt).toMatch(/^\d{4}-.*Z$/);
  });

  test("a report with a token that is not the latest is refused", async () => {
    const ledger = newLedger();
    const claim = await startOne(ledger);
    const stale = { ...claim, token: claim.token - 1 };
    expect(await ledger.heartbeat(stale)).toBe(false);
    expect(await ledger.finish(stale, { status: "succeeded", result: "1" })).toBe(false);
    expect((await look(ledger, claim.taskId))?.status).toBe("running");
  });

  test("a report about a task that is not there is refused", async () => {
    expect(await newLedger().heartbeat({ taskId: "s0-none", token: 1 })).toBe(false);
  });
});

describe("a task whose Worker died", () => {
  test("shows as lost at once, before any sweep", async () => {
    const ledger = newLedger();
    const { taskId } = await startOne(ledger);
    await endLease(ledger, taskId);
    expect(await look(ledger, taskId)).toMatchObject({ status: "lost", finishedAt: null, result: null });
  });

  test("is logged by the sweep, once; a living one is left alone", async () => {
    const ledger = newLedger();
    const [dead, alive] = await ledger.startTasks([TASK, TASK]);
    if (!dead || !alive) throw new Error("nothing was started");
    await endLease(ledger, dead.taskId);
    const { lines } = await captureLogs(async () => {
      await ledger.sweep();
      await ledger.sweep();
    });
    expect(lines).toEqual([expect.objectContaining({ level: "warn", taskId: dead.taskId, type: "example" })]);
    expect((await look(ledger, alive.taskId))?.status).toBe("running");
  });

  test("counts again if it turns out to be alive: its heartbeat and its result are taken", async () => {
    const ledger = newLedger();
    const claim = await startOne(ledger);
    await endLease(ledger, claim.taskId);
    await captureLogs(async () => ledger.sweep());
    expect(await ledger.heartbeat(claim)).toBe(true);
    expect((await look(ledger, claim.taskId))?.status).toBe("running");
    await endLease(ledger, claim.taskId);
    expect(await ledger.finish(claim, { status: "succeeded", result: "1" })).toBe(true);
    expect((await look(ledger, claim.taskId))?.status).toBe("succeeded");
  });
});

test("the per-minute cron sweeps every shard", async () => {
  const { default: worker } = await import("../support/worker.ts");
  const { createScheduledController } = await import("cloudflare:test");
  const shards = ["s0", "s1", "s2", "s3"].map((name) => env.TASK_LEDGER.getByName(name));
  const ids = await Promise.all(
    shards.map(async (ledger) => {
      const { taskId } = await startOne(ledger);
      await endLease(ledger, taskId);
      return taskId;
    }),
  );
  const { lines } = await captureLogs(async () => worker.scheduled(createScheduledController(), env));
  expect(new Set(lines.map((line) => line.taskId))).toEqual(new Set(ids));
});
