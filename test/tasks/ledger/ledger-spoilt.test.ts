/** Corrupted rows: their task still comes to an end, and the rest of the shard is not affected. */

import { env, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { describe, expect, test, vi } from "vitest";
import { z } from "zod";
import { toTask } from "../../../src/tasks/ledger/schema.ts";
import { newTaskId } from "../../../src/tasks/ledger/task-id.ts";
import { FINAL_STATUSES } from "../../../src/tasks/ledger/task-state.ts";
import { defineTask } from "../../../src/tasks/types/define.ts";
import { registerTaskTypes } from "../../../src/tasks/types/registry.ts";
import {
  FAILURE,
  inLedger,
  ledgerCalled,
  newLedgerName,
  newTask,
  pass,
  SUCCESS,
  T0,
  useClock,
} from "../../support/ledgers.ts";
import { keepQuiet } from "../../support/quiet.ts";

const body = { input: z.object({ n: z.int() }), retry: { retries: 0 } };
registerTaskTypes([
  defineTask({ ...body, name: "ledger-spoilt", run: async (ctx) => ctx.step("one", async () => 1) }),
  defineTask({ ...body, name: "ledger-spoilt-not", run: async () => "fine" }),
]);

useClock();
keepQuiet();

const PAGE = { statuses: [], type: undefined, fromMs: 0, before: { createdAtMs: 9e15, id: "" }, limit: 9 };
const NOT_JSON = ["", "{", "\u0000", "undefined", "[1]"];

describe.each(["input", "result", "error"])("a corrupted %s", (column) => {
  test.each(NOT_JSON)("(%j) hides neither the rest of the task nor the list", async (text) => {
    await inLedger(newLedgerName(), ({ object, storage }) => {
      object.submit([newTask("ledger-spoilt", "a", { lane: "fast" }), newTask("ledger-spoilt-not", "b")]);
      storage.sql.exec(`UPDATE task SET ${column} = ? WHERE id = 'a'`, text);
      const task = toTask(object.getTask("a") ?? expect.fail());
      expect(task).toMatchObject({ id: "a", status: "running", createdAt: new Date(T0).toISOString() });
      expect(object.list(PAGE).map((row) => toTask(row).id)).toEqual(["b", "a"]);
      object.report([{ taskId: "a", token: 1, outcome: SUCCESS }]);
      expect(object.getTask("a")?.status).toBe("succeeded");
    });
  });
});

test("text that is not UTF-8 does not hide the list", async () => {
  await inLedger(newLedgerName(), ({ object, storage }) => {
    object.submit([newTask("ledger-spoilt", "a"), newTask("ledger-spoilt-not", "b")]);
    storage.sql.exec(
      "UPDATE task SET input = CAST(x'ff' AS TEXT), error = CAST(x'ff' AS TEXT) WHERE id = 'a'",
    );
    expect(toTask(object.getTask("a") ?? expect.fail())).toMatchObject({ id: "a", input: null });
    expect(object.list(PAGE).map((row) => toTask(row).id)).toEqual(["b", "a"]);
    object.alarm();
    expect([object.getTask("a")?.status, object.getTask("b")?.status]).toEqual(["running", "running"]);
  });
});

/** Corrupts a task's row, runs the task in a runner, and returns it after its end. */
async function runSpoilt(...queries: string[]) {
  const id = newTaskId("s0");
  const ledger = ledgerCalled("s0");
  await ledger.submit([newTask("ledger-spoilt", id), newTask("ledger-spoilt-not", newTaskId("s0"))]);
  await runInDurableObject(ledger, (_, { storage }) => {
    for (const query of queries) storage.sql.exec(query, id);
  });
  await runDurableObjectAlarm(ledger);
  const runner = env.TASK_RUNNER.getByName(`${id}.1`);
  await vi.waitFor(async () => expect(await runDurableObjectAlarm(runner)).toBe(true), { timeout: 5_000 });
  return vi.waitFor(async () => {
    const row = await ledger.getTask(id);
    expect(FINAL_STATUSES).toContain(row?.status);
    return toTask(row ?? expect.fail());
  });
}

describe("a task that runs", () => {
  test("with an unreadable input fails for good", async () => {
    expect(await runSpoilt("UPDATE task SET input = '{' WHERE id = ?")).toMatchObject({
      status: "failed",
      attempt: 1,
      input: null,
      error: { name: "NonRetryableError" },
    });
  });

  test("with an unreadable step fails like any other; without one it succeeds", async () => {
    const record = "INSERT INTO step (task_id, name, result) VALUES (?, 'one', '{')";
    expect(await runSpoilt(record)).toMatchObject({ status: "failed", error: { name: "SyntaxError" } });
    expect(await runSpoilt()).toMatchObject({ status: "succeeded", result: 1 });
  });

  test("of a type that no longer exists fails after its retries", async () => {
    expect(await runSpoilt("UPDATE task SET type = 'gone', attempt = 3 WHERE id = ?")).toMatchObject({
      status: "failed",
      attempt: 4,
    });
  });
});

describe("a task whose history cannot be continued", () => {
  /** Takes the number of the task's next event. */
  const SPOIL = "INSERT INTO event (task_id, number, at_ms, name, data) VALUES ('a', 2, 0, 'status', '{}')";
  const PAUSE_MS = 60_000;

  test.each([
    ["is queued", {}, 0],
    ["must be queued", { runAtMs: T0 + 1_000 }, 1_000],
    ["has an expired lease", { lane: "fast" as const }, 15_000],
  ])("and that %s holds up no other", async (_, more, ms) => {
    await inLedger(newLedgerName(), (inside) => {
      inside.object.submit([newTask("ledger-spoilt", "a", more)]);
      inside.sql(SPOIL);
      pass(ms);
      inside.object.submit([newTask("ledger-spoilt", "b"), newTask("ledger-spoilt-not", "c")]);
      inside.alarm();
      expect(inside.statuses()).toMatchObject({ b: "running", c: "running" });
    });
  });

  test.each([
    ["is queued", {}, 0, 0],
    ["must be queued", { runAtMs: T0 + 1_000 }, 1_000, 0],
    ["has an expired lease", { lane: "fast" as const }, 15_000, 1],
  ])("and that %s continues a minute later, with a history without a gap", async (_, more, ms, crashes) => {
    await inLedger(newLedgerName(), async (inside) => {
      inside.object.submit([newTask("ledger-spoilt", "a", more)]);
      inside.sql(SPOIL);
      pass(ms);
      expect(inside.alarm()).toEqual([]);
      expect(await inside.storage.getAlarm()).toBe(T0 + ms + PAUSE_MS);
      pass(PAUSE_MS - 1);
      expect(inside.alarm()).toEqual([]);
      pass(1);
      expect(inside.alarm()).toEqual([{ taskId: "a", token: crashes + 1 }]);
      expect(inside.object.getTask("a")).toMatchObject({ status: "running", attempt: 1, crashes });
      inside.report("a", SUCCESS);
      expect(inside.status("a")).toBe("succeeded");
      const numbers = inside.events("a").map(({ number }) => number);
      expect(numbers).toEqual(numbers.map((_number, n) => n + 1));
    });
  });

  test("is not changed by a call that fails", async () => {
    await inLedger(newLedgerName(), (inside) => {
      inside.object.submit([newTask("ledger-spoilt", "a", { lane: "fast" })]);
      inside.sql(SPOIL);
      expect(() => inside.object.cancel("a")).toThrow("UNIQUE");
      expect(inside.status("a")).toBe("running");
    });
  });

  test("is kept for its retention if it is a dead letter that cannot be retried", async () => {
    await inLedger(newLedgerName(), (inside) => {
      inside.object.submit([newTask("ledger-spoilt", "a", { lane: "fast" })]);
      inside.report("a", FAILURE);
      inside.sql(SPOIL);
      inside.object.retryFailed("ledger-spoilt", Date.now() + 1, 9);
      pass(PAUSE_MS);
      inside.alarm();
      expect(inside.status("a")).toBe("failed");
      inside.object.retryFailed("ledger-spoilt", Date.now() + 1, 9);
      expect(inside.status("a")).toBe("queued");
    });
  });

  test("holds up no other report of the same call", async () => {
    await inLedger(newLedgerName(), (inside) => {
      const fast = { lane: "fast" as const };
      const claims = inside.object.submit([
        newTask("ledger-spoilt", "a", fast),
        newTask("ledger-spoilt", "b", fast),
      ]);
      inside.sql(SPOIL);
      const outcome = { kind: "handed-over", notBeforeMs: 0 } as const;
      const reports = claims.flatMap((claim) => (claim ? [{ ...claim, outcome }] : []));
      inside.object.report(reports);
      expect(inside.statuses()).toEqual({ a: "running", b: "queued" });
      // A repeated report is accepted: the history was repaired.
      inside.object.report(reports);
      expect(inside.statuses()).toEqual({ a: "queued", b: "queued" });
      expect(inside.events("a").map(({ number }) => number)).toEqual([1, 2, 3]);
    });
  });
});
