import { createExecutionContext, env, waitOnExecutionContext } from "cloudflare:test";
import { describe, expect, test, vi } from "vitest";
import { z } from "zod";
import { SubrequestCount } from "../../../src/kernel/subrequests.ts";
import { registerTaskTypes, startTasks } from "../../../src/tasks/index.ts";
import { type Invocation, startRun } from "../../../src/tasks/run/attempt.ts";
import { defineTask, NonRetryableError } from "../../../src/tasks/types/define.ts";
import { MAX_JSON_BYTES } from "../../../src/tasks/types/json.ts";
import {
  fetchTask,
  newType,
  runTasks,
  scriptedLedger,
  someId,
  submitUnchecked,
  taskWhen,
  untilAborted,
  whenEnded,
} from "../../support/background.ts";
import { captureLogs } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";

keepQuiet();

const quickly = { minDelayMs: 0, maxDelayMs: 0 };
const anyTime = expect.any(String);

describe("a task whose code returns or throws", () => {
  const circular: unknown[] = [];
  circular.push(circular);
  const throws = (error: unknown) => async () => {
    throw error;
  };

  // Each could be retried three times: `failed` after one attempt means that it has failed for good.
  test.each([
    ["a value", async () => ({ n: [1] }), { status: "succeeded", result: { n: [1] }, error: null }],
    ["nothing", async () => undefined, { status: "succeeded", result: null }],
    ["a value that is not JSON", async () => () => 1, { status: "failed", error: { name: "TypeError" } }],
    ["a bigint", async () => 1n, { status: "failed", error: { name: "TypeError" } }],
    ["a circular value", async () => circular, { status: "failed", error: { name: "TypeError" } }],
    [
      "a value that is too long",
      async () => "x".repeat(MAX_JSON_BYTES),
      { status: "failed", error: { name: "RangeError" } },
    ],
    [
      "a NonRetryableError",
      throws(new NonRetryableError("hopeless")),
      { status: "failed", error: { name: "NonRetryableError", message: "hopeless" }, result: null },
    ],
    [
      "an error",
      throws(new RangeError("odd")),
      { status: "scheduled", error: { name: "RangeError", message: "odd" } },
    ],
    [
      "a value that cannot be shown",
      throws(Object.create(null)),
      { status: "scheduled", error: { name: "Error" } },
    ],
    ["undefined as an error", throws(undefined), { status: "scheduled", error: { name: "Error" } }],
  ])("%s", async (name, run, truth) => {
    const type = newType(`attempt-${name.replaceAll(" ", "-")}`, run, { retry: { minDelayMs: 600_000 } });
    const [task] = await runTasks([{ type, input: {} }]);
    expect(task).toMatchObject({ attempt: 1, crashes: 0, ...truth });
  });

  test("an error message of three million characters is kept in part", async () => {
    const type = newType("attempt-wordy", throws(new Error("x".repeat(3_000_000))), {
      retry: { retries: 0 },
    });
    const [task] = await runTasks([{ type, input: {} }]);
    expect(task).toMatchObject({ status: "failed", error: { message: expect.stringMatching(/^x{100}/) } });
    expect(JSON.stringify(task).length).toBeLessThan(10_000);
  });

  test("a failing attempt is followed by as many retries as the type allows", async () => {
    const attempts: number[] = [];
    const type = newType(
      "attempt-thrice",
      async ({ attempt }) => {
        attempts.push(attempt);
        throw new Error(`attempt ${attempt}`);
      },
      { retry: { retries: 2, ...quickly } },
    );
    const [task] = await runTasks([{ type, input: {} }]);
    expect(await whenEnded(String(task?.id))).toMatchObject({
      status: "failed",
      attempt: 3,
      error: { name: "Error", message: "attempt 3" },
      finishedAt: anyTime,
    });
    expect(attempts).toEqual([1, 2, 3]);
  });

  test("a successful attempt clears the error of the previous one", async () => {
    const type = newType(
      "attempt-second",
      async ({ attempt }) => {
        if (attempt === 1) throw new Error("not yet");
        return attempt;
      },
      { retry: { retries: 1, ...quickly } },
    );
    const [task] = await runTasks([{ type, input: {} }]);
    const ended = await whenEnded(String(task?.id));
    expect(ended).toMatchObject({ status: "succeeded", attempt: 2, result: 2, error: null });
  });
});

test("a task of an unknown type is retried: another version of the Worker may know the type", async () => {
  const type = defineTask({
    name: "attempt-unknown",
    input: z.unknown(),
    run: async () => "known",
    retry: quickly,
  });
  const { id } = await submitUnchecked(type.name, {});
  const waits = await taskWhen(id, "scheduled", "failed");
  expect(waits).toMatchObject({ status: "scheduled", attempt: 1, error: { message: expect.any(String) } });
  registerTaskTypes([type]);
  expect(await whenEnded(id)).toMatchObject({ status: "succeeded", attempt: 2, result: "known" });
});

