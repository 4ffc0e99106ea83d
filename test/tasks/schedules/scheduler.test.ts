/** The Durable Object that runs schedules: one run per tick, whatever dies, and never two at once. */
import { env, evictDurableObject, runInDurableObject } from "cloudflare:test";
import { describe, expect, test, vi } from "vitest";
import { runs, type Scheduler } from "../../../src/tasks/schedules/scheduler.ts";
import { captureLogs } from "../../support/call.ts";
import { expectRuntimeErrors } from "../../support/runtime-errors.ts";
import {
  alarmAt,
  change,
  create,
  finishAll,
  keyOf,
  ledger,
  MINUTE,
  NOW,
  ring,
  runsOf,
  scheduler,
  useScheduler,
} from "../../support/schedulers.ts";

expectRuntimeErrors("killed");

useScheduler();

describe("a schedule", () => {
  test("is stored, and the alarm is set for its first tick", async () => {
    const row = await create("a", { cron: "30 2 * * *", timeZone: "Europe/Berlin" });
    expect(row).toMatchObject({
      id: "a",
      next_at_ms: NOW + 13.5 * 60 * MINUTE,
      waiting: 0,
      last_task_id: null,
    });
    expect(await alarmAt()).toBe(NOW + 13.5 * 60 * MINUTE);
    await evictDurableObject(scheduler());
    expect(await scheduler().get("a")).toEqual(row);
    expect(await scheduler().list()).toEqual([row]);
  });

  test("is created once, even if the call is repeated because its reply was lost", async () => {
    const row = await create("a");
    vi.setSystemTime(NOW + 5 * MINUTE);
    expect(await create("a", { cron: "0 0 * * *" })).toEqual(row);
    expect(await scheduler().list()).toHaveLength(1);
  });

  test("is one of at most 1,000", async () => {
    await create("first");
    await runInDurableObject(scheduler(), (_: Scheduler, { storage }) => {
      storage.sql.exec(
        `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 998)
         INSERT INTO schedule (id, cron, time_zone, type, input, overlap, missed, is_declared, created_at_ms,
           next_at_ms, look_at_ms) SELECT 'n' || i, cron, time_zone, type, input, overlap, missed, is_declared,
           created_at_ms, next_at_ms, look_at_ms FROM n, schedule WHERE id = 'first'`,
      );
    });
    expect(await create("thousandth")).toMatchObject({ id: "thousandth" });
    expect(await create("beyond")).toBe("full");
    expect(await create("thousandth")).toMatchObject({ id: "thousandth" });
    await scheduler().remove("first");
    expect(await create("beyond")).toMatchObject({ id: "beyond" });
    // One alarm processes a bounded number of them, and the next follows at once.
    for (let ran = 200; ran <= 1_000; ran += 200) {
      expect(await alarmAt()).toBe(NOW + MINUTE);
      await ring(NOW + MINUTE);
      expect(ledger.tasks.size).toBe(ran);
    }
    expect(await alarmAt()).toBe(NOW + 2 * MINUTE);
  });

  test("is deleted with its waiting ticks; its run goes on", async () => {
    await create("a", { overlap: "queue" });
    await ring(NOW + MINUTE);
    await ring(NOW + 2 * MINUTE);
    expect(await scheduler().remove("a")).toBe("removed");
    expect(await scheduler().remove("a")).toBe("missing");
    expect(await scheduler().get("a")).toBeUndefined();
    finishAll();
    await ring(NOW + 3 * MINUTE);
    expect(runsOf("a")).toEqual([1]);
    await create("a");
    expect(await scheduler().get("a")).toMatchObject({ waiting: 0, last_task_id: null });
  });

  test("that is deleted while its tick is enqueued stays deleted", async () => {
    await create("a");
    ledger.onEnqueue = async () => {
      await scheduler().remove("a");
    };
    await ring(NOW + MINUTE);
    expect(await scheduler().list()).toEqual([]);
    expect(runsOf("a")).toEqual([1]);
  });

  test("that is deleted while its previous run is read has no further run", async () => {
    await create("a");
    await ring(NOW + MINUTE);
    vi.spyOn(runs, "getTask").mockImplementation(async () => {
      await scheduler().remove("a");
      return undefined;
    });
    const { lines } = await captureLogs(async () => ring(NOW + 2 * MINUTE));
    expect([runsOf("a"), lines]).toEqual([[1], []]);
    await create("a");
    expect(await scheduler().get("a")).toMatchObject({ waiting: 0 });
  });
});

