import { createExecutionContext, env, waitOnExecutionContext } from "cloudflare:test";
import { afterEach, describe, expect, expectTypeOf, test, vi } from "vitest";
import { z } from "zod";
import { defineTask, enqueueOnce, getTask, startTaskOnce, startTasks } from "../../../src/tasks/index.ts";
import { type Ledger, ledgerOf, ledgerOn } from "../../../src/tasks/ledger/shards.ts";
import type { TaskType } from "../../../src/tasks/types/define.ts";
import { registerTaskTypes } from "../../../src/tasks/types/registry.ts";
import { fetchTask, newType, runTasks, until, whenEnded, withLedger } from "../../support/background.ts";
import { callForJson, captureLogs } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";

keepQuiet();
afterEach(() => {
  vi.useRealTimers();
});

const input = {};
const newKey = () => crypto.randomUUID();

/** All tasks of a type. */
async function allOf({ name }: TaskType) {
  const { body } = await callForJson(`/tasks?type=${name}&limit=500`);
  return z.object({ tasks: z.array(z.object({ id: z.string(), status: z.string() })) }).parse(body).tasks;
}

const strict = defineTask({
  name: "submit-strict",
  input: z.object({ n: z.int() }),
  run: async (_ctx, { n }) => n,
});
registerTaskTypes([strict]);

describe("startTasks", () => {
  test("returns an id for each task, in order, and runs them concurrently", async () => {
    const rendezvous = Promise.withResolvers<string>();
    const waits = newType("submit-waits", () => rendezvous.promise);
    const meets = newType("submit-meets", async () => rendezvous.resolve("met"));
    const tasks = await runTasks([
      { type: waits, input },
      { type: meets, input },
    ]);
    expect(tasks).toMatchObject([
      { type: "submit-waits", status: "succeeded", attempt: 1, result: "met" },
      { type: "submit-meets", status: "succeeded", attempt: 1, result: null },
    ]);
    expect(new Set(tasks.map(({ id }) => String(id).slice(0, 2))).size).toBe(1);
  });

  test("returns when the tasks are written and have started", async () => {
    let goOn = false;
    const type = newType("submit-begun", async () => until(() => goOn));
    const ctx = createExecutionContext();
    const [id] = await startTasks(env, ctx, [{ type, input }]);
    expect(await fetchTask(String(id))).toMatchObject({ status: "running", attempt: 1 });
    goOn = true;
    await waitOnExecutionContext(ctx);
    expect(await fetchTask(String(id))).toMatchObject({ status: "succeeded" });
  });

  test("runs the others even if one fails", async () => {
    const fails = newType("submit-fails", async () => Promise.reject(new RangeError("too far")), {
      retry: { retries: 0 },
    });
    const works = newType("submit-works", async () => "done");
    const tasks = await runTasks([
      { type: fails, input },
      { type: works, input },
    ]);
    expect(tasks).toMatchObject([{ status: "failed" }, { status: "succeeded", result: "done" }]);
  });

  test("starts no task if one input does not fit", async () => {
    const works = newType("submit-beside", async () => null);
    const start = async (n: unknown) =>
      runTasks([
        { type: works, input },
        { type: strict, input: { n } },
      ]);
    await expect(start("one")).rejects.toThrow(z.ZodError);
    expect([...(await allOf(works)), ...(await allOf(strict))]).toEqual([]);
    expect(await start(1)).toMatchObject([{ status: "succeeded" }, { status: "succeeded", result: 1 }]);
    expect([await allOf(works), await allOf(strict)]).toMatchObject([[{}], [{}]]);
  });

  test("runs eight tasks in the invocation, and leaves the others to the ledger", async () => {
    let [begun, goOn] = [0, false];
    const type = newType("submit-many", async () => {
      begun++;
      await until(() => goOn);
    });
    const ctx = createExecutionContext();
    const waitUntil = vi.spyOn(ctx, "waitUntil");
    const ids = await startTasks(
      env,
      ctx,
      Array.from({ length: 20 }, () => ({ type, input })),
    );
    // Besides, the call that writes them.
    expect(waitUntil).toHaveBeenCalledTimes(9);
    await until(() => begun === 20);
    const rows = await Promise.all(ids.map(async (id) => ledgerOf(env, id)?.getTask(id)));
    expect(rows.map((row) => String(row?.lane)).toSorted()).toEqual([
      ...Array.from({ length: 8 }, () => "fast"),
      ...Array.from({ length: 12 }, () => "long"),
    ]);
    goOn = true;
    const ended = await Promise.all(ids.map(whenEnded));
    expect(new Set(ended.map(({ status }) => status))).toEqual(new Set(["succeeded"]));
    expect(begun).toBe(20);
  });
});

