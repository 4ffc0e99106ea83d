/** How claims and tasks end in the ledger: reports, crashes, cancels and removal. */
import { describe, expect, test, vi } from "vitest";
import { z } from "zod";
import {
  CANCEL_GRACE_MS,
  HEARTBEAT_MS,
  LEASE_MS,
  MAX_CRASHES,
  RUNNER_HEARTBEAT_MS,
  RUNNER_LEASE_MS,
} from "../../../src/tasks/ledger/rules.ts";
import { toTask } from "../../../src/tasks/ledger/schema.ts";
import { defineTask } from "../../../src/tasks/types/define.ts";
import { registerTaskTypes } from "../../../src/tasks/types/registry.ts";
import {
  DAY_MS,
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

const body = { input: z.unknown(), run: async () => null };
registerTaskTypes([defineTask({ ...body, name: "ledger-ends", retry: { retries: 1, minDelayMs: 1_000 } })]);

useClock();
keepQuiet();

const FAST = { lane: "fast" } as const;
const task = (id: string, more = {}) => newTask("ledger-ends", id, more);
const CLAIM = { taskId: "a", token: 1 };

/** Runs `action` in a ledger with one task, `a`, that is running in the fast lane. */
const withOne = async (action: (inside: Inside) => void | Promise<void>, more = {}) =>
  inLedger(newLedgerName(), async (inside) => {
    inside.object.submit([task("a", { ...FAST, ...more })]);
    await action(inside);
  });

describe("a claim", () => {
  test("whose lease has expired is no longer accepted; a runner continues the same attempt", async () => {
    await withOne(async (inside) => {
      expect(await inside.storage.getAlarm()).toBe(T0 + LEASE_MS);
      pass(LEASE_MS);
      expect(inside.alarm()).toEqual([{ taskId: "a", token: 2 }]);
      expect(inside.object.getTask("a")).toMatchObject({ attempt: 1, crashes: 1, lane: "long" });
      expect(inside.object.heartbeat(CLAIM)).toBe("stale");
      expect(inside.object.progress(CLAIM, 0.5, null)).toBe(false);
      expect(inside.object.step(CLAIM, "one", "1")).toBe(false);
      expect(inside.object.open(CLAIM)).toBeNull();
      inside.object.report([{ ...CLAIM, outcome: SUCCESS }]);
      expect(inside.object.getTask("a")).toMatchObject({
        status: "running",
        result: null,
        progress_ratio: null,
      });
      expect(inside.object.heartbeat({ taskId: "a", token: 2 })).toBe("ok");
    });
  });

  /** The time that a claim has left, by its row. */
  const left = (inside: Inside) => Number(inside.object.getTask("a")?.due_at_ms) - Date.now();

  test("of a runner lasts as long as it sends heartbeats, and writes at most at every second of them", async () => {
    await withOne(
      (inside) => {
        inside.alarm();
        inside.object.open(CLAIM);
        expect(left(inside)).toBe(RUNNER_LEASE_MS);
        let writes = 0;
        for (let n = 0; n < 10; n++) {
          pass(RUNNER_HEARTBEAT_MS);
          const before = inside.object.getTask("a");
          const leaseMs = inside.object.renew(CLAIM).leaseMs;
          expect(leaseMs).toBe(left(inside));
          if (JSON.stringify(inside.object.getTask("a")) !== JSON.stringify(before)) writes++;
          expect(inside.alarm()).toEqual([]);
        }
        expect(writes).toBe(5);
        pass(left(inside) - 1);
        expect(inside.alarm()).toEqual([]);
        pass(1);
        expect(inside.alarm()).toEqual([]);
        expect(inside.object.getTask("a")).toMatchObject({ crashes: 1, status: "scheduled" });
      },
      { lane: null },
    );
  });

  test("of the fast lane lasts as long as its invocation, which writes nothing at its heartbeats", async () => {
    await withOne(
      (inside) => {
        const before = inside.object.getTask("a");
        for (let n = 0; n < 5; n++) {
          pass(HEARTBEAT_MS);
          expect(inside.object.renew(CLAIM)).toEqual({ reply: "ok", leaseMs: left(inside) });
          expect(inside.alarm()).toEqual([]);
        }
        expect(inside.object.getTask("a")).toEqual(before);
        pass(left(inside) - 1);
        expect([inside.alarm(), left(inside)]).toEqual([[], 1]);
        pass(1);
        expect(inside.alarm()).toEqual([{ taskId: "a", token: 2 }]);
      },
      { lifetimeMs: 35_000 },
    );
  });

  test("of a run of version 0.1.0 lasts at least until its next heartbeat is overdue", async () => {
    await withOne((inside) => {
      for (let n = 0; n < 20; n++) {
        pass(HEARTBEAT_MS);
        expect(inside.object.heartbeat(CLAIM)).toBe("ok");
        expect(inside.alarm()).toEqual([]);
        expect(left(inside)).toBeGreaterThan(HEARTBEAT_MS);
      }
    });
  });

  test("on a task that does not exist is stale", async () => {
    await withOne(({ object }) => {
      expect(object.heartbeat({ taskId: "none", token: 1 })).toBe("stale");
      expect(() => object.report([{ taskId: "none", token: 1, outcome: SUCCESS }])).not.toThrow();
    });
  });

  test("passes on its recorded steps; the first record of a step stays", async () => {
    await withOne((inside) => {
      expect(inside.object.step(CLAIM, "one", "1")).toBe(true);
      expect(inside.object.step(CLAIM, "one", "2")).toBe(true);
      inside.object.report([{ ...CLAIM, outcome: { kind: "handed-over", notBeforeMs: 0 } }]);
      const [claim] = inside.alarm();
      expect(claim && inside.object.open(claim)).toEqual({
        type: "ledger-ends",
        input: '{"n":1}',
        attempt: 1,
        attemptStartedAtMs: T0,
        leaseMs: RUNNER_LEASE_MS,
        steps: { one: "1" },
      });
      expect(inside.events("a").map(({ name }) => name)).toEqual(["status", "step", "status", "status"]);
    });
  });

  test("can be handed over to a fractional number of milliseconds", async () => {
    await withOne((inside) => {
      inside.object.report([{ ...CLAIM, outcome: { kind: "handed-over", notBeforeMs: T0 + 20_000.5 } }]);
      expect(inside.status("a")).toBe("scheduled");
    });
  });
});

describe("a task whose machine dies five times", () => {
  test.each(["its lease expires", "its runner reports it"])(
    "has failed, whether %s each time",
    async (how) => {
      await withOne((inside) => {
        for (let crashes = 1; crashes <= MAX_CRASHES; crashes++) {
          expect(inside.status("a")).toBe("running");
          if (how === "its lease expires") pass(LEASE_MS);
          else inside.report("a", { kind: "crashed" });
          inside.alarm();
          expect(inside.object.getTask("a")).toMatchObject({ crashes, attempt: 1 });
        }
        expect(inside.object.getTask("a")).toMatchObject({ status: "failed", token: MAX_CRASHES });
        expect(JSON.parse(inside.object.getTask("a")?.error ?? "")).toMatchObject({ name: "Crashed" });
      });
    },
  );
});

test("a task that gets on, by new steps, may crash as often as it must", async () => {
  await withOne((inside) => {
    for (let n = 1; n <= 3 * MAX_CRASHES; n++) {
      const { token = 0 } = inside.object.getTask("a") ?? {};
      // The first step is recorded again and again, which is no progress.
      inside.object.step({ taskId: "a", token }, "first", "1");
      if (n % 3 === 0) inside.object.step({ taskId: "a", token }, `step ${n}`, "1");
      inside.report("a", { kind: "crashed" });
      inside.alarm();
      expect(inside.object.getTask("a")).toMatchObject({ status: "running", attempt: 1 });
    }
    for (let n = 0; n < MAX_CRASHES; n++) {
      inside.report("a", { kind: "crashed" });
      inside.alarm();
    }
    expect(inside.object.getTask("a")).toMatchObject({ status: "failed", crashes: MAX_CRASHES });
  });
});

describe("cancelling", () => {
  test.each([
    ["scheduled", { runAtMs: T0 + 1_000 }],
    ["queued", { lane: null }],
  ])("a %s task ends it at once, for good", async (status, more) => {
    await withOne((inside) => {
      expect(inside.status("a")).toBe(status);
      expect(inside.object.cancel("a")).toMatchObject({ status: "cancelled", finished_at_ms: T0 });
      pass(DAY_MS);
      expect(inside.alarm()).toEqual([]);
      expect(inside.object.cancel("a")).toMatchObject({ status: "cancelled" });
      expect(inside.events("a")).toHaveLength(2);
    }, more);
  });

  test("a running task tells its code; the task ends with the code, whatever that reports", async () => {
    await withOne((inside) => {
      expect(inside.object.cancel("a")).toMatchObject({ status: "cancelling" });
      expect(inside.object.heartbeat(CLAIM)).toBe("cancel");
      expect(inside.status("a")).toBe("cancelling");
      inside.object.report([{ ...CLAIM, outcome: SUCCESS }]);
      expect(inside.object.getTask("a")).toMatchObject({ status: "cancelled", result: null, error: null });
    });
  });

  test("a task whose runner has not started ends it when the runner opens the claim", async () => {
    await withOne((inside) => {
      inside.object.cancel("a");
      expect(inside.object.open({ ...CLAIM, token: 2 })).toBeNull();
      expect(inside.status("a")).toBe("cancelling");
      pass(1);
      expect(inside.object.open(CLAIM)).toBeNull();
      expect(inside.object.getTask("a")).toMatchObject({ status: "cancelled", finished_at_ms: T0 + 1 });
    });
  });

  test("withdraws the claim after 10 s, with or without heartbeats", async () => {
    await withOne(async (inside) => {
      pass(1_000);
      inside.object.cancel("a");
      expect(await inside.storage.getAlarm()).toBe(T0 + 1_000 + CANCEL_GRACE_MS);
      pass(CANCEL_GRACE_MS - 1);
      expect(inside.object.heartbeat(CLAIM)).toBe("cancel");
      inside.alarm();
      expect(inside.status("a")).toBe("cancelling");
      pass(1);
      inside.alarm();
      expect(inside.status("a")).toBe("cancelled");
      expect(inside.object.heartbeat(CLAIM)).toBe("stale");
    });
  });

  test("a task in a runner tells that runner", async () => {
    await withOne(
      async (inside) => {
        inside.alarm();
        inside.object.cancel("a");
        await vi.waitFor(() => expect(inside.cancelled).toEqual(["a.1"]));
      },
      { lane: null },
    );
  });

  test("a task that has already ended, or does not exist, changes nothing", async () => {
    await withOne((inside) => {
      inside.report("a", SUCCESS);
      expect([inside.object.cancel("a"), inside.object.cancel("none")]).toEqual(["ended", null]);
      expect(inside.status("a")).toBe("succeeded");
    });
  });
});

describe("a task that has ended", () => {
  test("is removed after its retention, with its events and steps, and not before", async () => {
    await withOne((inside) => {
      inside.object.submit([task("b", FAST), task("c")]);
      for (const taskId of ["a", "b"]) inside.object.step({ ...CLAIM, taskId }, "one", "1");
      inside.report("a", SUCCESS);
      inside.report("b", FAILURE);
      inside.object.cancel("c");
      const keptAfter = (ms: number) => {
        pass(ms);
        inside.alarm();
        return Object.keys(inside.statuses());
      };
      expect(keptAfter(7 * DAY_MS - 1)).toEqual(["a", "b", "c"]);
      expect(keptAfter(1)).toEqual(["b"]);
      expect(inside.sql("SELECT DISTINCT task_id AS id FROM event")).toEqual([{ id: "b" }]);
      expect(inside.sql("SELECT DISTINCT task_id AS id FROM step")).toEqual([{ id: "b" }]);
      expect(keptAfter(23 * DAY_MS - 1)).toEqual(["b"]);
      expect(keptAfter(1)).toEqual([]);
    });
  });

  test("may have a retention that is a fractional number of milliseconds", async () => {
    await withOne((inside) => {
      inside.setVariables({ TASK_RETENTION_DAYS: { succeeded: 3.142857, failed: 30, cancelled: 7 } });
      inside.report("a", SUCCESS);
      expect(inside.status("a")).toBe("succeeded");
    });
  });

  test("can be removed by hand, and no other task can", async () => {
    await withOne((inside) => {
      expect([inside.object.remove("a"), inside.object.remove("none")]).toEqual(["active", null]);
      inside.report("a", SUCCESS);
      expect(toTask(inside.object.getTask("a") ?? expect.fail()).result).toBe("done");
      expect(inside.object.remove("a")).toBe("removed");
      expect([inside.object.getTask("a"), inside.events("a")]).toEqual([null, []]);
    });
  });
});

test("the scheduler is told when the run of a tick has ended, and of no other task", async () => {
  const told: string[] = [];
  const tick = (id: string) => task(id, { ...FAST, pool: "tick" });
  await withOne(async (inside) =>
    inside.withScheduler(
      async (taskId) => void told.push(taskId),
      () => {
        inside.object.submit([tick("ends"), tick("fails")]);
        inside.report("a", SUCCESS);
        inside.report("fails", { kind: "crashed" });
        expect(told).toEqual([]);
        inside.report("ends", SUCCESS);
        inside.object.cancel("fails");
        expect(told).toEqual(["ends", "fails"]);
      },
    ),
  );
});

test("a scheduler that cannot be reached, or is of version 0.1.0, does not matter", async () => {
  const missing = new TypeError('The RPC receiver does not implement the method "runEnded".');
  await withOne(async (inside) =>
    inside.withScheduler(
      async () => Promise.reject(missing),
      async () => {
        inside.object.submit([task("tick", { ...FAST, pool: "tick" })]);
        inside.report("tick", SUCCESS);
        await scheduler.wait(0);
        expect(inside.status("tick")).toBe("succeeded");
      },
    ),
  );
});