describe("a tick", () => {
  test("runs the task with the input and is recorded; the alarm is set for the next tick", async () => {
    await create("a");
    await ring(NOW + MINUTE);
    expect(ledger.calls).toEqual([keyOf("a", NOW + MINUTE)]);
    expect([...ledger.tasks.values()]).toEqual([
      { status: "queued", type: "scheduler_work", input: { n: 1 } },
    ]);
    expect(await scheduler().get("a")).toMatchObject({
      last_tick_at_ms: NOW + MINUTE,
      last_task_id: keyOf("a", NOW + MINUTE),
      next_at_ms: NOW + 2 * MINUTE,
      waiting: 0,
    });
    expect(await alarmAt()).toBe(NOW + 2 * MINUTE);
  });

  test("does not run early, even if the alarm fires early", async () => {
    await create("a");
    await ring(NOW + MINUTE - 1);
    expect(ledger.calls).toEqual([]);
    expect(await alarmAt()).toBe(NOW + MINUTE);
  });

  test("has one run, however often the alarm is repeated", async () => {
    await create("a");
    await ring(NOW + MINUTE);
    for (let i = 0; i < 3; i++) {
      await runInDurableObject(scheduler(), async (object: Scheduler) => object.alarm());
    }
    expect(ledger.calls).toEqual([keyOf("a", NOW + MINUTE)]);
  });

  test("has one run even if the object is killed after enqueuing it and before recording that", async () => {
    await create("a");
    ledger.onEnqueue = async () => {
      ledger.onEnqueue = async () => {};
      await runInDurableObject(scheduler(), async (_: Scheduler, state) => {
        // As on the platform: writes before an outgoing call are kept.
        await state.storage.sync();
        state.abort("killed");
      }).catch(() => {});
      await new Promise(() => {});
    };
    await ring(NOW + MINUTE).catch(() => {});
    expect(await scheduler().get("a")).toMatchObject({ last_task_id: null, waiting: 1 });
    // By now the next tick is due. It is a different tick, and must not run concurrently with the first.
    vi.setSystemTime(NOW + 2 * MINUTE);
    expect(await scheduler().rearm()).toBe(MINUTE);
    expect(await ring(NOW + 2 * MINUTE)).toBe(true);
    expect(ledger.calls).toEqual([keyOf("a", NOW + MINUTE), keyOf("a", NOW + MINUTE)]);
    expect(runsOf("a")).toEqual([1]);
    expect(await scheduler().get("a")).toMatchObject({
      last_task_id: keyOf("a", NOW + MINUTE),
      skipped_count: 1,
      missed_count: 0,
    });
    finishAll();
    await ring(NOW + 3 * MINUTE);
    expect(runsOf("a")).toEqual([1, 3]);
  });

  test("that the ledger does not accept is tried again, and is still on time", async () => {
    await create("a");
    ledger.isDown = true;
    const { lines } = await captureLogs(async () => ring(NOW + MINUTE));
    expect(lines).toEqual([expect.objectContaining({ level: "error", scheduleId: "a" })]);
    expect(await scheduler().get("a")).toMatchObject({
      last_error: '{"name":"Error","message":"restarting"}',
      waiting: 1,
    });
    ledger.isDown = false;
    const again = await alarmAt();
    expect(again).toBeLessThan(NOW + 2 * MINUTE);
    await ring(again ?? 0);
    expect(runsOf("a")).toEqual([1]);
    expect(await scheduler().get("a")).toMatchObject({ last_error: null, waiting: 0, missed_count: 0 });
  });

  test.each([
    ["run_once", [30], 29],
    ["skip", [], 30],
  ] as const)(
    "that was missed with 29 others has, under %s, these runs: %j",
    async (missed, ticks, count) => {
      await create("a", { missed, cron: "*/1 * * * *" });
      await change("a", { cron: "0-30 12 * * *" });
      await ring(NOW + 40 * MINUTE);
      expect(runsOf("a")).toEqual(ticks);
      expect(await scheduler().get("a")).toMatchObject({
        missed_count: count,
        next_at_ms: NOW + 24 * 60 * MINUTE,
      });
    },
  );
});

