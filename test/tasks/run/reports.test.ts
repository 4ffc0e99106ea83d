import { env } from "cloudflare:test";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import type { Report } from "../../../src/tasks/ledger/claim.ts";
import { ledgerOf } from "../../../src/tasks/ledger/shards.ts";
import { newTaskId } from "../../../src/tasks/ledger/task-id.ts";
import { callWithReports, deliver } from "../../../src/tasks/run/reports.ts";
import { scriptedLedger, someId, withLedger } from "../../support/background.ts";
import { callForJson, captureLogs } from "../../support/call.ts";

const newReport = (): Report => ({
  taskId: someId("s2"),
  token: 1,
  outcome: { kind: "succeeded", result: "1" },
});

/** A call to the shard that lasts until the test ends it, and the reports that it carries. */
async function submission() {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  let carried: Report[] = [];
  const done = callWithReports("s2", async (reports) => {
    carried = reports;
    return promise;
  });
  return { carried, done, end: () => resolve("submitted"), fail: () => reject(new Error("it fails")) };
}

/** Makes two calls to the shard in such quick succession that another can be expected, until the end of the test. */
async function rush(): Promise<void> {
  vi.useFakeTimers({ toFake: ["Date"] });
  onTestFinished(() => void vi.useRealTimers());
  for (const _ of [1, 2]) await callWithReports("s2", async () => undefined);
}

/** Makes every pause fifty times as short. */
function hurried() {
  const wait = scheduler.wait.bind(scheduler);
  return vi.spyOn(scheduler, "wait").mockImplementation(async (ms) => wait(ms / 50));
}

/** Whether a promise is still pending after everything that is ready has run. */
async function isPending(promise: Promise<unknown>): Promise<boolean> {
  const later = scheduler.wait(30).then(() => "pending");
  return (await Promise.race([promise.then(() => "over"), later])) === "pending";
}

