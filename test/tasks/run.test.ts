import { abortAllDurableObjects, createExecutionContext, env, waitOnExecutionContext } from "cloudflare:test";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { defineTask, type Start, startTasks } from "../../src/tasks/index.ts";
import { HEARTBEAT_MS } from "../../src/tasks/rules.ts";
import { MAX_JSON_LENGTH } from "../../src/tasks/run.ts";
import { callForJson, captureLogs } from "../support/call.ts";

const anything = z.unknown();
const type = (name: string, run: Start["type"]["run"]) => defineTask({ name, input: anything, run });

/** Starts the tasks, waits till all are over, and gives what the front door says of each. */
async function runAll(starts: Start[]) {
  const ctx = createExecutionContext();
  const { value: ids, lines } = await captureLogs(async () => {
    const started = await startTasks(env, ctx, starts);
    await waitOnExecutionContext(ctx);
    return started;
  });
  const tasks = await Promise.all(ids.map(async (id) => (await callForJson(`/tasks/${id}`)).body));
  return { tasks, lines };
}

describe("tasks that are started together", () => {
  test("run side by side: the first can wait for the second", async () => {
    const rendezvous = Promise.withResolvers<string>();
    const waits = type("waits", () => rendezvous.promise);
    const meets = type("meets", async () => rendezvous.resolve("met"));
    const { tasks } = await runAll([
      { type: waits, input: {} },
      { type: meets, input: {} },
    ]);
    expect(tasks).toMatchObject([
      { status: "succeeded", result: "met" },
      { status: "succeeded", result: null },
    ]);
  });

  test("do not stop each other by failing", async () => {
    const fails = type("fails", async () => {
      throw new RangeError("too far");
    });
    const works = type("works", async () => ({ done: true }));
    const { tasks, lines } = await runAll([
      { type: fails, input: {} },
      { type: works, input: {} },
    ]);
    expect(tasks).toMatchObject([
      { status: "failed", error: { name: "RangeError", message: "too far" }, result: null },
      { status: "succeeded", result: { done: true }, error: null },
    ]);
    expect(lines).toEqual([
      expect.objectContaining({
        level: "error",
        message: "task failed",
        type: "fails",
        taskId: tasks[0]?.id,
        attempt: 1,
        stack: expect.any(String),
      }),
    ]);
  });
});

test("what a task logs carries its id, type and attempt", async () => {
  const talks = type("talks", async (ctx) => ctx.log("info", "half way", { percent: 50 }));
  const { tasks, lines } = await runAll([{ type: talks, input: {} }]);
  expect(lines).toEqual([
    { level: "info", message: "half way", percent: 50, taskId: tasks[0]?.id, type: "talks", attempt: 1 },
  ]);
});

test("a result that no JSON can hold, or too much of it, fails the task and says so", async () => {
  const circular: Record<string, unknown> = {};
  circular.self = circular;
  const results = [circular, () => {}, 10n, "x".repeat(MAX_JSON_LENGTH)];
  const { tasks } = await runAll(
    results.map((result) => ({ type: type("odd", async () => result), input: {} })),
  );
  expect(tasks).toMatchObject(
    results.map(() => ({ status: "failed", error: { message: expect.any(String) } })),
  );
});

test("an input that does not fit starts nothing", async () => {
  const strict = defineTask({ name: "strict", input: z.object({ n: z.int() }), run: async () => null });
  const works = type("works", async () => null);
  const starts: Start[] = [
    { type: works, input: {} },
    { type: strict, input: { n: "one" } },
  ];
  await expect(startTasks(env, createExecutionContext(), starts)).rejects.toThrow(z.ZodError);
});

test("an input is given to the task as its schema made it", async () => {
  const doubles = defineTask({
    name: "doubles",
    input: z.object({ n: z.int().default(21) }),
    run: async (_ctx, { n }) => 2 * n,
  });
  const { tasks } = await runAll([{ type: doubles, input: {} }]);
  expect(tasks).toMatchObject([{ input: { n: 21 }, result: 42 }]);
});

test.each([
  ["an error that is its own cause", () => Object.assign(new Error("odd"), { cause: undefined })],
  ["what cannot be shown", () => Object.create(null)],
  ["nothing", () => undefined],
  ["a message of three million characters", () => new Error("x".repeat(3_000_000))],
])("a task that throws %s has failed all the same", async (_name, make) => {
  const throws = type("throws", async () => {
    const thrown: unknown = make();
    if (thrown instanceof Error && thrown.message === "odd") thrown.cause = thrown;
    throw thrown;
  });
  const { tasks } = await runAll([{ type: throws, input: {} }]);
  expect(tasks).toMatchObject([{ status: "failed", error: { name: "Error", message: expect.any(String) } }]);
  expect(JSON.stringify(tasks).length).toBeLessThan(10_000);
});

test("a task that takes longer than a heartbeat renews its claim", async () => {
  let lease: unknown[] = [];
  const slow = type("slow", async ({ taskId }) => {
    const ledger = env.TASK_LEDGER.getByName(taskId.slice(0, 2));
    const before = await ledger.getTask(taskId);
    await scheduler.wait(HEARTBEAT_MS + 500);
    const after = await ledger.getTask(taskId);
    lease = [before?.lease_ends_at_ms, after?.lease_ends_at_ms];
  });
  const { tasks } = await runAll([{ type: slow, input: {} }]);
  expect(tasks).toMatchObject([{ status: "succeeded" }]);
  expect(Number(lease[1]) - Number(lease[0])).toBeGreaterThanOrEqual(HEARTBEAT_MS - 100);
});

test("the end of a task is reported again when the ledger does not take it at first", async () => {
  let tries = 0;
  const flaky = {
    getByName: (name: string) => {
      const ledger = env.TASK_LEDGER.getByName(name);
      return {
        startTasks: (tasks: Parameters<typeof ledger.startTasks>[0]) => ledger.startTasks(tasks),
        finish: async (...args: Parameters<typeof ledger.finish>) => {
          if (++tries < 3) throw new Error("the ledger restarts");
          return ledger.finish(...args);
        },
      };
    },
  };
  const ctx = createExecutionContext();
  const quick = type("quick", async () => "done");
  const [id] = await startTasks({ ...env, TASK_LEDGER: flaky } as never, ctx, [{ type: quick, input: {} }]);
  await waitOnExecutionContext(ctx);
  expect(tries).toBe(3);
  expect((await callForJson(`/tasks/${id}`)).body).toMatchObject({ status: "succeeded", result: "done" });
});

test("the end of a task is reported although the ledger restarts meanwhile", async () => {
  const survives = type("survives", async () => {
    await abortAllDurableObjects();
    return "made it";
  });
  const { tasks } = await runAll([{ type: survives, input: {} }]);
  expect(tasks).toMatchObject([{ status: "succeeded", result: "made it" }]);
});

describe("GET /tasks/{id}", () => {
  test.each([
    "nonsense",
    "s0-00000000-0000-7000-8000-000000000000",
    "s99-00000000-0000-7000-8000-000000000000",
    "%F0%9F%98%80",
  ])("%s is a 404", async (id) => {
    const { status, body } = await callForJson(`/tasks/${id}`);
    expect(status).toBe(404);
    expect(body.type).toBe("urn:sluice:problem:not-found");
  });
});

test.each(["", "a b", "ä", "x".repeat(65)])("%j cannot be the name of a task type", (name) => {
  expect(() => type(name, async () => null)).toThrow(TypeError);
});