describe("a schedule that cannot be run", () => {
  test.each([
    ["its pattern is broken", { cron: "nonsense" }],
    ["its time zone is gone", { time_zone: "Mars/Olympus" }],
    ["its type is gone", { type: "scheduler_gone" }],
    ["its input is not JSON", { input: "{" }],
  ])("because %s does not stop the others, and is tried again", async (_, broken) => {
    for (const id of ["a", "b", "c"]) await create(id);
    await change("b", broken);
    const { lines } = await captureLogs(async () => ring(NOW + MINUTE));
    expect([runsOf("a"), runsOf("b"), runsOf("c")]).toEqual([[1], [], [1]]);
    expect(lines).toEqual([expect.objectContaining({ level: "error", scheduleId: "b" })]);
    expect((await scheduler().get("b"))?.last_error).toMatch(/^{"name":"\w*Error","message":".+"}$/);
    expect(await alarmAt()).toBe(NOW + MINUTE + 25_000);
    await change("b", { cron: "* * * * *", time_zone: "UTC", type: "scheduler_work", input: '{"n":1}' });
    await ring(NOW + MINUTE + 25_000);
    expect(runsOf("b")).toEqual([1]);
  });

  test("does not make the alarm throw, even if the tables are missing", async () => {
    await create("a");
    await runInDurableObject(scheduler(), (_: Scheduler, { storage }) => {
      storage.sql.exec("ALTER TABLE schedule RENAME TO away");
    });
    expect(await ring(NOW + MINUTE)).toBe(true);
    expect(await alarmAt()).toBe(NOW + MINUTE + 25_000);
    await runInDurableObject(scheduler(), (_: Scheduler, { storage }) => {
      storage.sql.exec("ALTER TABLE away RENAME TO schedule");
    });
    await ring(NOW + MINUTE + 25_000);
    expect(runsOf("a")).toEqual([1]);
  });
});

describe("the watchdog", () => {
  const dropAlarm = () =>
    runInDurableObject(scheduler(), (_: Scheduler, { storage }) => storage.deleteAlarm());

  test("changes nothing when nothing is late", async () => {
    expect(await scheduler().rearm()).toBe(0);
    expect(await alarmAt()).toBeNull();
    await create("a");
    expect(await scheduler().rearm()).toBe(0);
    expect(await alarmAt()).toBe(NOW + MINUTE);
  });

  test("sets a lost alarm, but reports nothing while a failed try may still be repeated", async () => {
    await create("a");
    for (const [lateMs, reportedMs] of [
      [-MINUTE, 0],
      [0, 0],
      [25_000, 0],
      [25_001, 25_001],
    ] as const) {
      await dropAlarm();
      vi.setSystemTime(NOW + MINUTE + lateMs);
      expect(await scheduler().rearm()).toBe(reportedMs);
      expect(await alarmAt()).not.toBeNull();
    }
  });

  test("sets a lost alarm, and reports by how much it is overdue", async () => {
    await create("a");
    await dropAlarm();
    vi.setSystemTime(NOW + MINUTE + 31_000);
    expect(await scheduler().rearm()).toBe(31_000);
    expect(await ring(NOW + MINUTE + 31_000)).toBe(true);
    expect(runsOf("a")).toEqual([1]);
    expect(await scheduler().rearm()).toBe(0);
  });

  test("logs overdue schedules", async () => {
    const { default: worker } = await import("../../support/worker.ts");
    const { createScheduledController } = await import("cloudflare:test");
    await create("a");
    await dropAlarm();
    vi.setSystemTime(NOW + MINUTE + 31_000);
    const { lines } = await captureLogs(async () => worker.scheduled(createScheduledController(), env));
    expect(lines).toEqual([
      {
        level: "warn",
        message: "overdue; its alarm was set again",
        what: "schedules",
        lateMs: 31_000,
        cronLateMs: expect.any(Number),
      },
    ]);
  });
});

describe("an alarm costs a row, so it is not set anew", () => {
  const sets = async (action: () => Promise<unknown>) =>
    runInDurableObject(scheduler(), async (_: Scheduler, { storage }) => {
      const setAlarm = vi.spyOn(Object.getPrototypeOf(storage) as DurableObjectStorage, "setAlarm");
      try {
        await action();
        return setAlarm.mock.calls.length;
      } finally {
        setAlarm.mockRestore();
      }
    });

  test("by the watchdog, unless it is missing or was lost", async () => {
    await create("a");
    const rearm = async () => sets(async () => scheduler().rearm());
    expect([await rearm(), await rearm()]).toEqual([0, 0]);
    for (const wrong of [null, NOW - 5_001]) {
      await runInDurableObject(scheduler(), async (_: Scheduler, { storage }) =>
        wrong === null ? storage.deleteAlarm() : storage.setAlarm(wrong),
      );
      expect([await rearm(), await alarmAt(), await rearm()]).toEqual([1, NOW + MINUTE, 0]);
    }
  });

  test("by another schedule that is due later", async () => {
    await create("a");
    expect(await sets(async () => create("b", { cron: "0 0 * * *" }))).toBe(0);
  });
});

test("the figures say how late the alarms were", async () => {
  const info = { isRetry: false, retryCount: 0, scheduledTime: NOW - 3_000 };
  await runInDurableObject(scheduler(), async (object: Scheduler) => object.alarm(info));
  expect((await scheduler().figures()).counts).toEqual({ "alarm|6": 1, "alarm|sum": 3 });
});
