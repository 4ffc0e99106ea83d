/** What happens to tasks when the time of their request is up, on the real runtime. */
import { afterAll, beforeAll, describe, test } from "vitest";
import { type Body, TasksServer } from "../../support/node/tasks-server.ts";

/** `waitUntil` is cut after 3 s, so the fast lane hands over after 2.5 s. */
const CUT_SECONDS = 3;
/** Of `e2e-deaf`: its whole run takes longer than that. */
const DEAF_TICKS = 27;
const DEAF_TICK_MS = 125;
const server = new TasksServer({ WAIT_UNTIL_CUT_SECONDS: CUT_SECONDS });

beforeAll(async () => server.start());
afterAll(async () => server[Symbol.asyncDispose]());

describe("a task that takes longer than its request may take", () => {
  test.concurrent("continues after its recorded steps, and repeats none of them", async ({ expect }) => {
    const id = await server.submit("e2e-steps");
    expect(await server.success(id)).toMatchObject({ attempt: 1, crashes: 0, result: "first, last" });
    expect(await server.logged(id, "last step done", 1)).toHaveLength(1);
    expect(await server.logged(id, "first step done", 1)).toHaveLength(1);
    expect(await server.logged(id, "task handed over", 1)).toMatchObject([{ taskId: id, attempt: 1 }]);
    // It need not wait until the invocation of its first run must be over: that run has stopped by itself.
    expect(await server.statusesOf(id)).toEqual(["running", "queued", "running", "succeeded"]);
  });

  test.concurrent("is cut if it ignores its signal, and only then run again", async ({ expect }) => {
    const id = await server.submit("e2e-deaf");
    const { result, attempt, crashes } = await server.success(id);
    const ticks = await server.logged(id, "tick", DEAF_TICKS + 11);
    const first = ticks.filter(({ run }) => run !== result);
    const second = ticks.filter(({ run }) => run === result);
    expect(second).toHaveLength(DEAF_TICKS);
    const times = (lines: Body[]) => lines.map(({ atMs }) => Number(atMs));
    expect([attempt, crashes, new Set(first.map(({ run }) => run)).size]).toEqual([1, 0, 1]);
    expect(await server.statusesOf(id)).toEqual(["running", "scheduled", "queued", "running", "succeeded"]);
    expect(first.length).toBeGreaterThan(10);
    expect(first.length).toBeLessThanOrEqual((CUT_SECONDS * 1000) / DEAF_TICK_MS + 1);
    expect(Math.min(...times(second))).toBeGreaterThan(Math.max(...times(first)));
  });

  test.concurrent("succeeds, for those of /run-tasks too", async ({ expect }) => {
    const ids = await server.runTasks();
    const ended = await Promise.all(ids.map(async (id) => server.success(id)));
    expect(ended).toMatchObject([
      { type: "task_a", result: "Task A completed.", attempt: 1, crashes: 0 },
      { type: "task_b", result: "Task B completed.", attempt: 1, crashes: 0 },
    ]);
    const handedOver = await Promise.all(ids.map(async (id, i) => server.logged(id, "task handed over", i)));
    expect(handedOver.map((lines) => lines.length)).toEqual([0, 1]);
  });
});
