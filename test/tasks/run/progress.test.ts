/** The progress and the sleeps of a task. */
import { env, runDurableObjectAlarm } from "cloudflare:test";
import { afterEach, describe, expect, test, vi } from "vitest";
import { ledgerOf } from "../../../src/tasks/ledger/shards.ts";
import { MAX_IN_PLACE_SLEEP_MS } from "../../../src/tasks/run/activity.ts";
import { createContext } from "../../../src/tasks/run/context.ts";
import { Interruption } from "../../../src/tasks/run/run.ts";
import {
  fetchTask,
  newType,
  runTasks,
  scriptedLedger,
  someId,
  taskWhen,
  until,
} from "../../support/background.ts";
import { callWorker } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";

keepQuiet();
afterEach(() => {
  vi.useRealTimers();
});

function newContext(script: Parameters<typeof scriptedLedger>[0] = {}, steps: Record<string, string> = {}) {
  const { received, env: scripted } = scriptedLedger(script);
  const interrupt = new AbortController();
  const assignment = { type: "progress", input: "{}", attempt: 1, attemptStartedAtMs: Date.now(), steps };
  const platform = { waitUntil: () => undefined };
  const claim = { taskId: someId(), token: 1 };
  return { ...createContext({ env: scripted, claim, assignment, platform, interrupt }), received, interrupt };
}

describe("progress", () => {
  test.each<[unknown, number]>([
    [0, 0],
    [0.5, 0.5],
    [1, 1],
    [-0.01, 0],
    [1.0000000000000002, 1],
    [1.01, 1],
    [Number.POSITIVE_INFINITY, 1],
    [Number.NEGATIVE_INFINITY, 0],
    // The last ratio stays.
    [Number.NaN, 0.25],
    ["0.75", 0.25],
    [undefined, 0.25],
    [null, 0.25],
    [1n, 0.25],
    [Symbol("half"), 0.25],
    [{ valueOf: () => expect.fail("it was converted") }, 0.25],
  ])("of %o is shown as %s: it never fails the work", async (ratio, shown) => {
    const { context, flush, received } = newContext();
    context.progress(0.25);
    context.progress(ratio as number);
    await flush();
    expect(received.progress).toEqual([[shown, null]]);
  });

  test.each<[unknown, string | null]>([
    ["half", "half"],
    ["", ""],
    [undefined, null],
    [null, null],
    [{ done: 1n }, '{"done":"1n"}'],
    [Symbol("half"), "Symbol(half)"],
    [42, "42"],
    ["half 😀".slice(0, 6), "half \ufffd"],
    ["a\0b", "a\u2400b"],
  ])("with a message is shown as text that can be kept (%#)", async (message, shown) => {
    const { context, flush, received } = newContext();
    context.progress(0.5, message as string);
    await flush();
    expect(received.progress).toEqual([[0.5, shown]]);
  });

  test("is sent once a second, however often it is reported, and the last value at the end", async () => {
    const { context, flush, received } = newContext();
    const beganAtMs = performance.now();
    let ratio = 0;
    for (; performance.now() - beganAtMs < 1_200; await scheduler.wait(10))
      context.progress((ratio = Math.min(1, ratio + 0.001)), `at ${ratio}`);
    context.progress(1, "done");
    await flush();
    expect(received.progress).toHaveLength(3);
    expect(received.progress.at(-1)).toEqual([1, "done"]);
  });

  test("is sent before the end of the run is reported, even if sending is slow", async () => {
    const gate = Promise.withResolvers<void>();
    const arrived: number[] = [];
    let hasBegun = false;
    const { context, flush } = newContext({
      progress: async (_claim: unknown, ratio: number) => {
        hasBegun = true;
        await gate.promise;
        arrived.push(ratio);
      },
    });
    context.progress(1);
    await until(() => hasBegun);
    const settled = flush().then(() => [...arrived]);
    await scheduler.wait(10);
    gate.resolve();
    expect(await settled).toEqual([1]);
  });

  test("has a message of at most 500 characters", async () => {
    const { context, flush, received } = newContext();
    context.progress(0.5, "x".repeat(501));
    await flush();
    expect(received.progress).toEqual([[0.5, "x".repeat(500)]]);
  });

  test("that cannot be sent does not harm the task", async () => {
    const { context, flush } = newContext({ progress: async () => Promise.reject(new Error("restarting")) });
    context.progress(0.5);
    await flush();
  });

  test("throws once the run is interrupted", () => {
    const { context, interrupt } = newContext();
    interrupt.abort(new Interruption("cancelled", "no more"));
    expect(() => context.progress(0.5)).toThrow("no more");
  });

  test("appears in the task and in its events", async () => {
    const type = newType("progress-seen", async (ctx) => {
      ctx.progress(0.25, "a quarter");
      await scheduler.wait(50);
      ctx.progress(0.75);
    });
    const [task] = await runTasks([{ type, input: {} }]);
    expect(task).toMatchObject({ status: "succeeded", progress: { ratio: 0.75, message: null } });
    const { response } = await callWorker(`/tasks/${String(task?.id)}/events`);
    const events = (await response.text()).match(/^event: progress\ndata: .*$/gm) ?? [];
    expect(events.map((text) => JSON.parse(text.slice(text.indexOf("{"))))).toMatchObject([
      { status: "running", attempt: 1, ratio: 0.25, message: "a quarter" },
      { status: "running", attempt: 1, ratio: 0.75, message: null },
    ]);
  });
});