describe("the input", () => {
  const strict = defineTask({
    name: "attempt-strict",
    input: z.object({ n: z.int().default(21) }),
    run: async (_ctx, { n }) => 2 * n,
  });
  registerTaskTypes([strict]);

  test("reaches the code as the schema's output", async () => {
    const [task] = await runTasks([{ type: strict, input: {} }]);
    expect(task).toMatchObject({ input: {}, result: 42 });
  });

  test("that no longer fits its type fails the task for good", async () => {
    const { id } = await submitUnchecked(strict.name, { n: "one" });
    expect(await whenEnded(id)).toMatchObject({
      status: "failed",
      attempt: 1,
      error: { name: "NonRetryableError" },
    });
  });
});

describe("an attempt that times out", () => {
  test("is interrupted by its signal, fails with a TimeoutError, and is retried", async () => {
    const reasons: unknown[] = [];
    const type = newType(
      "attempt-slow",
      async ({ attempt, signal }) => {
        if (attempt === 2) return "in time";
        signal.addEventListener("abort", () => void reasons.push(signal.reason));
        return untilAborted(signal);
      },
      { timeoutMs: 30, retry: { minDelayMs: 200 } },
    );
    const [task] = await runTasks([{ type, input: {} }]);
    expect(task).toMatchObject({ status: "scheduled", attempt: 1, error: { name: "TimeoutError" } });
    expect(reasons).toMatchObject([{ reason: "timeout" }]);
    expect(await whenEnded(String(task?.id))).toMatchObject({ status: "succeeded", attempt: 2 });
  });

  test("is abandoned if it ignores its signal", async () => {
    const { invocation, received } = newInvocation({ graceMs: 20 });
    newType("attempt-deaf", async () => new Promise(() => {}), { timeoutMs: 10 });
    const { done } = startRun(
      invocation,
      { taskId: someId(), token: 1 },
      assignment("attempt-deaf"),
      Date.now(),
    );
    expect(await done).toBe("abandoned");
    expect(received.reports).toMatchObject([
      { token: 1, outcome: { kind: "failed", isFinal: false, error: { name: "TimeoutError" } } },
    ]);
    // The retry waits until nothing of its invocation can be at work.
    expect(Number(received.reports[0]?.busyUntilMs) - Date.now()).toBeGreaterThan(800_000);
  });

  test("counts the time that earlier runs of the attempt took", async () => {
    const { invocation, received } = newInvocation({});
    newType("attempt-late", async ({ signal }) => untilAborted(signal), { timeoutMs: 60_000 });
    const beganAtMs = performance.now();
    const began = { attemptStartedAtMs: Date.now() - 60_000 };
    const { done } = startRun(
      invocation,
      { taskId: someId(), token: 1 },
      { ...assignment("attempt-late"), ...began },
      Date.now(),
    );
    expect(await done).toBe("ended");
    // No time was left, not even until the first heartbeat.
    expect(performance.now() - beganAtMs).toBeLessThan(1_000);
    expect(received.reports).toMatchObject([{ outcome: { error: { name: "TimeoutError" } } }]);
  });
});

describe("a run that outlasts its invocation", () => {
  test("is handed over, to continue at once, if its code ends", async () => {
    const { invocation, received } = newInvocation({ budgetMs: 10 });
    newType("attempt-long", async ({ signal }) => untilAborted(signal));
    const run = startRun(invocation, { taskId: someId(), token: 3 }, assignment("attempt-long"), Date.now());
    const { value, lines } = await captureLogs(async () => run.done);
    expect(value).toBe("ended");
    expect(received.reports).toMatchObject([{ token: 3, outcome: { kind: "handed-over", notBeforeMs: 0 } }]);
    expect(lines).toMatchObject([{ message: "task handed over", type: "attempt-long", attempt: 1 }]);
  });

  test("is handed over, to continue after the invocation has died, if its code does not end", async () => {
    const { invocation, received } = newInvocation({ budgetMs: 10, graceMs: 10, lifetimeMs: 5_000 });
    newType("attempt-longer", async () => new Promise(() => {}));
    const beganAtMs = Date.now();
    const { done } = startRun(
      invocation,
      { taskId: someId(), token: 1 },
      assignment("attempt-longer"),
      Date.now(),
    );
    expect(await done).toBe("abandoned");
    const [{ outcome, busyUntilMs = 0 } = expect.fail("no report")] = received.reports;
    expect(outcome).toMatchObject({ kind: "handed-over" });
    expect(busyUntilMs - beganAtMs).toBeGreaterThanOrEqual(5_000);
    expect(busyUntilMs - beganAtMs).toBeLessThan(5_500);
  });
});

