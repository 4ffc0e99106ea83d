/** Which tasks a bulk action means, and what it counts. */
import { expect, test } from "vitest";
import { z } from "zod";
import { ableTasks } from "../../../src/tasks/ledger/bulk.ts";
import { ANY_TIME, type TaskFilter } from "../../../src/tasks/ledger/task-filter.ts";
import { defineTask } from "../../../src/tasks/types/define.ts";
import { registerTaskTypes } from "../../../src/tasks/types/registry.ts";
import { type Inside, inLedger, newLedgerName, newTask, pass, useClock } from "../../support/ledgers.ts";
import { keepQuiet } from "../../support/quiet.ts";

registerTaskTypes([defineTask({ name: "bulk-rules", input: z.unknown(), run: async () => null })]);
useClock();
keepQuiet();

const ALL: TaskFilter = { statuses: [], created: ANY_TIME };
const FAILURE = { kind: "failed", error: { name: "Error", message: "no" }, isFinal: true } as const;
const SUCCESS = { kind: "succeeded", result: "1" } as const;

test("only tasks that there were when it began are meant, and only those that the action can be done to", () => {
  expect(ableTasks(ALL, "cancel", 5)).toMatchObject({
    statuses: ["scheduled", "queued", "running"],
    created: { fromMs: 0, untilMs: 5 },
    finished: undefined,
  });
  const narrow = { statuses: ["failed", "queued"] as const, created: { fromMs: 1, untilMs: 3 } };
  expect(ableTasks({ ...ALL, ...narrow }, "retry", 5)).toMatchObject({
    statuses: ["failed"],
    created: { fromMs: 1, untilMs: 3 },
    finished: { untilMs: 5 },
  });
  expect(ableTasks({ ...ALL, statuses: ["queued"] }, "delete", 5)).toBeUndefined();
});

const run = (inside: Inside, id: string, outcome: typeof FAILURE | typeof SUCCESS) => {
  inside.object.submit([newTask("bulk-rules", id, { lane: "fast" })]);
  inside.object.report([{ taskId: id, token: 1, outcome }]);
};

test("a cancel counts what is cancelled as done, also the second time, and what has ended as skipped", async () => {
  await inLedger(newLedgerName(), (inside) => {
    inside.object.submit([newTask("bulk-rules", "waits"), newTask("bulk-rules", "runs", { lane: "fast" })]);
    run(inside, "over", SUCCESS);
    const ids = ["waits", "runs", "over", "gone"];
    const counts = { done: 2, skipped: 2, failed: 0, left: [] };
    for (let time = 0; time < 2; time++)
      expect(inside.object.actOn("cancel", ids, Date.now() + 1)).toEqual(counts);
    expect(inside.statuses()).toEqual({ waits: "cancelled", runs: "cancelling", over: "succeeded" });
  });
});

test("a retry runs a task once, however often it is done, also if the task fails again", async () => {
  await inLedger(newLedgerName(), (inside) => {
    run(inside, "fails", FAILURE);
    run(inside, "over", SUCCESS);
    pass(1);
    const beganMs = Date.now();
    const act = () => inside.object.actOn("retry", ["fails", "gone"], beganMs);
    expect(act()).toEqual({ done: 1, skipped: 1, failed: 0, left: [] });
    expect(act()).toMatchObject({ done: 1 });
    pass(1);
    inside.alarm();
    inside.object.report([{ taskId: "fails", token: 2, outcome: FAILURE }]);
    expect(act()).toMatchObject({ done: 1 });
    expect(inside.status("fails")).toBe("failed");
  });
});

test("a removal counts what is gone as done, and skips what has ended since, or is at work again", async () => {
  await inLedger(newLedgerName(), (inside) => {
    run(inside, "old", SUCCESS);
    run(inside, "again", FAILURE);
    pass(1);
    const beganMs = Date.now();
    run(inside, "new", SUCCESS);
    inside.object.retry("again");
    const ids = ["old", "again", "new"];
    for (let time = 0; time < 2; time++)
      expect(inside.object.actOn("delete", ids, beganMs)).toEqual({
        done: 1,
        skipped: 2,
        failed: 0,
        left: [],
      });
    expect(Object.keys(inside.statuses())).toEqual(["again", "new"]);
  });
});

test("a task that cannot be handled is counted as failed, and holds up no other", async () => {
  await inLedger(newLedgerName(), (inside) => {
    inside.object.submit([newTask("bulk-rules", "a"), newTask("bulk-rules", "b")]);
    const cancel = inside.object.cancel.bind(inside.object);
    inside.object.cancel = (id) => {
      if (id === "a") throw new Error("broken");
      return cancel(id);
    };
    expect(inside.object.actOn("cancel", ["a", "b"], Date.now() + 1)).toMatchObject({ done: 1, failed: 1 });
  });
});
