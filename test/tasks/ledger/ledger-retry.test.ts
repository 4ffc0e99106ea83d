/** Retrying tasks that failed or were cancelled. */
import { describe, expect, test } from "vitest";
import { z } from "zod";
import type { TaskLedger } from "../../../src/tasks/ledger/ledger.ts";
import { toTask } from "../../../src/tasks/ledger/schema.ts";
import { defineTask } from "../../../src/tasks/types/define.ts";
import { registerTaskTypes } from "../../../src/tasks/types/registry.ts";
import {
  FAILURE,
  type Inside,
  inLedger,
  newLedgerName,
  newTask,
  pass,
  T0,
  useClock,
} from "../../support/ledgers.ts";
import { keepQuiet } from "../../support/quiet.ts";

const body = { input: z.unknown(), run: async () => null };
registerTaskTypes([
  defineTask({ ...body, name: "ledger-retry" }),
  defineTask({ ...body, name: "ledger-retry-other" }),
]);

useClock();
keepQuiet();

const FAST = { lane: "fast" } as const;
const task = (id: string, more = {}) => newTask("ledger-retry", id, more);
const CLAIM = { taskId: "a", token: 1 };

/** Runs `action` in a ledger with one task, `a`, that is running in the fast lane. */
const withOne = async (action: (inside: Inside) => void) =>
  inLedger(newLedgerName(), (inside) => {
    inside.object.submit([task("a", FAST)]);
    action(inside);
  });

describe("a retry by hand", () => {
  test.each<[string, (ledger: TaskLedger) => unknown]>([
    ["one task", (ledger) => ledger.retry("a")],
    ["all dead letters", (ledger) => ledger.retryFailed("ledger-retry", Date.now() + 1, 9)],
  ])("of %s clears the progress of the previous life, unless the task has not ended", async (_, again) => {
    await withOne((inside) => {
      const progress = () => toTask(inside.object.getTask("a") ?? expect.fail()).progress;
      const half = { ratio: 0.5, message: "half" };
      inside.object.progress(CLAIM, 0.5, "half");
      again(inside.object);
      expect([inside.status("a"), progress()]).toEqual(["running", half]);
      inside.report("a", FAILURE);
      expect(progress()).toEqual(half);
      again(inside.object);
      expect([inside.status("a"), progress()]).toEqual(["queued", null]);
    });
  });

  test("begins another life, with the recorded steps, under a new token", async () => {
    await withOne((inside) => {
      expect(inside.object.retry("a")).toBe("refused");
      inside.object.step(CLAIM, "one", "1");
      inside.report("a", FAILURE);
      expect(inside.object.retry("a")).toMatchObject({ status: "queued", attempt: 0, error: null });
      expect(inside.alarm()).toEqual([{ taskId: "a", token: 2 }]);
      expect(inside.object.open({ taskId: "a", token: 2 })).toMatchObject({
        attempt: 1,
        steps: { one: "1" },
      });
      expect(inside.object.retry("none")).toBeNull();
    });
  });

  test("of a task whose time has not come waits for that time", async () => {
    await inLedger(newLedgerName(), async (inside) => {
      inside.object.submit([task("a", { runAtMs: T0 + 3_600_000 })]);
      inside.object.cancel("a");
      pass(1_000);
      expect(inside.object.retry("a")).toMatchObject({ status: "scheduled", due_at_ms: T0 + 3_600_000 });
      expect(await inside.storage.getAlarm()).toBe(T0 + 3_600_000);
      pass(3_600_000 - 1_001);
      expect(inside.alarm()).toEqual([]);
      pass(1);
      expect(inside.alarm()).toEqual([{ taskId: "a", token: 1 }]);
      inside.report("a", FAILURE);
      // That time has passed now.
      expect(inside.object.retry("a")).toMatchObject({ status: "queued" });
    });
  });

  test("of dead letters takes only those that failed before a time, so that none is retried forever", async () => {
    await withOne((inside) => {
      inside.report("a", FAILURE);
      const beforeMs = Date.now() + 1;
      const again = () => inside.object.retryFailed("ledger-retry", beforeMs, 9);
      expect(inside.object.retryFailed("ledger-retry", Date.now(), 9)).toBe(0);
      pass(1);
      expect([again(), inside.status("a")]).toEqual([1, "queued"]);
      inside.alarm();
      inside.report("a", FAILURE);
      expect([again(), inside.status("a")]).toEqual([0, "failed"]);
    });
  });

  test("of a type's dead letters takes the oldest, up to the limit, and no other task", async () => {
    await withOne((inside) => {
      pass(1);
      inside.object.submit([
        task("b", FAST),
        task("c", FAST),
        task("d"),
        newTask("ledger-retry-other", "e", FAST),
      ]);
      for (const id of ["a", "b", "c", "e"]) inside.report(id, FAILURE);
      inside.object.cancel("d");
      expect(inside.object.retryFailed("ledger-retry", Date.now() + 1, 2)).toBe(2);
      expect(inside.statuses()).toEqual({
        a: "queued",
        b: "queued",
        c: "failed",
        d: "cancelled",
        e: "failed",
      });
      expect(inside.object.retryFailed("ledger-retry", Date.now() + 1, 2)).toBe(1);
      expect(inside.object.retryFailed("ledger-retry", Date.now() + 1, 2)).toBe(0);
    });
  });
});