describe("a ledger that restarts", () => {
  /** The real ledgers, of which the first call that carries tasks gets no reply. */
  function failingOnce(commit: (ledger: Ledger, args: Parameters<Ledger["commit"]>) => Promise<unknown>) {
    let calls = 0;
    const restarting = withLedger((name) => {
      const ledger = ledgerOn(env, name);
      return {
        commit: async (...args: Parameters<Ledger["commit"]>) => {
          if (args[0].length === 0 || ++calls > 1) return ledger.commit(...args);
          await commit(ledger, args);
          throw new Error("the ledger restarts");
        },
      };
    });
    return { restarting, calls: () => calls };
  }

  test("before it has written the tasks receives them again", async () => {
    const type = newType("submit-again", async () => "done");
    const { restarting, calls } = failingOnce(async () => undefined);
    const ctx = createExecutionContext();
    const [id] = await startTasks(restarting, ctx, [{ type, input }]);
    await waitOnExecutionContext(ctx);
    expect(calls()).toBe(2);
    expect(await allOf(type)).toEqual([expect.objectContaining({ id, status: "succeeded" })]);
  });

  test("after it has written the tasks keeps each once, and gives the claim again", async () => {
    let runs = 0;
    const type = newType("submit-unheard", async () => ++runs);
    const { restarting, calls } = failingOnce(async (ledger, args) => ledger.commit(...args));
    const ctx = createExecutionContext();
    const [id] = await startTasks(restarting, ctx, [{ type, input }]);
    await waitOnExecutionContext(ctx);
    expect([calls(), runs]).toEqual([2, 1]);
    expect(await allOf(type)).toEqual([expect.objectContaining({ id, status: "succeeded" })]);
    expect(await fetchTask(String(id))).toMatchObject({ attempt: 1, crashes: 0 });
  });

  test("forever makes startTasks throw a problem, whose cause is in the log", async () => {
    const type = newType("submit-down", async () => null);
    const hurry = vi.spyOn(scheduler, "wait").mockResolvedValue();
    const down = withLedger(() => ({ commit: async () => Promise.reject(new Error("down")) }));
    const { lines } = await captureLogs(async () =>
      expect(startTasks(down, createExecutionContext(), [{ type, input }])).rejects.toMatchObject({
        kind: "ledger-unavailable",
      }),
    );
    expect(lines).toMatchObject([{ level: "error", count: 1, error: "Error: down" }]);
    hurry.mockRestore();
    expect(await allOf(type)).toEqual([]);
  });
});

describe("startTaskOnce", () => {
  let inputs: unknown[] = [];
  const counts = defineTask({
    name: "submit-once",
    input: z.unknown(),
    run: async (_ctx, given) => inputs.push(given),
  });
  registerTaskTypes([counts]);
  const start = async (key: string, given: unknown = {}) => {
    const ctx = createExecutionContext();
    const id = await startTaskOnce(env, ctx, { type: counts, input: given }, key);
    await waitOnExecutionContext(ctx);
    return id;
  };

  test("starts one task per key, for concurrent and for later calls", async () => {
    inputs = [];
    const key = newKey();
    const ids = await Promise.all(Array.from({ length: 5 }, async () => start(key, { n: 1 })));
    ids.push(await start(key, { n: 2 }));
    expect(new Set(ids).size).toBe(1);
    expect(inputs).toEqual([{ n: 1 }]);
    const task = { status: "succeeded", attempt: 1, crashes: 0, input: { n: 1 }, result: 1 };
    expect(await fetchTask(String(ids[0]))).toMatchObject(task);
  });

  test("starts another task for another key, on any shard", async () => {
    inputs = [];
    const keys = Array.from({ length: 20 }, newKey);
    const ids = await Promise.all(keys.map(async (key) => start(key, key)));
    expect(new Set(ids).size).toBe(20);
    expect(new Set(ids.map((id) => id.slice(0, 2))).size).toBeGreaterThan(1);
    expect(new Set(inputs)).toEqual(new Set(keys));
    expect(await Promise.all(keys.map(async (key) => start(key, key)))).toEqual(ids);
    expect(inputs).toHaveLength(20);
  });

  test("can be repeated if the input did not fit", async () => {
    const [key, ctx] = [newKey(), createExecutionContext()];
    const once = async (n: number) => startTaskOnce(env, ctx, { type: strict, input: { n } }, key);
    await expect(once("one" as never)).rejects.toThrow(z.ZodError);
    const id = await once(1);
    await waitOnExecutionContext(ctx);
    expect(await fetchTask(id)).toMatchObject({ status: "succeeded", input: { n: 1 }, result: 1 });
  });
});

