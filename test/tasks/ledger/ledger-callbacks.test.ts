/** Callbacks: the ledger writes each in the same transaction as the end of its task. */
import { describe, expect, test } from "vitest";
import { CALLBACK_TYPE } from "../../../src/tasks/types/define.ts";
import {
  FAILURE,
  type Inside,
  inLedger,
  newLedgerName,
  newTask,
  pass,
  SUCCESS,
  T0,
  useClock,
} from "../../support/ledgers.ts";
import { keepQuiet } from "../../support/quiet.ts";

useClock();
keepQuiet();

/** Runs `action` in a ledger with one task, `a`, that is running in the fast lane. */
const withOne = async (action: (inside: Inside) => void, more = {}) =>
  inLedger(newLedgerName(), (inside) => {
    inside.object.submit([newTask("ledger-callback", "a", { lane: "fast", ...more })]);
    action(inside);
  });

describe("a callback", () => {
  const url = "https://app.example.com/hooks/a";
  const callbacks = (inside: Inside) =>
    inside.sql("SELECT id, status, input, callback_url FROM task WHERE type = ?", CALLBACK_TYPE);

  test("is written once with each end of a task, and at no other time", async () => {
    await withOne(
      (inside) => {
        inside.report("a", { kind: "failed", error: { name: "Error", message: "no" }, isFinal: false });
        expect(callbacks(inside)).toEqual([]);
        inside.object.cancel("a");
        inside.object.cancel("a");
        const input = JSON.stringify({ taskId: "a", finishedAt: new Date(T0).toISOString(), url });
        const callback = expect.objectContaining({ status: "queued", input, callback_url: null });
        expect(callbacks(inside)).toEqual([callback]);
        inside.object.retry("a");
        expect(callbacks(inside)).toHaveLength(1);
        inside.alarm();
        inside.report("a", SUCCESS);
        inside.report("a", SUCCESS);
        expect(callbacks(inside)).toHaveLength(2);
      },
      { callbackUrl: url },
    );
  });

  test("that cannot be written leaves the task as it was, so that it can end later", async () => {
    await withOne(
      (inside) => {
        inside.sql(`CREATE TRIGGER no BEFORE INSERT ON task BEGIN SELECT RAISE(ABORT, 'no'); END`);
        inside.report("a", SUCCESS);
        expect(inside.status("a")).toBe("running");
        expect([inside.events("a").length, callbacks(inside)]).toEqual([1, []]);
        inside.sql("DROP TRIGGER no");
        inside.report("a", SUCCESS);
        expect([inside.status("a"), callbacks(inside).length]).toEqual(["succeeded", 1]);
        expect(inside.events("a").map(({ number }) => number)).toEqual([1, 2]);
      },
      { callbackUrl: url },
    );
  });

  test("is not written for a task without a callback URL", async () => {
    await withOne((inside) => {
      inside.report("a", FAILURE);
      expect([inside.status("a"), callbacks(inside)]).toEqual(["failed", []]);
    });
  });

  test("is written after five crashes, and after a cancel that the code ignored", async () => {
    await withOne(
      (inside) => {
        for (let n = 0; n < 5; n++) {
          inside.report("a", { kind: "crashed" });
          inside.alarm();
        }
        expect([inside.status("a"), callbacks(inside).length]).toEqual(["failed", 1]);
        inside.object.retry("a");
        inside.alarm();
        inside.object.cancel("a");
        expect(callbacks(inside)).toHaveLength(1);
        pass(10_000);
        inside.alarm();
        expect([inside.status("a"), callbacks(inside).length]).toEqual(["cancelled", 2]);
      },
      { callbackUrl: url },
    );
  });
});
