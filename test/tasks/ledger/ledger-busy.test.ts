/** Whoever ends a claim before its code has ended: nothing of that task begins before the code is surely dead. */
import { describe, expect, test, vi } from "vitest";
import { z } from "zod";
import {
  CANCEL_GRACE_MS,
  LEASE_MS,
  MAX_CRASHES,
  RUNNER_LIFETIME_MS,
} from "../../../src/tasks/ledger/rules.ts";
import { defineTask } from "../../../src/tasks/types/define.ts";
import { registerTaskTypes } from "../../../src/tasks/types/registry.ts";
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

registerTaskTypes([
  defineTask({
    name: "ledger-busy",
    input: z.unknown(),
    run: async () => null,
    retry: { retries: 9, minDelayMs: 0 },
  }),
]);

useClock();
keepQuiet();

const LIFETIME_MS = 35_000;
const CLAIM = { taskId: "a", token: 1 };
const ERROR = { kind: "failed", error: { name: "Error", message: "no" }, isFinal: false } as const;

/** A task that is running, with deaf code: in its submitter's invocation, or in a runner. */
async function withDeaf(lane: "fast" | "long", action: (inside: Inside) => Promise<void> | void) {
  await inLedger(newLedgerName(), async (inside) => {
    inside.object.submit([
      newTask("ledger-busy", "a", { lane: lane === "fast" ? lane : null, lifetimeMs: LIFETIME_MS }),
    ]);
    if (lane === "long") {
      inside.alarm();
      inside.object.open(CLAIM);
    }
    await action(inside);
  });
}

/** How long after now the next claim begins, if nothing happens meanwhile. */
function msUntilNextClaim(inside: Inside): number {
  const beganAtMs = Date.now();
  for (let wakes = 0; wakes < 10; wakes++) {
    if (inside.alarm().length > 0) return Date.now() - beganAtMs;
    const dueAtMs = inside.object.getTask("a")?.due_at_ms ?? expect.fail("nothing is due");
    vi.setSystemTime(Math.max(dueAtMs, Date.now()));
  }
  return expect.fail("it never begins");
}

/** Lets the lease of the claim expire. */
function expire(inside: Inside): void {
  vi.setSystemTime(inside.object.getTask("a")?.due_at_ms ?? expect.fail("nothing is due"));
}

/** Each way in which a claim ends while its code goes on, and how long after the begin of the claim that is. */
const ENDS: [string, (inside: Inside) => void][] = [
  [
    "a cancel that was not obeyed",
    (inside) => {
      inside.object.cancel("a");
      pass(CANCEL_GRACE_MS);
      inside.alarm();
      expect(inside.object.retry("a")).toMatchObject({ status: "scheduled" });
    },
  ],
  [
    "a lease that expired",
    (inside) => {
      expire(inside);
      // In the fast lane, the next claim begins at once.
      if (inside.object.getTask("a")?.lane === "long") inside.alarm();
    },
  ],
  [
    "a lease that expired too often",
    (inside) => {
      inside.sql("UPDATE task SET crashes = ?", MAX_CRASHES - 1);
      expire(inside);
      inside.alarm();
      expect(inside.object.getTask("a")).toMatchObject({ status: "failed" });
      expect(inside.object.retryFailed("ledger-busy", Date.now() + 1, 9)).toBe(1);
    },
  ],
  ["a failure of abandoned code", (inside) => inside.report("a", ERROR, deadAtMs(inside))],
  [
    "a failure of abandoned code for good",
    (inside) => {
      inside.report("a", { ...ERROR, isFinal: true }, deadAtMs(inside));
      expect(inside.object.retry("a")).toMatchObject({ status: "scheduled" });
    },
  ],
  [
    "a hand-over of abandoned code",
    (inside) => inside.report("a", { kind: "handed-over", notBeforeMs: 0 }, deadAtMs(inside)),
  ],
];
const deadAtMs = (inside: Inside) => Number(inside.object.getTask("a")?.busy_until_ms);

