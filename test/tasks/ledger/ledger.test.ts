/** Submitting tasks to the ledger, and how its alarm gives them to runners. */
import { evictDurableObject, runDurableObjectAlarm } from "cloudflare:test";
import { describe, expect, test, vi } from "vitest";
import { z } from "zod";
import type { Claim } from "../../../src/tasks/ledger/claim.ts";
import { PRIORITY_HEAD_START_MS } from "../../../src/tasks/ledger/rank.ts";
import { LEASE_MS, RUNNER_RETRY_MS } from "../../../src/tasks/ledger/rules.ts";
import { defineTask } from "../../../src/tasks/types/define.ts";
import { registerTaskTypes } from "../../../src/tasks/types/registry.ts";
import { captureLogs } from "../../support/call.ts";
import { inLedger, ledgerCalled, newTask, pass, SUCCESS, T0, useLedger } from "../../support/ledgers.ts";

const body = { input: z.unknown(), run: async () => null };
registerTaskTypes([
  defineTask({ ...body, name: "ledger-free" }),
  defineTask({ ...body, name: "ledger-one", concurrency: 1 }),
]);

const ledger = useLedger();

const free = (id: string, more = {}) => newTask("ledger-free", id, more);
const one = (id: string, more = {}) => newTask("ledger-one", id, more);
const FAST = { lane: "fast" } as const;

describe("submitting", () => {
  test("writes a task together with its first claim if the caller would run it at once", async () => {
    await inLedger(ledger.name, (inside) => {
      expect(inside.object.submit([free("a", FAST), free("b")])).toEqual([{ taskId: "a", token: 1 }, null]);
      expect(inside.statuses()).toEqual({ a: "running", b: "queued" });
      expect(inside.object.getTask("a")).toMatchObject({
        attempt: 1,
        lane: "fast",
        due_at_ms: T0 + LEASE_MS,
      });
      expect(inside.events("a")).toEqual([
        { number: 1, name: "status", data: JSON.stringify({ status: "running", attempt: 1 }) },
      ]);
    });
  });

  test("writes all of the tasks or none", async () => {
    await inLedger(ledger.name, (inside) => {
      const broken = free("b", { input: null as unknown as string });
      expect(() => inside.object.submit([free("a"), broken, free("c")])).toThrow("NOT NULL");
      expect([inside.sql("SELECT * FROM task"), inside.sql("SELECT * FROM event")]).toEqual([[], []]);
      inside.object.submit([free("a"), free("b"), free("c")]);
      expect(Object.keys(inside.statuses())).toEqual(["a", "b", "c"]);
    });
  });

  test("with an existing id changes nothing and returns no claim", async () => {
    await inLedger(ledger.name, (inside) => {
      expect(inside.object.submit([free("a", FAST), free("a", FAST)])).toEqual([
        { taskId: "a", token: 1 },
        null,
      ]);
      const before = inside.object.getTask("a");
      expect(inside.object.submit([free("a", { ...FAST, input: "2" })])).toEqual([null]);
      expect(inside.object.getTask("a")).toEqual(before);
      expect(inside.events("a")).toHaveLength(1);
    });
  });

  test("applies the reports that it carries first, so that their slots are free at once", async () => {
    await inLedger(ledger.name, ({ object }) => {
      const [claim] = object.submit([one("a", FAST)]);
      if (!claim) throw new Error("nothing was claimed");
      const claims = object.submit([one("b", FAST)], [{ ...claim, outcome: SUCCESS }]);
      expect(claims).toEqual([{ taskId: "b", token: 1 }]);
      expect(object.getTask("a")?.status).toBe("succeeded");
    });
  });
});

