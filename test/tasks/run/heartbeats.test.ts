/** The heartbeats of a run, with a fake clock. */
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { SubrequestCount } from "../../../src/kernel/subrequests.ts";
import type { Claim } from "../../../src/tasks/ledger/claim.ts";
import {
  HEARTBEAT_MS,
  LEASE_MS,
  RUNNER_HEARTBEAT_MS,
  RUNNER_LEASE_MS,
} from "../../../src/tasks/ledger/rules.ts";
import { startRun } from "../../../src/tasks/run/attempt.ts";
import { newType, scriptedLedger, someId, untilAborted } from "../../support/background.ts";
import { captureLogs } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";

keepQuiet();

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date", "setTimeout", "clearTimeout", "setInterval", "clearInterval"] });
});
afterEach(() => {
  vi.useRealTimers();
});

const pass = async (ms: number) => vi.advanceTimersByTimeAsync(ms);

/** The interruptions that the current run's code has received, and a function that lets the code end. */
let heard: unknown[] = [];
let end = (): void => undefined;

newType(
  "heartbeat",
  async ({ signal }) => {
    const { promise, resolve } = Promise.withResolvers<string>();
    heard = [];
    end = () => resolve("done");
    signal.addEventListener("abort", () => void heard.push(signal.reason));
    return Promise.race([promise, untilAborted(signal)]);
  },
  { timeoutMs: 3_600_000 },
);

/** Starts a run. `leaseMs`: as a ledger says it that gives long leases. */
function start(heartbeat?: (claim: Claim) => Promise<string>, budgetMs = 840_000, leaseMs?: number) {
  const renew = async (claim: Claim) => ({ reply: await heartbeat?.(claim), leaseMs: leaseMs ?? LEASE_MS });
  return startOn(heartbeat ? { renew } : {}, budgetMs, leaseMs);
}

function startOn(script: Parameters<typeof scriptedLedger>[0], budgetMs = 840_000, leaseMs?: number) {
  const { received, env } = scriptedLedger(script);
  const invocation = {
    env,
    platform: { waitUntil: () => undefined },
    budgetMs,
    graceMs: 0,
    lifetimeMs: 900_000,
    travels: "together" as const,
    subrequests: new SubrequestCount({ external: 10_000, total: 10_000 }),
  };
  const claim = { taskId: someId(), token: 1 };
  const assignment = {
    type: "heartbeat",
    input: "{}",
    attempt: 1,
    attemptStartedAtMs: Date.now(),
    steps: {},
    ...(leaseMs === undefined ? {} : { leaseMs }),
  };
  return { ...startRun(invocation, claim, assignment, Date.now()), claim, received };
}

test("a long task sends a heartbeat every five seconds, and none after it has ended", async () => {
  const { done, received } = start();
  await pass(10 * HEARTBEAT_MS);
  expect([received.heartbeats, heard]).toEqual([10, []]);
  end();
  await done;
  expect(received.reports).toMatchObject([{ outcome: { kind: "succeeded", result: '"done"' } }]);
  await pass(10 * HEARTBEAT_MS);
  expect([received.heartbeats, vi.getTimerCount()]).toEqual([10, 0]);
});

test("a task keeps running while every second heartbeat arrives, and logs those that do not", async () => {
  let beats = 0;
  const { value, lines } = await captureLogs(async () => {
    const run = start(async () => {
      if (++beats % 2 === 1) throw new Error("the ledger restarts");
      return "ok";
    });
    await pass(10 * HEARTBEAT_MS);
    end();
    await run.done;
    return run;
  });
  expect(value.received.reports).toMatchObject([{ outcome: { kind: "succeeded" } }]);
  expect(lines).toHaveLength(5);
  expect(lines[0]).toMatchObject({ level: "warn", message: "heartbeat failed", taskId: value.claim.taskId });
});

test("a run that learns of its task's cancellation stops and reports it", async () => {
  const { done, received } = start(async () => "cancel");
  await pass(HEARTBEAT_MS);
  expect(heard).toMatchObject([{ reason: "cancelled" }]);
  expect(await done).toBe("ended");
  expect(received.reports).toMatchObject([{ outcome: { kind: "failed", error: { name: "Cancelled" } } }]);
});

