import { env } from "cloudflare:test";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import type { Report } from "../../../src/tasks/ledger/claim.ts";
import { ledgerOf } from "../../../src/tasks/ledger/shards.ts";
import { newTaskId } from "../../../src/tasks/ledger/task-id.ts";
import { deliver, callWithReports } from "../../../src/tasks/run/reports.ts";
import { scriptedLedger, someId, withLedger } from "../../support/background.ts";
import { callForJson, captureLogs } from "../../support/call.ts";

const newReport = (): Report => ({
  taskId: someId("s2"),
  token: 1,
  outcome: { kind: "succeeded", result: "1" },
});

/** A call to the shard that is under way until it is ended, and the reports that it has taken along. */
async function submission() {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  let taken: Report[] = [];
  const done = callWithReports("s2", async (reports) => {
    taken = reports;
    return promise;
  });
  return { taken, done, end: () => resolve("submitted"), fail: () => reject(new Error("it fails")) };
}

/** Two calls to the shard, so close together that another is to be expected. */
async function rush(): Promise<void> {
  for (const _ of [1, 2]) await callWithReports("s2", async () => undefined);
}

/** Every pause takes a fiftieth of its time. */
function hurried() {
  const wait = scheduler.wait.bind(scheduler);
  return vi.spyOn(scheduler, "wait").mockImplementation(async (ms) => wait(ms / 50));
}

/** Whether a promise is still pending, after all that is ready has run. */
async function isPending(promise: Promise<unknown>): Promise<boolean> {
  const later = scheduler.wait(30).then(() => "pending");
  return (await Promise.race([promise.then(() => "over"), later])) === "pending";
}

describe("a report", () => {
  test("is sent at once when no calls come close together", async () => {
    const { received, env: scripted } = scriptedLedger({});
    const report = newReport();
    const delivered = deliver(scripted, report);
    expect(received.reports).toEqual([report]);
    await delivered;
  });

  test("is taken along by the next submission, when they come close together", async () => {
    const { received, env: scripted } = scriptedLedger({});
    await rush();
    const report = newReport();
    const delivered = deliver(scripted, report);
    const second = await submission();
    expect(second.taken).toEqual([report]);
    // It is delivered when that has come back, and not before.
    expect(await isPending(delivered)).toBe(true);
    second.end();
    expect(await second.done).toBe("submitted");
    await delivered;
    expect(received.reports).toEqual([]);
  });

  test("is not taken along to another shard", async () => {
    const { received, env: scripted } = scriptedLedger({});
    await rush();
    const report = newReport();
    const delivered = deliver(scripted, report);
    expect(await callWithReports("s3", async (reports) => reports)).toEqual([]);
    await delivered;
    expect(received.reports).toEqual([report]);
  });

  test("that nobody takes along is sent by itself, before long", async () => {
    const { received, env: scripted } = scriptedLedger({});
    await rush();
    const report = newReport();
    const beganAtMs = performance.now();
    await deliver(scripted, report);
    expect(received.reports).toEqual([report]);
    expect(performance.now() - beganAtMs).toBeLessThan(500);
    expect(await callWithReports("s2", async (reports) => reports)).toEqual([]);
  });

  test("whose carrier fails is sent by its owner, before long", async () => {
    const { received, env: scripted } = scriptedLedger({});
    await rush();
    const report = newReport();
    const delivered = deliver(scripted, report);
    const carrier = await submission();
    expect(carrier.taken).toEqual([report]);
    const failedAtMs = performance.now();
    carrier.fail();
    await expect(carrier.done).rejects.toThrow("it fails");
    await delivered;
    expect(performance.now() - failedAtMs).toBeLessThan(500);
    expect(received.reports).toEqual([report]);
    expect(await callWithReports("s2", async (reports) => reports)).toEqual([]);
  });

  test("whose carrier fails is taken along by the next, if that comes before its owner", async () => {
    const { received, env: scripted } = scriptedLedger({});
    await rush();
    const report = newReport();
    const delivered = deliver(scripted, report);
    const carrier = await submission();
    carrier.fail();
    await expect(carrier.done).rejects.toThrow("it fails");
    const next = await submission();
    expect(next.taken).toEqual([report]);
    expect(await isPending(delivered)).toBe(true);
    next.end();
    await delivered;
    expect(received.reports).toEqual([]);
    await next.done;
  });

  test("whose carrier does not come back is sent by its owner", async () => {
    const { received, env: scripted } = scriptedLedger({});
    const hurry = hurried();
    await rush();
    const report = newReport();
    const delivered = deliver(scripted, report);
    const carrier = await submission();
    await delivered;
    hurry.mockRestore();
    expect([carrier.taken, received.reports]).toEqual([[report], [report]]);
    carrier.end();
    await carrier.done;
  });

  test("takes others that wait along, each once", async () => {
    const { received, env: scripted } = scriptedLedger({});
    await rush();
    const reports = Array.from({ length: 5 }, newReport);
    await Promise.all(reports.map(async (report) => deliver(scripted, report)));
    expect(new Set(received.reports)).toEqual(new Set(reports));
    expect(received.reports).toHaveLength(5);
  });

  test.each([
    [9, "waits for one that may come"],
    [10, "is sent at once"],
  ])("after two calls that were %i ms apart %s", async (gapMs, what) => {
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

  test("is sent again when the ledger does not take it at first", async () => {
    let tries = 0;
    const { env: scripted } = scriptedLedger({
      report: async () => {
        if (++tries < 3) throw new Error("the ledger restarts");
      },
    });
    const { lines } = await captureLogs(async () => deliver(scripted, newReport()));
    expect([tries, lines]).toEqual([3, []]);
  });

  test("that cannot be delivered is received of in the log", async () => {
    const { env: scripted } = scriptedLedger({ report: async () => Promise.reject(new Error("down")) });
    const hurry = vi.spyOn(scheduler, "wait").mockResolvedValue();
    const report = newReport();
    const { lines } = await captureLogs(async () => deliver(scripted, report));
    hurry.mockRestore();
    expect(lines).toMatchObject([
      {
        level: "error",
        message: "the end of a run could not be reported",
        taskId: report.taskId,
        error: "Error: down",
      },
    ]);
  });

  test("of what is no task of ours goes nowhere", async () => {
    const asked: string[] = [];
    const nobody = withLedger((name) => asked.push(name));
    await deliver(nobody, { ...newReport(), taskId: "nonsense" });
    expect(asked).toEqual([]);
  });

  test("that is delivered twice counts once", async () => {
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