describe("the alarm", () => {
  test("starts no task before its time, and then starts it at once", async () => {
    await inLedger(ledger.name, async (inside) => {
      inside.object.submit([free("a", { ...FAST, runAtMs: T0 + 5_000 })]);
      expect(await inside.storage.getAlarm()).toBe(T0 + 5_000);
      pass(4_999);
      expect(inside.alarm()).toEqual([]);
      pass(1);
      expect(inside.alarm()).toEqual([{ taskId: "a", token: 1 }]);
    });
  });

  test("handles 200 due tasks, and fires again for the others", async () => {
    await inLedger(ledger.name, async (inside) => {
      inside.object.submit(Array.from({ length: 250 }, (_, n) => free(`t${n}`, { runAtMs: T0 + 1 })));
      pass(10);
      inside.alarm();
      expect(inside.sql("SELECT 1 FROM task WHERE status = 'scheduled'")).toHaveLength(50);
      expect(await inside.storage.getAlarm()).toBeLessThanOrEqual(Date.now());
    });
  });

  test("fires by itself", async () => {
    await inLedger(ledger.name, ({ object }) => object.submit([free("a")]));
    expect(await runDurableObjectAlarm(ledgerCalled(ledger.name))).toBe(true);
    expect((await ledgerCalled(ledger.name).getTask("a"))?.status).toBe("running");
  });

  test("takes back a claim if no runner can be reached, and tries again later", async () => {
    await inLedger(ledger.name, async (inside) => {
      const unreachable = { start: async () => Promise.reject(new Error("no")) };
      const restore = inside.scriptRunners(() => unreachable);
      inside.object.submit([free("a")]);
      inside.alarm();
      await vi.waitFor(() => expect(inside.status("a")).toBe("scheduled"), { timeout: 5_000 });
      expect(inside.object.getTask("a")).toMatchObject({ attempt: 1, crashes: 0, is_resuming: 1 });
      restore();
      pass(RUNNER_RETRY_MS);
      expect(inside.alarm()).toEqual([{ taskId: "a", token: 2 }]);
      expect(inside.started).toEqual([{ taskId: "a", token: 2 }]);
    });
  });

  test("leaves a claim to the runner that has opened it, even if the runner's reply was lost", async () => {
    await inLedger(ledger.name, async (inside) => {
      let tries = 0;
      const start = async (claim: Claim) => {
        if (++tries === 2) expect(inside.object.open(claim)).toMatchObject({ attempt: 1 });
        throw new Error("the reply is lost");
      };
      inside.scriptRunners(() => ({ start }));
      const { lines } = await captureLogs(async () => {
        inside.object.submit([free("opened")]);
        inside.alarm();
        await vi.waitFor(() => expect(tries).toBe(3), { timeout: 5_000 });
        await scheduler.wait(5);
      });
      expect(lines.filter(({ taskId }) => taskId === "opened")).toMatchObject([
        { message: "no runner could be reached", error: "Error: the reply is lost" },
      ]);
      expect(inside.object.getTask("opened")).toMatchObject({ status: "running", token: 1, is_resuming: 0 });
      expect(inside.object.heartbeat({ taskId: "opened", token: 1 })).toBe("ok");
    });
  });

  test("never throws, whatever is wrong, and fires again", async () => {
    await inLedger(ledger.name, async (inside) => {
      inside.object.submit([free("a")]);
      inside.sql("ALTER TABLE task RENAME TO gone");
      await inside.storage.deleteAlarm();
      expect(() => inside.object.alarm()).not.toThrow();
      expect(await inside.storage.getAlarm()).toBe(T0 + 5_000);
      inside.sql("ALTER TABLE gone RENAME TO task");
      pass(5_000);
      expect(inside.alarm()).toEqual([{ taskId: "a", token: 1 }]);
    });
  });
});

