/** What operations cost on the simulated platform, with the limits of the Free plan: no more than bench/cost/budgets.ts says. */
import { env, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { afterAll, beforeAll, expect, test } from "vitest";
import { overBudget } from "../bench/cost/budgets.ts";
import { measureOperation, OPERATIONS, type Site, warmUp } from "../bench/cost/operations.ts";
import { COST_TYPES } from "../bench/cost/types.ts";
import { registerTaskTypes } from "../src/tasks/index.ts";
import { callWorker } from "./support/call.ts";
import { FREE, platform } from "./support/platform/platform.ts";
import { keepQuiet } from "./support/quiet.ts";
import worker from "./support/worker.ts";

keepQuiet();
registerTaskTypes(COST_TYPES);
beforeAll(async () => {
  platform.reset();
  await warmUp(site);
});
afterAll(() => platform.reset());

const settled: Promise<unknown>[] = [];

const site: Site = {
  async call(path, init) {
    const { response, settled: whenSettled } = await callWorker(path, {
      ...(init as RequestInit<IncomingRequestCfProperties>),
    });
    const { status, headers } = response;
    const text = await response.text();
    settled.push(whenSettled());
    return { status, location: headers.get("location"), text };
  },
  async settle() {
    await Promise.all(settled.splice(0));
    for (let n = 0; n < 400 && !platform.isIdle; n++) await scheduler.wait(50);
    if (!platform.isIdle) throw new Error("what was begun does not end");
  },
  rest: async () => {},
  runCron: async () =>
    worker.scheduled({ scheduledTime: Date.now(), cron: "* * * * *", noRetry: () => {} }, env),
  removeTask: async (id) =>
    makeDue(
      env.TASK_LEDGER.getByName(id.slice(0, 2)),
      "UPDATE task SET created_at_ms = 1, finished_at_ms = 1 WHERE id = ?",
      id,
    ),
  tick: async () =>
    makeDue(
      env.SCHEDULER.getByName("schedules"),
      "UPDATE schedule SET next_at_ms = ?1, look_at_ms = ?1",
      justNow(),
    ),
};

const justNow = () => Date.now() - 1;

/** Runs the alarm of an object after its time has come. What the test itself writes does not count. */
async function makeDue(stub: DurableObjectStub, sql: string, value: string | number): Promise<void> {
  const before = { ...platform.total };
  await runInDurableObject(stub, (_, { storage }) => void storage.sql.exec(sql, value));
  platform.total = before;
  // vitest deletes the alarm to run it; the platform does that by itself.
  if (await runDurableObjectAlarm(stub)) platform.total.rowsWritten--;
}

test.for(OPERATIONS.filter(({ isSlow }) => !isSlow))("$name", async (operation) => {
  platform.limits = FREE;
  await measureOperation(operation, site, async (action) => platform.measure(action)); // what only the first time costs
  // Alarms of what was stored before may fire meanwhile, and only add to it.
  let excess: string[] = [];
  for (let tries = 0; tries === 0 || (excess.length > 0 && tries < 4); tries++) {
    const usage = await measureOperation(operation, site, async (action) => platform.measure(action));
    excess = overBudget(operation.name, usage);
  }
  expect(excess).toEqual([]);
});
