import { env } from "cloudflare:test";
import { describe, expect, test, vi } from "vitest";
import type { Report } from "../../../src/tasks/ledger/claim.ts";
import { ledgerOf } from "../../../src/tasks/ledger/shards.ts";
import { newTaskId } from "../../../src/tasks/ledger/task-id.ts";
import { deliver } from "../../../src/tasks/run/reports.ts";
import { scriptedLedger, someId, withLedger } from "../../support/background.ts";
import { callForJson, captureLogs } from "../../support/call.ts";

const newReport = (): Report => ({
  taskId: someId("s2"),
  token: 1,
  outcome: { kind: "succeeded", result: "1" },
});

describe("a report", () => {
  test("is sent at once if it comes alone", async () => {
    const { received, env: scripted } = scriptedLedger({});
    const report = newReport();
    const delivered = deliver(scripted, report, "together");
    expect(received.reports).toEqual([report]);
    await delivered;
  });

  test("travels with others that meet a call under way, each once", async () => {
    const { received, env: scripted } = scriptedLedger({});
    const reports = Array.from({ length: 5 }, newReport);
    await Promise.all(reports.map(async (report) => deliver(scripted, report, "together")));
    expect(new Set(received.reports)).toEqual(new Set(reports));
    expect(received.reports).toHaveLength(5);
  });

  test("of an object travels alone", async () => {
    const sent: Report[][] = [];
    const scripted = withLedger(() => ({ report: async (reports: Report[]) => void sent.push(reports) }));
    const reports = Array.from({ length: 3 }, newReport);
    await Promise.all(reports.map(async (report) => deliver(scripted, report, "alone")));
    expect(sent).toEqual(reports.map((report) => [report]));
  });

  test("is sent again if the first calls fail", async () => {
    let tries = 0;
    const { env: scripted } = scriptedLedger({
      commit: async () => {
        if (++tries < 3) throw new Error("the ledger restarts");
        return [];
      },
    });
    const { lines } = await captureLogs(async () => deliver(scripted, newReport(), "together"));
    expect([tries, lines]).toEqual([3, []]);
  });

  test("that cannot be delivered is logged", async () => {
    const { env: scripted } = scriptedLedger({ commit: async () => Promise.reject(new Error("down")) });
    const hurry = vi.spyOn(scheduler, "wait").mockResolvedValue();
    const report = newReport();
    const { lines } = await captureLogs(async () => deliver(scripted, report, "together"));
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
    await deliver(nobody, { ...newReport(), taskId: "nonsense" }, "together");
    expect(asked).toEqual([]);
  });

  test("that is delivered twice is applied once", async () => {
    const id = newTaskId("s2");
    const ledger = ledgerOf(env, id);
    const entry = { type: "reports", input: "{}", priority: 0, runAtMs: 0, callbackUrl: null };
    const [claim] = (await ledger?.submit([{ ...entry, id, lane: "fast" }])) ?? [];
    if (!claim) throw new Error("there is no claim");
    const report = { taskId: id, token: claim.token, outcome: { kind: "succeeded", result: "1" } } as const;
    await Promise.all([deliver(env, report, "together"), deliver(env, report, "together")]);
    await ledger?.submit([], [report, { ...report, outcome: { kind: "crashed" } }]);
    expect((await callForJson(`/tasks/${id}`)).body).toMatchObject({
      status: "succeeded",
      result: 1,
      crashes: 0,
    });
    // Its end is not stored as an event.
    expect(await ledger?.getTask(id)).toMatchObject({ events: 1 });
  });
});
