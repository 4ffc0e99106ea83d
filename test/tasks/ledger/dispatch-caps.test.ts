/** Types with a concurrency, and the order in which their queued tasks run. */
import { createExecutionContext, env, waitOnExecutionContext } from "cloudflare:test";
import { describe, expect, test } from "vitest";
import { enqueueOnce, startTasks } from "../../../src/tasks/index.ts";
import { newType, until, whenEnded } from "../../support/background.ts";
import { callForJson } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";

keepQuiet();

const input = {};

/** Code that counts how many of its runs are concurrent. */
function countedRun() {
  const count = { now: 0, max: 0, runs: 0 };
  const run = async () => {
    count.now++;
    count.runs++;
    count.max = Math.max(count.max, count.now);
    await scheduler.wait(15);
    count.now--;
  };
  return { count, run };
}

describe("of a type with a concurrency of 2, at most two tasks run at once", () => {
  test("in both lanes together", async () => {
    const { count, run } = countedRun();
    const lanes = new Set<unknown>();
    const type = newType(
      "caps-two",
      async ({ taskId }) => {
        await run();
        lanes.add((await env.TASK_LEDGER.getByName(taskId.slice(0, 2)).getTask(taskId))?.lane);
      },
      { concurrency: 2 },
    );
    const ctx = createExecutionContext();
    const starts = (length: number) => Array.from({ length }, () => ({ type, input }));
    // Two of them run in the fast lane; the others come while these run, and wait for the long lane.
    const first = await startTasks(env, ctx, starts(4));
    const others = await Promise.all([
      startTasks(env, ctx, starts(4)),
      ...Array.from({ length: 4 }, async () => [await enqueueOnce(env, type, input, crypto.randomUUID())]),
    ]);
    const ids = [first, ...others].flat();
    const ended = await Promise.all(ids.map(whenEnded));
    await waitOnExecutionContext(ctx);
    expect(ended.map(({ status }) => status)).toEqual(Array.from({ length: 12 }, () => "succeeded"));
    expect(count).toEqual({ now: 0, max: 2, runs: 12 });
    expect(lanes).toEqual(new Set(["fast", "long"]));
    expect(new Set(ids.map((id) => id.slice(0, 2))).size).toBe(1);
  });

  test("even if they fail and are retried", async () => {
    const { count, run } = countedRun();
    const type = newType(
      "caps-failing",
      async ({ attempt }) => {
        await run();
        if (attempt === 1) throw new Error("not yet");
      },
      { concurrency: 2, retry: { minDelayMs: 0, maxDelayMs: 0 } },
    );
    const ids = await startTasks(
      env,
      createExecutionContext(),
      Array.from({ length: 6 }, () => ({ type, input })),
    );
    const ended = await Promise.all(ids.map(whenEnded));
    expect(ended.map(({ attempt }) => attempt)).toEqual([2, 2, 2, 2, 2, 2]);
    expect(count).toEqual({ now: 0, max: 2, runs: 12 });
  });

  test("while tasks of other types pass them", async () => {
    let goOn = false;
    const full = newType("caps-full", async () => until(() => goOn), { concurrency: 1 });
    const free = newType("caps-free", async () => "past");
    const key = () => crypto.randomUUID();
    const held = await Promise.all([1, 2, 3].map(async () => enqueueOnce(env, full, input, key())));
    const passing = await Promise.all(
      Array.from({ length: 12 }, async () => enqueueOnce(env, free, input, key())),
    );
    const passed = await Promise.all(passing.map(whenEnded));
    expect(new Set(passed.map(({ result }) => result))).toEqual(new Set(["past"]));
    goOn = true;
    await Promise.all(held.map(whenEnded));
  });
});

test("queued tasks run by priority, and then in order of arrival", async () => {
  let goOn = false;
  const order: string[] = [];
  const type = newType(
    "caps-priority",
    async ({ taskId }) => {
      order.push(taskId);
      await until(() => goOn);
    },
    { concurrency: 1 },
  );
  const submit = async (priority: number) => {
    const body = JSON.stringify({ type: type.name, priority });
    const headers = { "Content-Type": "application/json" };
    const { body: link, status } = await callForJson("/tasks", { method: "POST", headers, body });
    expect(status).toBe(202);
    return String(link.id);
  };
  const first = await enqueueOnce(env, type, input, crypto.randomUUID());
  await until(() => order.length === 1);
  const ids: string[] = [];
  for (const priority of [0, 5, 0, 9, 5]) ids.push(await submit(priority));
  goOn = true;
  await Promise.all(ids.map(whenEnded));
  const [low, high, lowToo, highest, highToo] = ids;
  expect(order).toEqual([first, highest, high, highToo, low, lowToo]);
});