test("every log line of a task has its id, type and attempt", async () => {
  const type = newType(
    "attempt-talks",
    async (ctx) => {
      ctx.log("info", "half way", { percent: 50 });
      throw new RangeError("too far");
    },
    { retry: { retries: 0 } },
  );
  const { value: id, lines } = await captureLogs(async () => {
    const ctx = createExecutionContext();
    const [started] = await startTasks(env, ctx, [{ type, input: {} }]);
    await waitOnExecutionContext(ctx);
    return String(started);
  });
  const about = { taskId: id, type: "attempt-talks", attempt: 1 };
  expect(lines).toEqual([
    { level: "info", message: "half way", percent: 50, ...about },
    { level: "error", message: "attempt failed", error: "RangeError: too far", stack: anyTime, ...about },
  ]);
  expect(await fetchTask(id)).toMatchObject({ status: "failed" });
});

/** A long invocation, and a ledger that records its calls. */
function newInvocation(limits: Partial<Invocation>, script: Parameters<typeof scriptedLedger>[0] = {}) {
  const { received, env: scripted } = scriptedLedger(script);
  const platform = { waitUntil: () => undefined };
  const invocation = {
    env: scripted,
    platform,
    budgetMs: 840_000,
    graceMs: 30_000,
    lifetimeMs: 900_000,
    travels: "together" as const,
    subrequests: new SubrequestCount({ external: 10_000, total: 10_000 }),
    ...limits,
  };
  return { invocation, received };
}

function assignment(type: string) {
  return { type, input: "{}", attempt: 1, attemptStartedAtMs: Date.now(), steps: {} };
}

describe("a run that has used up what its invocation may call", () => {
  const LIMITS = { external: 100, total: 100 };

  test("is handed over before that, so that its report arrives", async () => {
    let calls = 0;
    const limited =
      (call: (...args: never[]) => unknown) =>
      (...args: never[]) => {
        if (++calls > LIMITS.total) throw new Error("Too many subrequests by single Worker invocation.");
        return call(...args);
      };
    const reports: unknown[] = [];
    const { invocation } = newInvocation(
      { subrequests: new SubrequestCount(LIMITS) },
      {
        step: limited(async () => true),
        commit: limited(async (_submissions: unknown, given: unknown[]) => {
          reports.push(...given);
          return [];
        }),
      },
    );
    newType("attempt-many-steps", async (ctx) => {
      for (let n = 0; ; n++) await ctx.step(`step ${n}`, async () => n);
    });
    const run = startRun(
      invocation,
      { taskId: someId(), token: 3 },
      assignment("attempt-many-steps"),
      Date.now(),
    );
    expect(await run.done).toBe("ended");
    expect(reports).toMatchObject([{ token: 3, outcome: { kind: "handed-over", notBeforeMs: 0 } }]);
    expect(calls).toBeLessThan(LIMITS.total);
    expect(calls).toBeGreaterThan(LIMITS.total * 0.8);
  });

  test("is handed over too if the platform refuses calls that nobody counted", async () => {
    const { invocation, received } = newInvocation({});
    newType("attempt-uncounted", async () => {
      throw new Error("no data", { cause: new Error("Too many subrequests by single Worker invocation.") });
    });
    await startRun(invocation, { taskId: someId(), token: 3 }, assignment("attempt-uncounted"), Date.now())
      .done;
    expect(received.reports).toMatchObject([{ outcome: { kind: "handed-over" } }]);
  });

  test("and cannot even report keeps its report", async () => {
    const kept: unknown[] = [];
    const hurry = vi.spyOn(scheduler, "wait").mockResolvedValue();
    const { invocation } = newInvocation(
      { keepReport: (report) => kept.push(report) },
      { commit: async () => Promise.reject(new Error("Too many subrequests by single Worker invocation.")) },
    );
    newType("attempt-no-report", async () => "done");
    await startRun(invocation, { taskId: someId(), token: 3 }, assignment("attempt-no-report"), Date.now())
      .done;
    hurry.mockRestore();
    expect(kept).toMatchObject([{ token: 3, outcome: { kind: "succeeded", result: '"done"' } }]);
  });

  test("shares them with the other tasks of its invocation", async () => {
    const seen: number[] = [];
    const type = newType("attempt-shares", async (ctx) => {
      for (let n = 1; n <= 60; n++) await ctx.step(`step ${n}`, async () => seen.push(n));
      return "all";
    });
    const [one, two] = await runTasks(
      [
        { type, input: {} },
        { type, input: {} },
      ],
      { SUBREQUEST_LIMITS: LIMITS },
    );
    // Together, they would make 120 calls: both go on in runners of their own.
    expect(seen.length).toBeLessThan(100);
    for (const task of [one, two])
      expect(await whenEnded(String(task?.id))).toMatchObject({
        status: "succeeded",
        attempt: 1,
        crashes: 0,
      });
    expect(seen).toHaveLength(120);
  });
});