describe("a report", () => {
  test("is sent at once when calls are rare", async () => {
    const { received, env: scripted } = scriptedLedger({});
    // Whatever calls other files have made from this Worker, they are long ago.
    vi.useFakeTimers({ toFake: ["Date"] });
    onTestFinished(() => void vi.useRealTimers());
    vi.setSystemTime(Date.now() + 3_600_000);
    const report = newReport();
    const delivered = deliver(scripted, report);
    expect(received.reports).toEqual([report]);
    await delivered;
  });

  test("travels with the next submission when calls are frequent", async () => {
    const { received, env: scripted } = scriptedLedger({});
    await rush();
    const report = newReport();
    const delivered = deliver(scripted, report);
    const second = await submission();
    expect(second.carried).toEqual([report]);
    // It is delivered when that call has returned, and not before.
    expect(await isPending(delivered)).toBe(true);
    second.end();
    expect(await second.done).toBe("submitted");
    await delivered;
    expect(received.reports).toEqual([]);
  });

  test("does not travel with a call to another shard", async () => {
    const { received, env: scripted } = scriptedLedger({});
    await rush();
    const report = newReport();
    const delivered = deliver(scripted, report);
    expect(await callWithReports("s3", async (reports) => reports)).toEqual([]);
    await delivered;
    expect(received.reports).toEqual([report]);
  });

  test("that no call carries is soon sent by itself", async () => {
    const { received, env: scripted } = scriptedLedger({});
    await rush();
    const report = newReport();
    const beganAtMs = performance.now();
    await deliver(scripted, report);
    expect(received.reports).toEqual([report]);
    expect(performance.now() - beganAtMs).toBeLessThan(500);
    expect(await callWithReports("s2", async (reports) => reports)).toEqual([]);
  });

  test("whose carrier fails is soon sent by its owner", async () => {
    const { received, env: scripted } = scriptedLedger({});
    await rush();
    const report = newReport();
    const delivered = deliver(scripted, report);
    const carrier = await submission();
    expect(carrier.carried).toEqual([report]);
    const failedAtMs = performance.now();
    carrier.fail();
    await expect(carrier.done).rejects.toThrow("it fails");
    await delivered;
    expect(performance.now() - failedAtMs).toBeLessThan(500);
    expect(received.reports).toEqual([report]);
    expect(await callWithReports("s2", async (reports) => reports)).toEqual([]);
  });

  test("whose carrier fails travels with the next call, if that comes before its owner sends it", async () => {
    const { received, env: scripted } = scriptedLedger({});
    await rush();
    const report = newReport();
    const delivered = deliver(scripted, report);
    const carrier = await submission();
    carrier.fail();
    await expect(carrier.done).rejects.toThrow("it fails");
    const next = await submission();
    expect(next.carried).toEqual([report]);
    expect(await isPending(delivered)).toBe(true);
    next.end();
    await delivered;
    expect(received.reports).toEqual([]);
    await next.done;
  });

  test("whose carrier does not return is sent by its owner", async () => {
    const { received, env: scripted } = scriptedLedger({});
    const hurry = hurried();
    await rush();
    const report = newReport();
    const delivered = deliver(scripted, report);
    const carrier = await submission();
    await delivered;
    hurry.mockRestore();
    expect([carrier.carried, received.reports]).toEqual([[report], [report]]);
    carrier.end();
    await carrier.done;
  });

  test("carries other pending reports, each once", async () => {
    const { received, env: scripted } = scriptedLedger({});
    await rush();
    const reports = Array.from({ length: 5 }, newReport);
    await Promise.all(reports.map(async (report) => deliver(scripted, report)));
    expect(new Set(received.reports)).toEqual(new Set(reports));
    expect(received.reports).toHaveLength(5);
  });

  test.each([
    [9, "waits for a third"],
    [10, "is sent at once"],
  ])("after two calls %i ms apart %s", async (gapMs, what) => {
    const { received, env: scripted } = scriptedLedger({});
    vi.useFakeTimers({ toFake: ["Date"] });
    onTestFinished(() => void vi.useRealTimers());
    vi.setSystemTime(Date.now() + 60_000);
    await callWithReports("s2", async () => undefined);
    vi.setSystemTime(Date.now() + gapMs);
    await callWithReports("s2", async () => undefined);
    const report = newReport();
    const delivered = deliver(scripted, report);
    expect(received.reports).toEqual(what === "is sent at once" ? [report] : []);
    await delivered;
    expect(received.reports).toEqual([report]);
  });

  test("is sent again if the first calls fail", async () => {
    let tries = 0;
    const { env: scripted } = scriptedLedger({
      report: async () => {
        if (++tries < 3) throw new Error("the ledger restarts");
      },
    });
    const { lines } = await captureLogs(async () => deliver(scripted, newReport()));
    expect([tries, lines]).toEqual([3, []]);
  });

  test("that cannot be delivered is logged", async () => {
    const { env: scripted } = scriptedLedger({ report: async () => Promise.reject(new Error("down")) });
    const hurry = vi.spyOn(scheduler, "wait").mockResolvedValue();
    const report = newReport();
    const { lines } = await captureLogs(async () => deliver(scripted, report));
    hurry.mockRestore();
    expect(lines).toMatchObject([
      {
        level: "error",
        message: "the outcome of a run could not be reported",
        taskId: report.taskId,
        error: "Error: down",
      },
    ]);
  });

  test("about an id that is not a task id is not sent", async () => {
    const asked: string[] = [];
    const nobody = withLedger((name) => asked.push(name));
    await deliver(nobody, { ...newReport(), taskId: "nonsense" });
    expect(asked).toEqual([]);
  });

  test("that is delivered twice is applied once", async () => {
    const id = newTaskId("s2");
    const ledger = ledgerOf(env, id);
    const entry = { type: "reports", input: "{}", priority: 0, runAtMs: 0, callbackUrl: null };
    const [claim] = (await ledger?.submit([{ ...entry, id, lane: "fast" }])) ?? [];
    if (!claim) throw new Error("there is no claim");
    const report = { taskId: id, token: claim.token, outcome: { kind: "succeeded", result: "1" } } as const;
    await Promise.all([deliver(env, report), deliver(env, report)]);
    await ledger?.submit([], [report, { ...report, outcome: { kind: "crashed" } }]);
    expect((await callForJson(`/tasks/${id}`)).body).toMatchObject({
      status: "succeeded",
      result: 1,
      crashes: 0,
    });
    expect(await ledger?.getTask(id)).toMatchObject({ events: 2 });
  });
});