describe("a sleep", () => {
  test("that is short waits in place, and is recorded", async () => {
    const { context, received } = newContext();
    const beganAtMs = Date.now();
    await context.sleep(40);
    await context.sleep(0);
    expect(Date.now() - beganAtMs).toBeGreaterThanOrEqual(39);
    expect(received.steps.map(([name]) => name)).toEqual([" sleep 1.1 40", " sleep 1.2 0"]);
  });

  test("is not confused with a step of the same name", async () => {
    const { context, received } = newContext();
    expect(await context.step("sleep 1.1 0", async () => "mine")).toBe("mine");
    await context.sleep(0);
    expect(received.steps.map(([name]) => name)).toEqual(["sleep 1.1 0", " sleep 1.1 0"]);
  });

  test("that an earlier run began ends when that run would have woken", async () => {
    const before = {
      " sleep 1.1 60000": String(Date.now() - 1),
      " sleep 1.2 60000": String(Date.now() + 60),
    };
    const { context } = newContext({}, before);
    const beganAtMs = performance.now();
    await context.sleep(60_000);
    expect(performance.now() - beganAtMs).toBeLessThan(40);
    await context.sleep(60_000);
    expect(performance.now() - beganAtMs).toBeGreaterThanOrEqual(40);
  });

  test("rejects with the interruption when the run is interrupted", async () => {
    const { context, interrupt } = newContext();
    const sleeps = context.sleep(MAX_IN_PLACE_SLEEP_MS);
    await scheduler.wait(5);
    interrupt.abort(new Interruption("cancelled", "no more"));
    await expect(sleeps).rejects.toThrow(Interruption);
  });

  test("that is long ends the run, to be continued when the sleep is over", async () => {
    const { context, interrupt } = newContext();
    const beganAtMs = Date.now();
    await expect(context.sleep(MAX_IN_PLACE_SLEEP_MS + 1_000)).rejects.toThrow(Interruption);
    expect(interrupt.signal.reason).toMatchObject({ reason: "hand-over" });
    const { notBeforeMs } = interrupt.signal.reason as Interruption;
    expect(notBeforeMs - beganAtMs).toBeGreaterThanOrEqual(MAX_IN_PLACE_SLEEP_MS + 1_000);
    expect(notBeforeMs - beganAtMs).toBeLessThan(MAX_IN_PLACE_SLEEP_MS + 1_500);
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY, 1e300])("of %s ms is rejected at once", async (ms) => {
    const { context, received } = newContext();
    await expect(context.sleep(ms)).rejects.toThrow(RangeError);
    expect(received.steps).toEqual([]);
  });

  test("occupies no slot: the task is scheduled, wakes at its time, and continues after its steps", async () => {
    const done: string[] = [];
    const type = newType("progress-sleeps", async (ctx) => {
      const first = await ctx.step("first", async () => done.push("first"));
      await ctx.sleep(60_000);
      return first + (await ctx.step("second", async () => done.push("second")));
    });
    vi.useFakeTimers({ toFake: ["Date"] });
    const beganAtMs = Date.now();
    const [task] = await runTasks([{ type, input: {} }]);
    const id = String(task?.id);
    const wakesAt = new Date(beganAtMs + 60_000).toISOString();
    expect(task).toMatchObject({ status: "scheduled", runAt: wakesAt, attempt: 1, error: null });

    const ledger = ledgerOf(env, id);
    if (!ledger) throw new Error("no ledger");
    vi.setSystemTime(beganAtMs + 59_999);
    await runDurableObjectAlarm(ledger);
    expect(await fetchTask(id)).toMatchObject({ status: "scheduled" });
    vi.setSystemTime(beganAtMs + 60_000);
    await runDurableObjectAlarm(ledger);
    await taskWhen(id, "running");
    const runner = env.TASK_RUNNER.getByName(`${id}.2`);
    while (!(await runDurableObjectAlarm(runner))) await scheduler.wait(2);
    expect(await fetchTask(id)).toMatchObject({ status: "succeeded", attempt: 1, crashes: 0, result: 3 });
    expect(done).toEqual(["first", "second"]);
  });
});
