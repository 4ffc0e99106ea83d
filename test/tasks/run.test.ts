import {
  abortAllDurableObjects,
  createExecutionContext,
  env,
  runInDurableObject,
  waitOnExecutionContext,
} from "cloudflare:test";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { defineTask, type Start, startTaskOnce, startTasks } from "../../src/tasks/index.ts";
import { HEARTBEAT_MS } from "../../src/tasks/rules.ts";
import { MAX_JSON_LENGTH } from "../../src/tasks/run.ts";
import { allLedgers } from "../../src/tasks/shards.ts";
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

describe("a task that is started once for a key", () => {
  /** Counts how often it runs, with what. */
  function counted() {
    const inputs: unknown[] = [];
    const counts = type("counts", async (_ctx, input) => {
      inputs.push(input);
      return inputs.length;
    });
    const start = async (key: string, input: unknown = {}) => {
      const ctx = createExecutionContext();
      const id = await startTaskOnce(env, ctx, { type: counts, input }, key);
      await waitOnExecutionContext(ctx);
      return id;
    };
    return { inputs, start };
  }

  const taskIds = async () => {
    const shards = allLedgers(env).map(async (ledger) =>
      runInDurableObject(ledger, (_, { storage }) =>
        storage.sql.exec<{ id: string }>("SELECT id FROM task").toArray(),
      ),
    );
    return (await Promise.all(shards)).flat().map(({ id }) => id);
  };

  const newKey = () => crypto.randomUUID();

  test("is one task, which runs once, and has the same id for all", async () => {
    const before = (await taskIds()).length;
    const { inputs, start } = counted();
    const key = newKey();
    const first = await start(key, { n: 1 });
    // Neither the end of the task nor that of the ledger's instance makes it another.
    await abortAllDurableObjects();
    expect([await start(key, { n: 2 }), await start(key, { n: 3 })]).toEqual([first, first]);
    expect(inputs).toEqual([{ n: 1 }]);
    expect(await taskIds()).toHaveLength(before + 1);
    expect((await callForJson(`/tasks/${first}`)).body).toMatchObject({
      id: first,
      status: "succeeded",
      attempt: 1,
      input: { n: 1 },
      result: 1,
    });
  });

  test("is one task, also if all start it at once, or while it runs", async () => {
    const { promise: gate, resolve: goOn } = Promise.withResolvers<void>();
    let runs = 0;
    const waits = type("waits", async () => {
      runs++;
      await gate;
    });
    const ctx = createExecutionContext();
    const [key, start] = [newKey(), { type: waits, input: {} }];
    const ids = await Promise.all(
      Array.from({ length: 10 }, async () => startTaskOnce(env, ctx, start, key)),
    );
    ids.push(await startTaskOnce(env, ctx, start, key));
    goOn();
    await waitOnExecutionContext(ctx);
    expect([new Set(ids).size, runs]).toEqual([1, 1]);
  });

  test("is another one for another key", async () => {
    const { inputs, start } = counted();
    const keys = Array.from({ length: 20 }, newKey);
    const ids = await Promise.all(keys.map(async (key) => start(key, key)));
    expect(new Set(ids).size).toBe(keys.length);
    expect([inputs.length, new Set(inputs)]).toEqual([keys.length, new Set(keys)]);
    expect(new Set(ids.map((id) => id.slice(0, 2))).size).toBeGreaterThan(1);
    expect(await Promise.all(keys.map(async (key) => start(key, key)))).toEqual(ids);
  });

  test("can be started again for its key if its input did not fit", async () => {
    const strict = defineTask({ name: "strict", input: z.object({ n: z.int() }), run: async () => null });
    const [ctx, key] = [createExecutionContext(), newKey()];
    await expect(startTaskOnce(env, ctx, { type: strict, input: { n: "one" } }, key)).rejects.toThrow(
      z.ZodError,
    );
    const id = await startTaskOnce(env, ctx, { type: strict, input: { n: 1 } }, key);
    await waitOnExecutionContext(ctx);
    expect((await callForJson(`/tasks/${id}`)).body).toMatchObject({ status: "succeeded", input: { n: 1 } });
  });
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
