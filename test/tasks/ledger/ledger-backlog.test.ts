/** More due tasks than one alarm of the ledger handles. */
import { expect, test } from "vitest";
import { z } from "zod";
import { defineTask } from "../../../src/tasks/types/define.ts";
import { registerTaskTypes } from "../../../src/tasks/types/registry.ts";
import {
  DAY_MS,
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

registerTaskTypes([defineTask({ name: "ledger-backlog", input: z.unknown(), run: async () => null })]);

useClock();
keepQuiet();

const KEPT_MS = 7 * DAY_MS;
const many = (count: number, prefix: string, more = {}) =>
  Array.from({ length: count }, (_, n) => newTask("ledger-backlog", `${prefix}${n}`, more));

/** How many tasks each status has. Running tasks count as queued, which they have been. */
function counted({ storage }: Inside) {
  const count = (where: string) =>
    storage.sql.exec<{ n: number }>(`SELECT count(*) AS n FROM task WHERE ${where}`).one().n;
  return {
    cancelled: count("status = 'cancelled'"),
    scheduled: count("status = 'scheduled'"),
    queued: count("status IN ('queued', 'running')"),
  };
}

test("ended tasks are removed 50 at a time, and the others follow at once", async () => {
  await inLedger(newLedgerName(), async (inside) => {
    inside.object.submit(many(120, "t"));
    for (let n = 0; n < 120; n++) inside.object.cancel(`t${n}`);
    pass(KEPT_MS);
    for (const left of [70, 20]) {
      inside.alarm();
      expect(counted(inside)).toEqual({ cancelled: left, scheduled: 0, queued: 0 });
      expect(await inside.storage.getAlarm()).toBe(Date.now());
    }
    await inside.storage.deleteAlarm();
    inside.alarm();
    expect([...inside.sql("SELECT 1 FROM task"), ...inside.sql("SELECT 1 FROM event")]).toEqual([]);
    expect(await inside.storage.getAlarm()).toBeNull();
  });
});

test("expired tasks, however old, hold up none that must run", async () => {
  await inLedger(newLedgerName(), async (inside) => {
    inside.object.submit(many(450, "old"));
    for (let n = 0; n < 450; n++) inside.object.cancel(`old${n}`);
    inside.object.submit(many(250, "new", { runAtMs: T0 + KEPT_MS + 1 }));
    pass(KEPT_MS + 2);
    inside.alarm();
    expect(counted(inside)).toEqual({ cancelled: 400, scheduled: 50, queued: 200 });
    expect(await inside.storage.getAlarm()).toBe(Date.now());
    inside.alarm();
    expect(counted(inside)).toEqual({ cancelled: 350, scheduled: 0, queued: 250 });
    expect(await inside.storage.getAlarm()).toBe(Date.now());
  });
});

test("a task with a long history is removed over several alarms, and has a history without a gap until then", async () => {
  await inLedger(newLedgerName(), async (inside) => {
    inside.object.submit([newTask("ledger-backlog", "long", { lane: "fast" })]);
    const claim = { taskId: "long", token: 1 };
    for (let n = 0; n < 500; n++) inside.object.step(claim, `step ${n}`, "1");
    for (let n = 0; n < 4_000; n++) inside.object.progress(claim, n / 4_000, null);
    inside.report("long", SUCCESS);
    pass(KEPT_MS);
    const left = [];
    for (let alarms = 0; inside.object.getTask("long") && alarms < 9; alarms++) {
      inside.alarm();
      const events = inside.events("long");
      left.push(events.length + inside.sql("SELECT 1 FROM step").length);
      expect(events.map(({ number }) => number)).toEqual(events.map((_, n) => n + 1));
      // Its end is not stored as an event.
      expect(inside.object.getTask("long")?.events ?? -1).toBe(events.length - 1);
    }
    // 500 steps and 4,502 events, the first and the last of which are in the task's own row.
    expect(left).toEqual([3_002, 1_002, 0]);
  });
});