describe("enqueueOnce", () => {
  test("writes one task per key, which the ledger runs by itself", async () => {
    const lanes: unknown[] = [];
    const type = newType("submit-enqueued", async ({ taskId }) => {
      lanes.push((await ledgerOf(env, taskId)?.getTask(taskId))?.lane);
      return "done";
    });
    const key = newKey();
    const ids = await Promise.all([1, 2, 3].map(async (n) => enqueueOnce(env, type, { n }, key)));
    const [id] = ids;
    expect(new Set(ids).size).toBe(1);
    expect(await whenEnded(String(id))).toMatchObject({ status: "succeeded", attempt: 1, result: "done" });
    expect(await enqueueOnce(env, type, { n: 4 }, key)).toBe(id);
    expect(lanes).toEqual(["long"]);
    expect(await getTask(env, String(id))).toMatchObject({ id, status: "succeeded" });
  });

  test("writes another task for another key; getTask does not find ids that were never written", async () => {
    const type = newType("submit-other", async () => null);
    const ids = await Promise.all([newKey(), newKey()].map(async (key) => enqueueOnce(env, type, {}, key)));
    expect(new Set(ids).size).toBe(2);
    expect(await getTask(env, "s0-00000000-0000-7000-8000-000000000000")).toBeUndefined();
    expect(await getTask(env, "nonsense")).toBeUndefined();
  });

  test("rejects an input that does not fit, and writes nothing", async () => {
    const before = await allOf(strict);
    const wrong = { n: "one" } as unknown as { n: number };
    await expect(enqueueOnce(env, strict, wrong, newKey())).rejects.toThrow(z.ZodError);
    expect(await allOf(strict)).toEqual(before);
  });
});

describe("a task type that is not registered", () => {
  const body = { input: z.object({ n: z.int() }), run: async () => null };
  const missing = defineTask({ ...body, name: "submit-missing" });
  const copy = { ...strict };
  const ctx = createExecutionContext();
  const works = newType("submit-registered", async () => null);

  test.each<[string, string, () => Promise<unknown>]>([
    ["startTasks", "submit-missing", async () => startTasks(env, ctx, [{ type: missing, input: { n: 1 } }])],
    [
      "startTasks, in a batch,",
      "submit-missing",
      async () =>
        startTasks(env, ctx, [
          { type: works, input },
          { type: missing, input: { n: 1 } },
        ]),
    ],
    [
      "startTaskOnce",
      "submit-missing",
      async () => startTaskOnce(env, ctx, { type: missing, input: { n: 1 } }, newKey()),
    ],
    ["enqueueOnce", "submit-missing", async () => enqueueOnce(env, missing, { n: 1 }, newKey())],
    [
      "startTasks, for another type of a registered name,",
      "submit-strict",
      async () => startTasks(env, ctx, [{ type: copy, input: { n: 1 } }]),
    ],
  ])(
    "%s throws a TypeError that names %s and the file of the list, and starts nothing",
    async (_, name, start) => {
      const before = await allOf(strict);
      const error = await start().catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(TypeError);
      expect((error as TypeError).message).toContain(`"${name}"`);
      expect((error as TypeError).message).toContain("src/jobs/task-types.ts");
      expect([await allOf(missing), await allOf(works), await allOf(strict)]).toEqual([[], [], before]);
    },
  );

  test("can be started once it is registered", async () => {
    registerTaskTypes([missing]);
    const [task] = await runTasks([{ type: missing, input: { n: 1 } }]);
    expect(task).toMatchObject({ status: "succeeded" });
  });
});

/** These calls are never made: the compiler checks them. */
describe("the compiler", () => {
  const text = defineTask({
    name: "submit-typed-text",
    input: z.object({ text: z.string(), times: z.int().default(1) }),
    run: async () => null,
  });
  const ctx = createExecutionContext();

  test("accepts inputs that fit, each by its own type", () => {
    const calls = () => [
      startTasks(env, ctx, []),
      startTasks(env, ctx, [
        { type: text, input: { text: "a" } },
        { type: strict, input: { n: 1 } },
      ]),
      startTasks(
        env,
        ctx,
        [1, 2].map((n) => ({ type: strict, input: { n } })),
      ),
      startTaskOnce(env, ctx, { type: text, input: { text: "a", times: 2 } }, "key"),
      enqueueOnce(env, strict, { n: 1 }, "key"),
    ];
    expectTypeOf(calls).returns.toEqualTypeOf<(Promise<string> | Promise<string[]>)[]>();
  });

  test("rejects every input that does not fit", () => {
    const wrongStarts = ["a"].map((n) => ({ type: strict, input: { n } }));
    const calls = () => [
      // @ts-expect-error -- a wrong member
      startTasks(env, ctx, [{ type: strict, input: { wrong: 1 } }]),
      startTasks(env, ctx, [
        { type: text, input: { text: "a" } },
        // @ts-expect-error -- a wrong member in the second element
        { type: strict, input: { wrong: 1 } },
      ]),
      startTasks(env, ctx, [
        // @ts-expect-error -- a wrong type in the first element
        { type: text, input: { text: 1 } },
        { type: strict, input: { n: 1 } },
      ]),
      startTasks(env, ctx, [
        // @ts-expect-error -- the input of the other type
        { type: text, input: { n: 1 } },
        // @ts-expect-error -- the input of the other type
        { type: strict, input: { text: "a" } },
      ]),
      // @ts-expect-error -- a list made at runtime
      startTasks(env, ctx, wrongStarts),
      // @ts-expect-error -- a missing member
      startTaskOnce(env, ctx, { type: text, input: {} }, "key"),
      // @ts-expect-error -- a wrong type
      enqueueOnce(env, strict, { n: "one" }, "key"),
    ];
    expectTypeOf(calls).toBeFunction();
  });
});