describe.each(ENDS)("after %s, the next claim begins", (_name, end) => {
  test("when the invocation of its submitter must be over", async () => {
    await withDeaf("fast", (inside) => {
      end(inside);
      expect(Date.now() - T0 + msUntilNextClaim(inside)).toBe(LIFETIME_MS);
    });
  });

  test("when its runner must be over, if that cannot be stopped", async () => {
    await withDeaf("long", (inside) => {
      end(inside);
      expect([...inside.stopping.keys()]).toEqual(["a.1"]);
      expect(Date.now() - T0 + msUntilNextClaim(inside)).toBe(RUNNER_LIFETIME_MS);
    });
  });

  test("as soon as its runner has been stopped", async () => {
    await withDeaf("long", async (inside) => {
      end(inside);
      inside.stopping.get("a.1")?.();
      await scheduler.wait(0);
      expect(deadAtMs(inside)).toBe(0);
      expect(msUntilNextClaim(inside)).toBeLessThanOrEqual(1_000);
      // What that runner would still do is refused.
      expect(inside.object.heartbeat(CLAIM)).toBe("stale");
      expect(inside.object.step(CLAIM, "late", "1")).toBe(false);
    });
  });
});

describe("the next claim does not wait", () => {
  test.each(["fast", "long"] as const)("for code that has ended (%s)", async (lane) => {
    await withDeaf(lane, (inside) => {
      inside.report("a", FAILURE);
      inside.object.retry("a");
      expect([msUntilNextClaim(inside), inside.stopping.size]).toEqual([0, 0]);
    });
  });

  test("for a runner that never opened its claim", async () => {
    await inLedger(newLedgerName(), (inside) => {
      inside.object.submit([newTask("ledger-busy", "a")]);
      inside.alarm();
      pass(LEASE_MS);
      expect([msUntilNextClaim(inside), inside.stopping.size]).toEqual([0, 0]);
      expect(inside.object.open(CLAIM)).toBeNull();
    });
  });

  test("for a runner that has crashed and reports it", async () => {
    await withDeaf("long", (inside) => {
      inside.report("a", { kind: "crashed" });
      expect(msUntilNextClaim(inside)).toBe(0);
    });
  });

  test("for the code of an earlier claim, once a later one has ended in order", async () => {
    await withDeaf("long", async (inside) => {
      expire(inside);
      inside.alarm();
      inside.stopping.get("a.1")?.();
      await scheduler.wait(0);
      inside.alarm();
      inside.object.open({ taskId: "a", token: 2 });
      inside.report("a", FAILURE);
      expect(deadAtMs(inside)).toBe(0);
    });
  });
});

test("a stop that is late does not free a claim that has begun meanwhile", async () => {
  await withDeaf("long", async (inside) => {
    expire(inside);
    inside.alarm();
    const stop = inside.stopping.get("a.1");
    pass(RUNNER_LIFETIME_MS);
    inside.alarm();
    inside.object.open({ taskId: "a", token: 2 });
    const before = inside.object.getTask("a");
    stop?.();
    await scheduler.wait(0);
    expect(inside.object.getTask("a")).toEqual(before);
  });
});

test("a task whose code may be at work cannot be removed: under the same id, such code would hold a valid token", async () => {
  await withDeaf("fast", (inside) => {
    inside.object.cancel("a");
    pass(CANCEL_GRACE_MS);
    inside.alarm();
    expect(inside.object.remove("a")).toBe("busy");
    pass(LIFETIME_MS - CANCEL_GRACE_MS - 1);
    expect(inside.object.remove("a")).toBe("busy");
    pass(1);
    expect(inside.object.remove("a")).toBe("removed");
  });
});

test("a task that has succeeded is not busy, whatever its code left under way", async () => {
  await withDeaf("fast", (inside) => {
    inside.report("a", SUCCESS);
    expect(inside.object.remove("a")).toBe("removed");
  });
});