describe("after a restart", () => {
  test("leases, queues and concurrency limits are as before", async () => {
    await inLedger(ledger.name, ({ object }) =>
      object.submit([one("a", FAST), one("b"), one("c", { priority: 3 })]),
    );
    pass(1_000);
    await evictDurableObject(ledgerCalled(ledger.name));
    await inLedger(ledger.name, (inside) => {
      expect(inside.object.heartbeat({ taskId: "a", token: 1 })).toBe("ok");
      expect(inside.object.submit([one("d", FAST)])).toEqual([null]);
      expect(inside.object.getTask("b")?.rank_ms).toBe(T0);
      expect(inside.object.getTask("c")?.rank_ms).toBe(T0 - 3 * PRIORITY_HEAD_START_MS);
      expect(inside.alarm()).toEqual([]);
      inside.report("a", SUCCESS);
      expect(inside.alarm()).toEqual([{ taskId: "c", token: 1 }]);
    });
  });

  test("the alarm is not postponed by a task that is due later", async () => {
    await inLedger(ledger.name, ({ object }) => object.submit([free("lost", FAST)]));
    await evictDurableObject(ledgerCalled(ledger.name));
    await inLedger(ledger.name, async ({ object, storage }) => {
      object.submit([free("later", { runAtMs: T0 + 3_600_000 })]);
      expect(await storage.getAlarm()).toBe(T0 + LEASE_MS);
    });
  });
});

describe("a lost alarm", () => {
  test.each([
    ["for a due task", { runAtMs: T0 + 1_000 }, T0 + 1_000],
    ["for a queued task", {}, T0 + 500],
  ])("%s is set again by a restart", async (_, more, atMs) => {
    await inLedger(ledger.name, async ({ object, storage }) => {
      object.submit([free("a", more)]);
      await storage.deleteAlarm();
    });
    pass(500);
    await evictDurableObject(ledgerCalled(ledger.name));
    await inLedger(ledger.name, async ({ storage }) => expect(await storage.getAlarm()).toBe(atMs));
  });
});

describe("rearming", () => {
  test("sets a lost alarm, and returns by how much it is overdue", async () => {
    await inLedger(ledger.name, async ({ object, storage }) => {
      object.submit([free("a", { runAtMs: T0 + 1_000 })]);
      await storage.deleteAlarm();
      expect(await object.rearm()).toBe(0);
      expect(await storage.getAlarm()).toBe(T0 + 1_000);
      await storage.deleteAlarm();
      pass(61_000);
      expect(await object.rearm()).toBe(60_000);
      expect(await storage.getAlarm()).toBe(T0 + 61_000);
    });
  });

  test.each([0, 3])("returns by how much a queued task of priority %i is overdue", async (priority) => {
    await inLedger(ledger.name, async (inside) => {
      inside.object.submit([free("a", { priority })]);
      await inside.storage.deleteAlarm();
      pass(5_000);
      expect(await inside.object.rearm()).toBe(0);
      pass(1);
      expect(await inside.object.rearm()).toBe(5_001);
      pass(60_000);
      expect(await inside.object.rearm()).toBe(65_001);
      inside.alarm();
      expect(await inside.object.rearm()).toBe(0);
    });
  });

  test("does not count a task that waits for a free slot as overdue", async () => {
    await inLedger(ledger.name, async (inside) => {
      inside.object.submit([one("a", FAST), one("b")]);
      pass(LEASE_MS - 1);
      expect(await inside.object.rearm()).toBe(0);
      inside.object.heartbeat({ taskId: "a", token: 1 });
      pass(LEASE_MS - 1);
      expect(await inside.object.rearm()).toBe(0);
      inside.report("a", SUCCESS);
      expect(await inside.object.rearm()).toBe(2 * LEASE_MS - 2);
    });
  });

  test("sets an alarm if a task is queued, and none otherwise", async () => {
    await inLedger(ledger.name, async (inside) => {
      await inside.object.rearm();
      expect(await inside.storage.getAlarm()).toBeNull();
      inside.object.submit([free("a")]);
      await inside.storage.deleteAlarm();
      await inside.object.rearm();
      expect(await inside.storage.getAlarm()).toBe(T0);
    });
  });
});
