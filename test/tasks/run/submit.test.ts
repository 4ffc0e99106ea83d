import { createExecutionContext, env, runDurableObjectAlarm, waitOnExecutionContext } from "cloudflare:test";
import { afterEach, describe, expect, test, vi } from "vitest";
import { z } from "zod";
import { defineTask, enqueueOnce, getTask, startTaskOnce, startTasks } from "../../../src/tasks/index.ts";
import { LEASE_MS } from "../../../src/tasks/ledger/rules.ts";
import { type Ledger, ledgerOf, ledgerOn } from "../../../src/tasks/ledger/shards.ts";
import type { TaskType } from "../../../src/tasks/types/define.ts";
import { registerTaskTypes } from "../../../src/tasks/types/registry.ts";
import {
  fetchTask,
  newType,
  runTasks,
  until,
  whenEnded,
  taskWhen,
  withLedger,
} from "../../support/background.ts";
import { callForJson } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";

keepQuiet();
afterEach(() => {
  vi.useRealTimers();
});

const input = {};
const newKey = () => crypto.randomUUID();

/** All tasks of a type that there are. */
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
  test("gives an id for each, in their order, and runs them side by side", async () => {
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

  test("has written the tasks when it answers, and they have begun", async () => {
    let goOn = false;
    const type = newType("submit-begun", async () => until(() => goOn));
    const ctx = createExecutionContext();
    const [id] = await startTasks(env, ctx, [{ type, input }]);
    expect(await fetchTask(String(id))).toMatchObject({ status: "running", attempt: 1 });
    goOn = true;
    await waitOnExecutionContext(ctx);
    expect(await fetchTask(String(id))).toMatchObject({ status: "succeeded" });
  });

  test("does not let one that fails stop the others", async () => {
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

  test("starts nothing if one input does not fit", async () => {
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

  test("runs eight of them here, and leaves the rest to the ledger", async () => {
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
    expect(waitUntil).toHaveBeenCalledTimes(8);
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
  /** The real ledgers, whose first submission does not get an answer. */
  function failingOnce(submit: (ledger: Ledger, args: Parameters<Ledger["submit"]>) => Promise<unknown>) {
    let calls = 0;
    const restarting = withLedger((name) => {
      const ledger = ledgerOn(env, name);
      return {
        submit: async (...args: Parameters<Ledger["submit"]>) => {
          if (++calls > 1) return ledger.submit(...args);
          await submit(ledger, args);
          throw new Error("the ledger restarts");
        },
        report: async (...args: Parameters<Ledger["report"]>) => ledger.report(...args),
      };
    });
    return { restarting, calls: () => calls };
  }

  test("before it has written the tasks gets them again", async () => {
    const type = newType("submit-again", async () => "done");
    const { restarting, calls } = failingOnce(async () => undefined);
    const ctx = createExecutionContext();
    const [id] = await startTasks(restarting, ctx, [{ type, input }]);
    await waitOnExecutionContext(ctx);
    expect(calls()).toBe(2);
    expect(await allOf(type)).toEqual([expect.objectContaining({ id, status: "succeeded" })]);
  });

  test("when it has written them keeps each once, and runs it when the claim that got lost is over", async () => {
    let runs = 0;
    const type = newType("submit-unheard", async () => ++runs);
    const { restarting, calls } = failingOnce(async (ledger, args) => ledger.submit(...args));
    vi.useFakeTimers({ toFake: ["Date"] });
    const ctx = createExecutionContext();
    const [started] = await startTasks(restarting, ctx, [{ type, input }]);
    await waitOnExecutionContext(ctx);
    const id = String(started);
    expect([calls(), runs]).toEqual([2, 0]);
    const ledger = ledgerOf(env, id);
    if (!ledger) throw new Error("no ledger");
    vi.setSystemTime(Date.now() + LEASE_MS);
    await runDurableObjectAlarm(ledger);
    await taskWhen(id, "running");
    while (!(await runDurableObjectAlarm(env.TASK_RUNNER.getByName(`${id}.2`)))) await scheduler.wait(2);
    expect(await fetchTask(id)).toMatchObject({ status: "succeeded", attempt: 1, crashes: 1, result: 1 });
    expect(await allOf(type)).toHaveLength(1);
  });

  test("for ever is told to the caller", async () => {
    const type = newType("submit-down", async () => null);
    const hurry = vi.spyOn(scheduler, "wait").mockResolvedValue();
    const down = withLedger(() => ({ submit: async () => Promise.reject(new Error("down")) }));
    await expect(startTasks(down, createExecutionContext(), [{ type, input }])).rejects.toThrow("down");
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

  test("starts one task for a key, whoever asks, at once or later", async () => {
    inputs = [];
    const key = newKey();
    const ids = await Promise.all(Array.from({ length: 5 }, async () => start(key, { n: 1 })));
    ids.push(await start(key, { n: 2 }));
    expect(new Set(ids).size).toBe(1);
    expect(inputs).toEqual([{ n: 1 }]);
    const task = { status: "succeeded", attempt: 1, crashes: 0, input: { n: 1 }, result: 1 };
    expect(await fetchTask(String(ids[0]))).toMatchObject(task);
  });

  test("starts another for another key, on any of the shards", async () => {
    inputs = [];
    const keys = Array.from({ length: 20 }, newKey);
    const ids = await Promise.all(keys.map(async (key) => start(key, key)));
    expect(new Set(ids).size).toBe(20);
    expect(new Set(ids.map((id) => id.slice(0, 2))).size).toBeGreaterThan(1);
    expect(new Set(inputs)).toEqual(new Set(keys));
    expect(await Promise.all(keys.map(async (key) => start(key, key)))).toEqual(ids);
    expect(inputs).toHaveLength(20);
  });

  test("can be asked again if the input did not fit", async () => {
    const [key, ctx] = [newKey(), createExecutionContext()];
    const once = async (n: never) => startTaskOnce(env, ctx, { type: strict, input: { n } }, key);
    await expect(once("one" as never)).rejects.toThrow(z.ZodError);
    const id = await once(1 as never);
    await waitOnExecutionContext(ctx);
    expect(await fetchTask(id)).toMatchObject({ status: "succeeded", input: { n: 1 }, result: 1 });
  });
});

describe("enqueueOnce", () => {
  test("writes one task for a key, which the ledger runs by itself", async () => {
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

  test("is another task than one with another key; nobody knows one that was never written", async () => {
    const type = newType("submit-other", async () => null);
    const ids = await Promise.all([newKey(), newKey()].map(async (key) => enqueueOnce(env, type, {}, key)));
    expect(new Set(ids).size).toBe(2);
    expect(await getTask(env, "s0-00000000-0000-7000-8000-000000000000")).toBeUndefined();
    expect(await getTask(env, "nonsense")).toBeUndefined();
  });

  test("refuses an input that does not fit, and writes nothing", async () => {
    const before = await allOf(strict);
    await expect(enqueueOnce(env, strict, { n: "one" }, newKey())).rejects.toThrow(z.ZodError);
    expect(await allOf(strict)).toEqual(before);
  });
});
