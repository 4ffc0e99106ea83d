/** Code that ignores its signal, on the real runtime: no two runs of a task are ever at work at once. */
import { createExecutionContext, env, runDurableObjectAlarm } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { startTasks } from "../../../src/tasks/index.ts";
import { CANCEL_GRACE_MS, RUNNER_LEASE_MS } from "../../../src/tasks/ledger/rules.ts";
import { ledgerOf } from "../../../src/tasks/ledger/shards.ts";
import { fetchTask, newType, taskWhen, until, whenEnded } from "../../support/background.ts";
import { callForJson } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { expectRuntimeErrors } from "../../support/runtime-errors.ts";

// The ledger has runners abort themselves.
expectRuntimeErrors("The task was abandoned");
keepQuiet();
let isOver = false;
beforeEach(() => {
  isOver = false;
});
afterEach(() => {
  isOver = true;
  vi.useRealTimers();
});

/** Code that is deaf in its first run, and the runs in the order in which they were seen at work. */
function deafRun() {
  const seen: number[] = [];
  let runs = 0;
  const run = async () => {
    const number = ++runs;
    const isDeaf = () => number === 1 && !isOver;
    for (let i = 0; isDeaf() || i < 20; i++) {
      if (seen.at(-1) !== number) seen.push(number);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    return number;
  };
  return { seen, run };
}

const post = async (path: string) => callForJson(path, { method: "POST" });

async function wakeLedger(id: string, afterMs: number): Promise<void> {
  const ledger = ledgerOf(env, id);
  if (!ledger) throw new Error("no ledger");
  vi.setSystemTime(Date.now() + afterMs);
  await runDurableObjectAlarm(ledger);
}

const start = async (type: ReturnType<typeof newType>) => {
  const [id] = await startTasks(env, createExecutionContext(), [{ type, input: {} }]);
  return String(id);
};

describe("in a runner, deaf code", () => {
  test("of a task that was cancelled is stopped before a retry by hand runs it again", async () => {
    const { seen, run } = deafRun();
    const id = await start(newType("deaf-cancelled", run, { lane: "long" }));
    await until(() => seen.length > 0);
    vi.useFakeTimers({ toFake: ["Date"] });
    await post(`/tasks/${id}/cancel`);
    await wakeLedger(id, CANCEL_GRACE_MS);
    expect(await fetchTask(id)).toMatchObject({ status: "cancelled" });
    expect((await post(`/tasks/${id}/retry`)).status).toBe(202);
    vi.useRealTimers();
    expect(await whenEnded(id)).toMatchObject({ status: "succeeded", result: 2 });
    expect(seen).toEqual([1, 2]);
  });

  test("of a claim whose lease has expired is stopped before another run begins", async () => {
    const { seen, run } = deafRun();
    const id = await start(newType("deaf-lost", run, { lane: "long" }));
    await until(() => seen.length > 0);
    vi.useFakeTimers({ toFake: ["Date"] });
    await wakeLedger(id, RUNNER_LEASE_MS);
    vi.useRealTimers();
    expect(await whenEnded(id)).toMatchObject({ status: "succeeded", crashes: 1, result: 2 });
    expect(seen).toEqual([1, 2]);
  });
});

describe("in the invocation of its submitter, deaf code", () => {
  test("of a claim that nobody renews has the time that its invocation lasts before another run begins", async () => {
    const { seen, run } = deafRun();
    const id = await start(newType("deaf-unheard", run));
    await until(() => seen.length > 0);
    vi.useFakeTimers({ toFake: ["Date"] });
    await wakeLedger(id, 34_000);
    expect(await fetchTask(id)).toMatchObject({ status: "running", crashes: 0 });
    await wakeLedger(id, 1_000);
    vi.useRealTimers();
    expect(await whenEnded(id)).toMatchObject({ status: "succeeded", crashes: 1, result: 2 });
  });

  test("of a task that was cancelled has the time that its invocation lasts before another run begins", async () => {
    const { seen, run } = deafRun();
    const id = await start(newType("deaf-cancelled-there", run));
    await until(() => seen.length > 0);
    const beganAtMs = Date.now();
    vi.useFakeTimers({ toFake: ["Date"] });
    await post(`/tasks/${id}/cancel`);
    await wakeLedger(id, CANCEL_GRACE_MS);
    expect(await fetchTask(id)).toMatchObject({ status: "cancelled" });
    expect((await callForJson(`/tasks/${id}`, { method: "DELETE" })).status).toBe(409);
    expect((await post(`/tasks/${id}/retry`)).body).toMatchObject({ status: "scheduled" });
    const task = await taskWhen(id, "scheduled");
    const waitsMs = Date.parse(String(task.runAt)) - beganAtMs;
    expect(waitsMs).toBeGreaterThan(30_000);
    expect(waitsMs).toBeLessThanOrEqual(35_000);
    await post(`/tasks/${id}/cancel`);
    expect(seen).toEqual([1]);
  });
});