test.each([1, HEARTBEAT_MS - 1, HEARTBEAT_MS, HEARTBEAT_MS + 1, 12_345, LEASE_MS])(
  "a run with a budget of %s ms is handed over exactly when that has passed",
  async (budgetMs) => {
    const { done, received } = start(undefined, budgetMs);
    await pass(budgetMs - 1);
    expect(heard).toEqual([]);
    await pass(1);
    expect(heard).toMatchObject([{ reason: "hand-over" }]);
    await done;
    expect(received.reports).toMatchObject([{ outcome: { kind: "handed-over" } }]);
    expect(vi.getTimerCount()).toBe(0);
  },
);

describe("a run that has lost its claim stops and reports nothing", () => {
  test("if the ledger says that the claim is stale", async () => {
    const { done, received } = start(async () => "stale");
    await pass(HEARTBEAT_MS);
    expect(heard).toMatchObject([{ reason: "lost" }]);
    await done;
    expect(received.reports).toEqual([]);
  });

  test.each([
    ["fails", async () => Promise.reject(new Error("unreachable"))],
    ["does not respond", async () => new Promise<string>(() => {})],
  ])("if the ledger %s until the lease has expired", async (_name, heartbeat) => {
    await captureLogs(async () => {
      const { done, received } = start(heartbeat);
      await pass(LEASE_MS - 1);
      expect(heard).toEqual([]);
      await pass(1);
      expect(heard).toMatchObject([{ reason: "lost" }]);
      await done;
      expect(received.reports).toEqual([]);
    });
  });

  test("even if the last heartbeat that arrived was sent a little late", async () => {
    let beats = 0;
    await captureLogs(async () => {
      const { done, received } = start(async () => {
        if (++beats === 1) return "ok";
        throw new Error("unreachable");
      });
      // One timer fires 50 ms late, and the next one on time.
      vi.setSystemTime(Date.now() + 50);
      await pass(HEARTBEAT_MS);
      vi.setSystemTime(Date.now() - 50);
      await pass(LEASE_MS + 49);
      expect(heard).toEqual([]);
      // From here on, the ledger may give the task to another run.
      await pass(1);
      expect(heard).toMatchObject([{ reason: "lost" }]);
      await done;
      expect(received.reports).toEqual([]);
    });
  });
});

describe("in the long lane, a run", () => {
  test("sends a heartbeat every minute", async () => {
    let beats = 0;
    const beat = async () => {
      beats++;
      return "ok";
    };
    const { done } = start(beat, 840_000, RUNNER_LEASE_MS);
    await pass(10 * RUNNER_HEARTBEAT_MS);
    expect([beats, heard]).toEqual([10, []]);
    end();
    await done;
    expect(vi.getTimerCount()).toBe(0);
  });

  test("tries again soon after a heartbeat that failed, and is lost when its lease has expired", async () => {
    const beatsAtMs: number[] = [];
    const beganAtMs = Date.now();
    await captureLogs(async () => {
      const { done } = start(
        async () => {
          beatsAtMs.push(Date.now() - beganAtMs);
          throw new Error("unreachable");
        },
        840_000,
        RUNNER_LEASE_MS,
      );
      await pass(RUNNER_LEASE_MS - 1);
      expect(heard).toEqual([]);
      await pass(1);
      expect(heard).toMatchObject([{ reason: "lost" }]);
      await done;
    });
    expect(beatsAtMs.slice(0, 3)).toEqual([60_000, 65_000, 70_000]);
    expect(vi.getTimerCount()).toBe(0);
  });

  test("counts on what the ledger says is left of its lease", async () => {
    let beats = 0;
    const renew = async () => {
      if (++beats > 1) throw new Error("unreachable");
      return { reply: "ok", leaseMs: 100_000 };
    };
    await captureLogs(async () => {
      startOn({ renew }, 840_000, RUNNER_LEASE_MS);
      await pass(RUNNER_HEARTBEAT_MS + 99_999);
      expect(heard).toEqual([]);
      await pass(1);
      expect(heard).toMatchObject([{ reason: "lost" }]);
    });
  });

  test("keeps the short lease that a ledger of version 0.1.0 gives", async () => {
    const beatsAtMs: number[] = [];
    const beganAtMs = Date.now();
    const renew = async () => {
      throw new TypeError('The RPC receiver does not implement the method "renew".');
    };
    const heartbeat = async () => {
      beatsAtMs.push(Date.now() - beganAtMs);
      return "ok";
    };
    const { done } = startOn({ renew, heartbeat }, 840_000, RUNNER_LEASE_MS);
    await pass(RUNNER_HEARTBEAT_MS + 4 * HEARTBEAT_MS);
    expect([beatsAtMs, heard]).toEqual([[60_000, 65_000, 70_000, 75_000, 80_000], []]);
    end();
    await done;
  });
});
