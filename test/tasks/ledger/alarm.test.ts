/** The alarm of an object: never later than the work that it is set for. */
import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { describe, expect, test, vi } from "vitest";
import { z } from "zod";
import { Alarm } from "../../../src/tasks/ledger/alarm.ts";
import { LEASE_MS } from "../../../src/tasks/ledger/rules.ts";
import { defineTask } from "../../../src/tasks/types/define.ts";
import { registerTaskTypes } from "../../../src/tasks/types/registry.ts";
import {
  inLedger,
  ledgerCalled,
  newLedgerName,
  newTask,
  SUCCESS,
  T0,
  useClock,
} from "../../support/ledgers.ts";
import { keepQuiet } from "../../support/quiet.ts";

registerTaskTypes([defineTask({ name: "alarm", input: z.unknown(), run: async () => null })]);

useClock();
keepQuiet();

const task = (id: string, more = {}) => newTask("alarm", id, more);

/** An alarm in an object that has none yet, and the time it is set to. */
const withAlarm = async (action: (alarm: Alarm, set: () => Promise<number | null>) => Promise<void>) =>
  runInDurableObject(ledgerCalled(newLedgerName()), async (_object, state) =>
    action(new Alarm(state, { ensure: () => {} }), async () => state.storage.getAlarm()),
  );

describe("an alarm", () => {
  test("is set to the earliest requested time", async () => {
    await withAlarm(async (alarm, set) => {
      for (const [requestedMs, setMs] of [
        [50, 50],
        [70, 50],
        [50, 50],
        [30, 30],
      ] as const) {
        alarm.wakeAt(T0 + requestedMs);
        expect(await set()).toBe(T0 + setMs);
      }
    });
  });

  test("is not set for a time that never comes", async () => {
    await withAlarm(async (alarm, set) => {
      alarm.wakeAt(Number.POSITIVE_INFINITY);
      expect(await set()).toBeNull();
    });
  });

  test("does not change while suspended, and after a reset is set to the first requested time", async () => {
    await withAlarm(async (alarm, set) => {
      alarm.wakeAt(T0 + 50);
      alarm.suspend();
      alarm.wakeAt(T0 + 10);
      expect(await set()).toBe(T0 + 50);
      alarm.reset();
      alarm.wakeAt(T0 + 90);
      expect(await set()).toBe(T0 + 90);
      alarm.wakeAt(T0 + 95);
      expect(await set()).toBe(T0 + 90);
    });
  });
});

describe("a rolled-back submission", () => {
  const SPOIL = `CREATE TRIGGER no BEFORE INSERT ON task WHEN NEW.id = 'bad'
    BEGIN SELECT RAISE(ABORT, 'no'); END`;
  const SOON = { runAtMs: T0 + 1_000 };
  const LATE = { runAtMs: T0 + 60_000 };

  test.each([
    ["one task", [task("bad", SOON)]],
    ["a batch whose first task could be written", [task("good", SOON), task("bad", SOON)]],
    ["a batch whose last task could be written", [task("bad", SOON), task("good", SOON)]],
  ])("of %s sets no alarm, and does not prevent a later one", async (_, tasks) => {
    await inLedger(newLedgerName(), async ({ object, storage }) => {
      storage.sql.exec(SPOIL);
      expect(() => object.submit(tasks)).toThrow("no");
      expect(storage.sql.exec("SELECT id FROM task").toArray()).toEqual([]);
      expect(await storage.getAlarm()).toBeNull();
      object.submit([task("next", LATE)]);
      expect(await storage.getAlarm()).toBe(T0 + 60_000);
    });
  });

  test("leaves the alarm of existing tasks as it is", async () => {
    await inLedger(newLedgerName(), async ({ object, storage }) => {
      object.submit([task("there", { lane: "fast" })]);
      storage.sql.exec(SPOIL);
      expect(() => object.submit([task("good", SOON), task("bad", SOON)])).toThrow("no");
      expect(await storage.getAlarm()).toBe(T0 + LEASE_MS);
      object.submit([task("next", SOON)]);
      expect(await storage.getAlarm()).toBe(T0 + 1_000);
    });
  });
});

test("if a task's end is rolled back because its callback cannot be written, an alarm is set for another try", async () => {
  await inLedger(newLedgerName(), async (inside) => {
    const callbackUrl = "https://app.example.com/hooks/a";
    inside.object.submit([task("a", { lane: "fast", callbackUrl })]);
    inside.sql("CREATE TRIGGER no BEFORE INSERT ON task BEGIN SELECT RAISE(ABORT, 'no'); END");
    inside.report("a", SUCCESS);
    expect(inside.status("a")).toBe("running");
    inside.sql("DROP TRIGGER no");
    expect(await inside.storage.getAlarm()).toBeLessThanOrEqual(T0 + 60_000);
    inside.object.submit([task("b")]);
    expect(await inside.storage.getAlarm()).toBe(T0);
  });
});

describe("an alarm costs a row, so it is not set anew", () => {
  /** How often the alarm of any object is set meanwhile. */
  async function countSets(storage: DurableObjectStorage, action: () => Promise<unknown>): Promise<number> {
    const setAlarm = vi.spyOn(Object.getPrototypeOf(storage) as DurableObjectStorage, "setAlarm");
    try {
      await action();
      return setAlarm.mock.calls.length;
    } finally {
      setAlarm.mockRestore();
    }
  }

  test("by the watchdog, unless it is missing, too late, or was lost", async () => {
    await inLedger(newLedgerName(), async ({ object, storage }) => {
      object.submit([task("a", { runAtMs: T0 + 60_000 })]);
      const rearm = async () => countSets(storage, async () => object.rearm());
      expect([await rearm(), await rearm()]).toEqual([0, 0]);
      for (const wrong of [null, T0 + 60_001, T0 - 5_001]) {
        await (wrong === null ? storage.deleteAlarm() : storage.setAlarm(wrong));
        expect([await rearm(), await storage.getAlarm(), await rearm()]).toEqual([1, T0 + 60_000, 0]);
      }
    });
  });

  test("by an object that starts", async () => {
    const name = newLedgerName();
    await inLedger(name, ({ object }) => object.submit([task("a", { runAtMs: T0 + 60_000 })]));
    const sets = await inLedger(newLedgerName(), async ({ storage }) =>
      countSets(storage, async () => {
        await evictDurableObject(ledgerCalled(name));
        await ledgerCalled(name).getTask("a");
      }),
    );
    expect(sets).toBe(0);
    await inLedger(name, async ({ storage }) => expect(await storage.getAlarm()).toBe(T0 + 60_000));
  });
});
