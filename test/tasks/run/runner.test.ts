/** The long lane, on the real runtime: the alarm of a separate object runs each task. */

import { createExecutionContext, env, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { afterEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { enqueueOnce, startTasks } from "../../../src/tasks/index.ts";
import type { Claim } from "../../../src/tasks/ledger/claim.ts";
import { HEARTBEAT_MS, LEASE_MS, RUNNER_LEASE_MS } from "../../../src/tasks/ledger/rules.ts";
import { ledgerOf } from "../../../src/tasks/ledger/shards.ts";
import type { TaskRunner } from "../../../src/tasks/run/runner.ts";
import type { TaskType } from "../../../src/tasks/types/define.ts";
import {
  fetchTask,
  newType,
  runTasks,
  submitUnchecked,
  taskWhen,
  until,
  untilAborted,
  whenEnded,
} from "../../support/background.ts";
import { callForJson, captureLogs } from "../../support/call.ts";
import { PAID, platform } from "../../support/platform/platform.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { expectRuntimeErrors } from "../../support/runtime-errors.ts";

// The runner aborts itself.
expectRuntimeErrors("The task was abandoned");
keepQuiet();
afterEach(() => {
  vi.useRealTimers();
});

const HOUR_MS = 3_600_000;
const long = { lane: "long" } as const;
const input = {};

const runnerOf = ({ taskId, token }: Claim) => env.TASK_RUNNER.getByName(`${taskId}.${token}`);

/** Everything that a runner stores. */
async function contentOf(claim: Claim) {
  return runInDurableObject(runnerOf(claim), async (_runner: TaskRunner, { storage }) => ({
    kept: Object.fromEntries(await storage.list()),
    alarm: await storage.getAlarm(),
  }));
}

/** A claim from the ledger that no run has started yet. */
async function claimOf(type: TaskType): Promise<Claim> {
  const { claim } = await submitUnchecked(type.name, {}, "fast");
  if (!claim) throw new Error("there is no claim");
  return claim;
}

async function cancel(id: string) {
  return (await callForJson(`/tasks/${id}/cancel`, { method: "POST" })).body;
}

describe("a task of the long lane", () => {
  test("is run by a runner, which leaves nothing behind", async () => {
    let goOn = false;
    const type = newType(
      "runner-long",
      async (ctx) => {
        await until(() => goOn);
        return ctx.step("one", async () => "in a runner");
      },
      long,
    );
    const [queued] = await runTasks([{ type, input }]);
    const id = String(queued?.id);
    const claim = { taskId: id, token: 1 };
    await taskWhen(id, "running");
    await expect
      .poll(async () => contentOf(claim))
      .toMatchObject({ kept: { claim, hasBegun: env.CF_VERSION_METADATA.id } });
    goOn = true;
    expect(await whenEnded(id)).toMatchObject({ status: "succeeded", attempt: 1, result: "in a runner" });
    await expect.poll(async () => contentOf(claim)).toEqual({ kept: {}, alarm: null });
  });

  test("that fails is run again by another runner", async () => {
    const type = newType(
      "runner-fails",
      async ({ attempt }) => {
        if (attempt === 1) throw new Error("not yet");
        return attempt;
      },
      { ...long, retry: { minDelayMs: 0, maxDelayMs: 0 } },
    );
    const id = await enqueueOnce(env, type, input, crypto.randomUUID());
    expect(await whenEnded(id)).toMatchObject({ status: "succeeded", attempt: 2, result: 2 });
    await expect.poll(async () => contentOf({ taskId: id, token: 1 })).toEqual({ kept: {}, alarm: null });
    await expect.poll(async () => contentOf({ taskId: id, token: 2 })).toEqual({ kept: {}, alarm: null });
  });

  test("is told of its cancellation at once", async () => {
    let abortedAtMs = 0;
    const type = newType(
      "runner-cancelled",
      async ({ signal }) => {
        signal.addEventListener("abort", () => {
          abortedAtMs = performance.now();
        });
        return untilAborted(signal);
      },
      long,
    );
    const id = await enqueueOnce(env, type, input, crypto.randomUUID());
    await expect
      .poll(async () => contentOf({ taskId: id, token: 1 }))
      .toMatchObject({ kept: { hasBegun: env.CF_VERSION_METADATA.id } });
    const cancelledAtMs = performance.now();
    expect(await cancel(id)).toMatchObject({ status: "cancelling" });
    expect(await whenEnded(id)).toMatchObject({ status: "cancelled", result: null });
    // With a heartbeat, it could take five seconds.
    expect(abortedAtMs - cancelledAtMs).toBeLessThan(1_000);
  });
});

describe("a runner", () => {
  test("that is started twice with a claim runs it once", async () => {
    let [runs, goOn] = [0, false];
    const type = newType("runner-twice", async () => {
      runs++;
      await until(() => goOn);
    });
    const claim = await claimOf(type);
    await Promise.all([runnerOf(claim).start(claim), runnerOf(claim).start(claim)]);
    await until(() => runs > 0);
    await runnerOf(claim).start(claim);
    goOn = true;
    expect(await whenEnded(claim.taskId)).toMatchObject({ status: "succeeded", attempt: 1, crashes: 0 });
    await expect.poll(async () => contentOf(claim)).toEqual({ kept: {}, alarm: null });
    // A further start, after the run has ended.
    await runnerOf(claim).start(claim);
    await expect.poll(async () => contentOf(claim)).toEqual({ kept: {}, alarm: null });
    expect(runs).toBe(1);
  });

  test("that finds its run already begun reports a crash, and another runner runs the task", async () => {
    const runs: number[] = [];
    const type = newType("runner-crashed", async ({ attempt }) => {
      runs.push(attempt);
      return "at last";
    });
    const claim = await claimOf(type);
    await runInDurableObject(runnerOf(claim), async (_runner: TaskRunner, { storage }) => {
      storage.kv.put("claim", claim);
      storage.kv.put("hasBegun", env.CF_VERSION_METADATA.id);
      await storage.setAlarm(Date.now() + HOUR_MS);
    });
    expect(await runDurableObjectAlarm(runnerOf(claim))).toBe(true);
    expect(await whenEnded(claim.taskId)).toMatchObject({
      status: "succeeded",
      attempt: 1,
      crashes: 1,
      result: "at last",
    });
    expect(runs).toEqual([1]);
    expect(await contentOf(claim)).toEqual({ kept: {}, alarm: null });
  });

  test.each([
    ["under another version of the Worker", "another"],
    ["by version 0.1.0, which does not say so", true],
  ])("that finds its run begun %s hands it over: a deploy is no crash", async (_, version) => {
    const type = newType(`runner-deployed-${String(version)}`, async () => "at last");
    const claim = await claimOf(type);
    await runInDurableObject(runnerOf(claim), async (_runner: TaskRunner, { storage }) => {
      storage.kv.put("claim", claim);
      storage.kv.put("hasBegun", version);
      await storage.setAlarm(Date.now() + HOUR_MS);
    });
    expect(await runDurableObjectAlarm(runnerOf(claim))).toBe(true);
    expect(await whenEnded(claim.taskId)).toMatchObject({
      status: "succeeded",
      attempt: 1,
      crashes: 0,
      result: "at last",
    });
    expect(await contentOf(claim)).toEqual({ kept: {}, alarm: null });
  });

  test("whose report does not arrive keeps it, and delivers it in another alarm", async () => {
    let runs = 0;
    const type = newType("runner-unheard", async () => ++runs);
    const claim = await claimOf(type);
    const report = { ...claim, outcome: { kind: "succeeded", result: '"kept"' } };
    await runInDurableObject(runnerOf(claim), async (runner: TaskRunner, { storage }) => {
      storage.kv.put("claim", claim);
      storage.kv.put("hasBegun", env.CF_VERSION_METADATA.id);
      storage.kv.put("report", report);
      const down = { report: async () => Promise.reject(new Error("down")) };
      const inside = runner as unknown as { env: Env };
      const hurry = vi.spyOn(scheduler, "wait").mockResolvedValue();
      inside.env = Object.assign({}, env, { TASK_LEDGER: { getByName: () => down } });
      await runner.alarm();
      inside.env = env;
      hurry.mockRestore();
      expect([storage.kv.get("report"), storage.kv.get("reportTries")]).toEqual([report, 1]);
      expect(await storage.getAlarm()).toBeGreaterThan(Date.now());
      await runner.alarm();
    });
    expect(await fetchTask(claim.taskId)).toMatchObject({ status: "succeeded", crashes: 0, result: "kept" });
    expect([runs, await contentOf(claim)]).toEqual([0, { kept: {}, alarm: null }]);
  });

  test("that may make no further call, on the simulated platform, hands its task over in another alarm", async () => {
    onTestFinished(() => platform.reset());
    platform.limits = { ...PAID, internal: 40 };
    const seen: number[] = [];
    const type = newType("runner-many-calls", async (ctx) => {
      for (let n = 1; n <= 100; n++) await ctx.step(`step ${n}`, async () => seen.push(n));
      return "all";
    });
    const claim = await claimOf(type);
    await runnerOf(claim).start(claim);
    // The reports are due five seconds later. Here they need not wait.
    for (let token = claim.token; (await fetchTask(claim.taskId)).status !== "succeeded"; ) {
      const runner = { taskId: claim.taskId, token };
      const { report } = (await contentOf(runner)).kept;
      if (report === undefined) await scheduler.wait(10);
      else {
        expect(report).toMatchObject({ outcome: { kind: "handed-over" } });
        await runDurableObjectAlarm(runnerOf(runner));
        token++;
      }
    }
    // The step whose record was refused is done again, and no other.
    expect([new Set(seen).size, seen.length]).toEqual([100, 102]);
    expect(await whenEnded(claim.taskId)).toMatchObject({
      status: "succeeded",
      attempt: 1,
      crashes: 0,
      result: "all",
    });
  });

  test("whose ledger is overloaded when it begins gives the claim back: nothing has crashed", async () => {
    onTestFinished(() => platform.reset());
    const type = newType("runner-not-opened", async () => "at last");
    const claim = await claimOf(type);
    platform.addFault({ kind: "overloaded", binding: "TASK_LEDGER", method: "open", times: 1 });
    await runnerOf(claim).start(claim);
    expect(await whenEnded(claim.taskId)).toMatchObject({
      status: "succeeded",
      attempt: 1,
      crashes: 0,
      result: "at last",
    });
    await expect.poll(async () => contentOf(claim)).toEqual({ kept: {}, alarm: null });
  });

  test("does not try for ever to deliver its report", async () => {
    const claim = await claimOf(newType("runner-unheard-of", async () => null));
    await runInDurableObject(runnerOf(claim), async (runner: TaskRunner, { storage }) => {
      storage.kv.put("claim", claim);
      storage.kv.put("report", { ...claim, outcome: { kind: "crashed" } });
      storage.kv.put("reportTries", RUNNER_LEASE_MS / 5_000 - 1);
      const down = { report: async () => Promise.reject(new Error("down")) };
      const hurry = vi.spyOn(scheduler, "wait").mockResolvedValue();
      (runner as unknown as { env: Env }).env = Object.assign({}, env, {
        TASK_LEDGER: { getByName: () => down },
      });
      await runner.alarm();
      hurry.mockRestore();
    });
    expect(await contentOf(claim)).toEqual({ kept: {}, alarm: null });
  });

  test("whose claim is stale runs nothing", async () => {
    let runs = 0;
    const type = newType("runner-stale", async () => void runs++);
    const claim = await claimOf(type);
    const stale = { ...claim, token: claim.token + 1 };
    await runnerOf(stale).start(stale);
    await expect.poll(async () => contentOf(stale)).toEqual({ kept: {}, alarm: null });
    expect([runs, await fetchTask(claim.taskId)]).toMatchObject([0, { status: "running" }]);
    // The valid claim does run.
    await runnerOf(claim).start(claim);
    expect(await whenEnded(claim.taskId)).toMatchObject({ status: "succeeded" });
    expect(runs).toBe(1);
  });

  test("that starts late has a full lease before another may start", async () => {
    let [runs, goOn] = [0, false];
    const type = newType("runner-late", async () => {
      runs++;
      await until(() => goOn);
    });
    vi.useFakeTimers({ toFake: ["Date"] });
    const claim = await claimOf(type);
    const ledger = ledgerOf(env, claim.taskId);
    if (!ledger) throw new Error("no ledger");
    vi.setSystemTime(Date.now() + LEASE_MS - 1_000);
    await runnerOf(claim).start(claim);
    const alarm = runDurableObjectAlarm(runnerOf(claim));
    await until(() => runs > 0);
    // Its first heartbeat is three seconds away.
    vi.setSystemTime(Date.now() + HEARTBEAT_MS - 3_000);
    await runDurableObjectAlarm(ledger);
    const task = await fetchTask(claim.taskId);
    goOn = true;
    await alarm;
    vi.useRealTimers();
    expect(task).toMatchObject({ status: "running", crashes: 0 });
    expect(await whenEnded(claim.taskId)).toMatchObject({ status: "succeeded", crashes: 0 });
    expect(runs).toBe(1);
  });

  test("does not run a task that is being cancelled, and ends it at once", async () => {
    let runs = 0;
    const type = newType("runner-too-late", async () => void runs++);
    const claim = await claimOf(type);
    expect(await cancel(claim.taskId)).toMatchObject({ status: "cancelling" });
    await runnerOf(claim).start(claim);
    await expect.poll(async () => contentOf(claim)).toEqual({ kept: {}, alarm: null });
    expect([runs, await fetchTask(claim.taskId)]).toMatchObject([0, { status: "cancelled", result: null }]);
  });

  test("aborts itself to stop code that ignores its signal", async () => {
    let ticks = 0;
    const type = newType(
      "runner-deaf",
      async () => {
        for (;;) {
          ticks++;
          await new Promise((resolve) => setTimeout(resolve, 5));
        }
      },
      long,
    );
    // The grace period is half a minute. Here every pause takes at most 20 ms.
    const wait = scheduler.wait.bind(scheduler);
    const hurry = vi
      .spyOn(scheduler, "wait")
      .mockImplementation(async (ms, options) => wait(Math.min(ms, 20), options));
    const id = await enqueueOnce(env, type, input, crypto.randomUUID());
    await until(() => ticks > 2);
    await cancel(id);
    expect(await whenEnded(id)).toMatchObject({ status: "cancelled" });
    hurry.mockRestore();
    await expect.poll(async () => contentOf({ taskId: id, token: 1 })).toEqual({ kept: {}, alarm: null });
    const before = ticks;
    await scheduler.wait(50);
    expect(ticks).toBe(before);
  });
});

describe("a task that outlasts the fast lane", () => {
  test("continues in the long lane, after the recorded steps", async () => {
    const done: string[] = [];
    const type = newType("runner-handed-over", async (ctx) => {
      const first = await ctx.step("first", async () => done.push("first"));
      await ctx.sleep(400);
      ctx.log("info", "slept");
      return first + (await ctx.step("second", async () => done.push("second")));
    });
    const { value: id, lines } = await captureLogs(async () => {
      // The fast lane lasts 300 ms, and hands over after 250 ms.
      const short = Object.assign({}, env, { WAIT_UNTIL_CUT_SECONDS: 0.3 });
      const [started] = await startTasks(short, createExecutionContext(), [{ type, input }]);
      await whenEnded(String(started));
      return String(started);
    });
    expect(await fetchTask(id)).toMatchObject({ status: "succeeded", attempt: 1, crashes: 0, result: 3 });
    expect(done).toEqual(["first", "second"]);
    const about = { taskId: id, attempt: 1 };
    // A task of the file before may still be logging.
    expect(lines.filter(({ taskId }) => taskId === id)).toMatchObject([
      { message: "task handed over", ...about },
      { message: "slept", ...about },
    ]);
  });
});
