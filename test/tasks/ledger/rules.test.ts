/** Each rule by itself, and what it does not accept. rules-model.test.ts has all of them together. */
import { describe, expect, test } from "vitest";
import { PRIORITY_HEAD_START_MS } from "../../../src/tasks/ledger/rank.ts";
import {
  CANCEL_GRACE_MS,
  cancel,
  claim,
  HEARTBEAT_MS,
  LEASE_MS,
  leaseAfterHeartbeat,
  MAX_CRASHES,
  mayReport,
  RUNNER_LEASE_MS,
  RUNNER_RETRY_MS,
  type RuleInputs,
  report,
  retry,
  stopped,
  submit,
  tick,
} from "../../../src/tasks/ledger/rules.ts";
import {
  FINAL_STATUSES,
  isFinal,
  type Outcome,
  TASK_STATUSES,
  type TaskState,
  type TaskStatus,
} from "../../../src/tasks/ledger/task-state.ts";

const NOW = 1_000_000;
const ERROR = { name: "TypeError", message: "no" };
const inputs: RuleInputs = {
  nowMs: NOW,
  random: 0,
  retry: { retries: 2, minDelayMs: 1_000, maxDelayMs: 60_000, factor: 2 },
  retentionMs: { succeeded: 100, failed: 200, cancelled: 300 },
};
const HELD: readonly TaskStatus[] = ["running", "cancelling"];

/** A task in its first attempt, under its third token. */
function taskThatIs(status: TaskStatus, more: Partial<TaskState> = {}): TaskState {
  const isHeld = HELD.includes(status);
  return {
    status,
    priority: 0,
    rank_ms: status === "queued" ? NOW - 10 : null,
    passes_pause: 0,
    token: 3,
    attempt: 1,
    crashes: 0,
    has_new_step: 0,
    is_resuming: 0,
    lane: isHeld ? "long" : null,
    pool: "new",
    busy_until_ms: 0,
    due_at_ms: status === "queued" ? null : NOW,
    run_at_ms: 0,
    started_at_ms: NOW - 100,
    attempt_started_at_ms: isHeld ? NOW - 100 : null,
    spent_ms: 0,
    finished_at_ms: isFinal(status) ? NOW - 1 : null,
    result: null,
    error: null,
    ...more,
  };
}

test("a claim survives two missed heartbeats", () => {
  expect(LEASE_MS).toBeGreaterThan(2 * HEARTBEAT_MS);
});

describe("a new task", () => {
  test.each([
    ["that is due now", NOW, null, { status: "queued", due_at_ms: null, rank_ms: NOW, token: 0, attempt: 0 }],
    ["that was due long ago", 0, null, { status: "queued", due_at_ms: null, rank_ms: NOW, token: 0 }],
    [
      "that is due later",
      NOW + 1,
      null,
      { status: "scheduled", due_at_ms: NOW + 1, rank_ms: null, token: 0 },
    ],
    ["that is due later, with a lane", NOW + 1, "fast", { status: "scheduled", token: 0, lane: null }],
    [
      "that is due now, with a lane",
      NOW,
      "fast",
      { status: "running", token: 1, attempt: 1, due_at_ms: NOW + LEASE_MS },
    ],
  ] as const)("%s", (_, runAtMs, lane, expected) => {
    const { task, event } = submit(0, runAtMs, lane, NOW);
    expect(task).toMatchObject(expected);
    expect(event).toMatchObject({ name: "status", data: { status: expected.status, attempt: task.attempt } });
  });

  test("says when it will run only if it has to wait", () => {
    expect(submit(0, NOW + 1, null, NOW).event.data.runAt).toBe(new Date(NOW + 1).toISOString());
    expect(submit(0, NOW, null, NOW).event.data).not.toHaveProperty("runAt");
  });
});

describe("a claim", () => {
  test("begins an attempt under a new token", () => {
    const { task } = claim(taskThatIs("queued"), "long", NOW);
    expect(task).toMatchObject({ status: "running", token: 4, attempt: 2, lane: "long", rank_ms: null });
    expect(task).toMatchObject({
      due_at_ms: NOW + LEASE_MS,
      started_at_ms: NOW - 100,
      attempt_started_at_ms: NOW,
    });
  });

  test("of a task that continues keeps its attempt, and the time that it has used", () => {
    const { task } = claim(taskThatIs("queued", { is_resuming: 1, spent_ms: 100 }), "fast", NOW);
    expect(task).toMatchObject({ token: 4, attempt: 1, attempt_started_at_ms: NOW - 100, is_resuming: 0 });
  });

  test.each(TASK_STATUSES)(
    "on a %s task is accepted only while the task is held, and only with the latest token",
    (status) => {
      const task = taskThatIs(status);
      expect([2, 3, 4].map((token) => mayReport(task, token))).toEqual([false, HELD.includes(status), false]);
    },
  );

  test("is renewed by a heartbeat, unless the task is being cancelled", () => {
    for (const [lane, leaseMs] of [
      ["fast", LEASE_MS],
      ["long", RUNNER_LEASE_MS],
    ] as const) {
      const left = (ms: number) =>
        leaseAfterHeartbeat(taskThatIs("running", { lane, due_at_ms: NOW + ms }), NOW);
      expect([left(1), left(leaseMs / 2 - 1)]).toEqual([NOW + leaseMs, NOW + leaseMs]);
      // It is not worth a write yet.
      expect([left(leaseMs / 2), left(leaseMs)]).toEqual([NOW + leaseMs / 2, NOW + leaseMs]);
    }
    expect(leaseAfterHeartbeat(taskThatIs("cancelling", { due_at_ms: NOW + 5 }), NOW)).toBe(NOW + 5);
  });
});

const GOOD: Outcome = { kind: "succeeded", result: '{"sum":3}' };
const BAD: Outcome = { kind: "failed", error: ERROR, isFinal: false };
const OUTCOMES: Outcome[] = [
  GOOD,
  BAD,
  { kind: "failed", error: ERROR, isFinal: true },
  { kind: "handed-over", notBeforeMs: NOW + 500 },
  { kind: "crashed" },
  { kind: "not-begun" },
];

describe("a report", () => {
  test.each<[string, Partial<TaskState>, Outcome, Partial<TaskState>]>([
    ["of success", {}, GOOD, { status: "succeeded", result: '{"sum":3}', error: null, due_at_ms: NOW + 100 }],
    ["of success after failures", { error: "{}" }, GOOD, { status: "succeeded", error: null }],
    ["of a failure", {}, BAD, { status: "scheduled", due_at_ms: NOW + 1_000, is_resuming: 0, attempt: 1 }],
    ["of the failure before the last", { attempt: 2 }, BAD, { status: "scheduled", due_at_ms: NOW + 2_000 }],
    ["of the last failure", { attempt: 3 }, BAD, { status: "failed", due_at_ms: NOW + 200 }],
    ["of a failure that says when", {}, { ...BAD, notBeforeMs: NOW + 5_000 }, { due_at_ms: NOW + 5_000 }],
    ["of one that says sooner than usual", {}, { ...BAD, notBeforeMs: NOW + 5 }, { due_at_ms: NOW + 1_000 }],
    [
      "of the last failure, though it says when",
      { attempt: 3 },
      { ...BAD, notBeforeMs: NOW + 5_000 },
      { status: "failed", due_at_ms: NOW + 200 },
    ],
    ["of a failure for good", {}, { ...BAD, isFinal: true }, { status: "failed", finished_at_ms: NOW }],
    [
      "of a sleep",
      {},
      { kind: "handed-over", notBeforeMs: NOW + 9 },
      { status: "scheduled", due_at_ms: NOW + 9 },
    ],
    ["of a hand-over", {}, { kind: "handed-over", notBeforeMs: NOW }, { status: "queued", rank_ms: NOW }],
    ["of a crash", {}, { kind: "crashed" }, { status: "queued", crashes: 1, attempt: 1, is_resuming: 1 }],
    ["of the last crash but one", { crashes: MAX_CRASHES - 2 }, { kind: "crashed" }, { status: "queued" }],
    [
      "of the last crash",
      { crashes: MAX_CRASHES - 1 },
      { kind: "crashed" },
      { status: "failed", crashes: 5 },
    ],
    [
      "of the last crash, but after a new step",
      { crashes: MAX_CRASHES - 1, has_new_step: 1 },
      { kind: "crashed" },
      { status: "queued", crashes: 1, has_new_step: 0 },
    ],
    [
      "that no runner could be reached",
      {},
      { kind: "not-begun" },
      { status: "scheduled", due_at_ms: NOW + RUNNER_RETRY_MS },
    ],
  ])("%s", (_, state, outcome, expected) => {
    const task = report(taskThatIs("running", state), 3, outcome, inputs)?.task;
    expect(task).toMatchObject({ token: 3, lane: null, ...expected });
  });

  test("of a failure keeps the error, for now or for good", () => {
    for (const attempt of [1, 3]) {
      const transition = report(taskThatIs("running", { attempt }), 3, BAD, inputs);
      expect(JSON.parse(transition?.task.error ?? "")).toEqual(ERROR);
      expect(transition?.event.data.error).toEqual(ERROR);
    }
  });

  test("of too many crashes says so", () => {
    const transition = report(
      taskThatIs("running", { crashes: MAX_CRASHES - 1 }),
      3,
      { kind: "crashed" },
      inputs,
    );
    expect(JSON.parse(transition?.task.error ?? "")).toMatchObject({ name: "Crashed" });
  });

  test.each(OUTCOMES)("$kind of a task that is being cancelled ends it", (outcome) => {
    const task = report(taskThatIs("cancelling"), 3, outcome, inputs)?.task;
    expect(task).toMatchObject({ status: "cancelled", result: null, error: null, due_at_ms: NOW + 300 });
  });

  test.each(TASK_STATUSES)("of any kind on a %s task is accepted only while the task is held", (status) => {
    for (const outcome of OUTCOMES) {
      const isAccepted = report(taskThatIs(status), 3, outcome, inputs) !== undefined;
      expect(isAccepted).toBe(HELD.includes(status));
      expect(report(taskThatIs(status), 2, outcome, inputs)).toBeUndefined();
      expect(report(taskThatIs(status), 4, outcome, inputs)).toBeUndefined();
    }
  });
});

const transitionOf = (transition: ReturnType<typeof tick>) =>
  typeof transition === "object" ? transition.task : undefined;

describe("the due time", () => {
  test.each<[TaskStatus, Partial<TaskState>]>([
    ["scheduled", { status: "queued", rank_ms: NOW, due_at_ms: null }],
    ["running", { status: "queued", crashes: 1 }],
    ["cancelling", { status: "cancelled", finished_at_ms: NOW }],
  ])("of a %s task acts on it, and not before", (status, expected) => {
    expect(transitionOf(tick(taskThatIs(status, { due_at_ms: NOW }), inputs))).toMatchObject(expected);
    expect(tick(taskThatIs(status, { due_at_ms: NOW + 1 }), inputs)).toBeUndefined();
  });

  test.each(FINAL_STATUSES)("of a %s task is not what removes it: the retention of today is", (status) => {
    const endedSince = (ms: number) => taskThatIs(status, { finished_at_ms: NOW - ms, due_at_ms: NOW + 9 });
    expect(tick(endedSince(inputs.retentionMs[status]), inputs)).toBe("remove");
    expect(tick(endedSince(inputs.retentionMs[status] - 1), inputs)).toBeUndefined();
    const isBusy = { finished_at_ms: 0, busy_until_ms: NOW + 1 };
    expect(tick(taskThatIs(status, { ...isBusy, due_at_ms: NOW }), inputs)).toBeUndefined();
  });

  test("does not exist for a queued task", () => {
    expect(tick(taskThatIs("queued"), { ...inputs, nowMs: NOW * 2 })).toBeUndefined();
  });

  test("queues a scheduled task as of that time, however late the alarm is", () => {
    const transition = tick(taskThatIs("scheduled", { priority: 1 }), { ...inputs, nowMs: NOW + 5_000 });
    expect(transition).toMatchObject({ task: { rank_ms: NOW - PRIORITY_HEAD_START_MS } });
  });
});

describe("cancelling", () => {
  test.each<[TaskStatus, TaskStatus | "already" | undefined]>([
    ["scheduled", "cancelled"],
    ["queued", "cancelled"],
    ["running", "cancelling"],
    ["cancelling", "already"],
    ["cancelled", "already"],
    ["succeeded", undefined],
    ["failed", undefined],
  ])("a %s task: %s", (status, expected) => {
    const transition = cancel(taskThatIs(status), inputs);
    expect(typeof transition === "object" ? transition.task.status : transition).toBe(expected);
  });

  test("gives the code its grace period, whatever is left of the lease", () => {
    for (const due_at_ms of [NOW + 1, NOW + LEASE_MS])
      expect(cancel(taskThatIs("running", { due_at_ms }), inputs)).toMatchObject({
        task: { due_at_ms: NOW + CANCEL_GRACE_MS, lane: "long", token: 3, finished_at_ms: null },
      });
  });

  test("clears the error of an earlier attempt", () => {
    const transition = cancel(taskThatIs("scheduled", { error: JSON.stringify(ERROR) }), inputs);
    expect(transition).toMatchObject({ task: { error: null, finished_at_ms: NOW, due_at_ms: NOW + 300 } });
  });
});

describe("a retry by hand", () => {
  test.each(TASK_STATUSES)("of a %s task works only if it failed or was cancelled", (status) => {
    const transition = retry(taskThatIs(status), NOW);
    expect(transition !== undefined).toBe(status === "failed" || status === "cancelled");
  });

  test("of a task whose time has not come waits for it", () => {
    const wait = (run_at_ms: number) => retry(taskThatIs("cancelled", { run_at_ms }), NOW)?.task;
    expect(wait(NOW + 1)).toMatchObject({ status: "scheduled", due_at_ms: NOW + 1, rank_ms: null });
    expect(wait(NOW)).toMatchObject({ status: "queued", due_at_ms: null, rank_ms: NOW });
  });

  test("begins a life with full attempts and crashes, and continues the tokens", () => {
    const used = { attempt: 3, crashes: 4, is_resuming: 1, priority: 2, spent_ms: 9 };
    const task = retry(taskThatIs("failed", { ...used, error: JSON.stringify(ERROR) }), NOW)?.task;
    expect(task).toMatchObject({ status: "queued", attempt: 0, crashes: 0, is_resuming: 0, token: 3 });
    expect(task).toMatchObject({ started_at_ms: null, attempt_started_at_ms: null, finished_at_ms: null });
    expect(task).toMatchObject({ spent_ms: 0 });
    expect(task).toMatchObject({ error: null, due_at_ms: null, rank_ms: NOW - 2 * PRIORITY_HEAD_START_MS });
  });
});

test("exactly three statuses are final", () => {
  expect(TASK_STATUSES.filter(isFinal)).toEqual(FINAL_STATUSES);
});

/** When a task is queued, if nothing happens but that time passes. Its code must not be at work any longer. */
function queuedAtMs(from: TaskState | undefined): number {
  let task = from ?? expect.fail("no transition");
  for (let nowMs = NOW; task.status !== "queued"; ) {
    nowMs = task.due_at_ms ?? expect.fail("nothing to wait for");
    const transition = tick(task, { ...inputs, nowMs });
    task = typeof transition === "object" ? transition.task : expect.fail("not due");
    if (task.status === "queued") expect(nowMs).toBeGreaterThanOrEqual(task.busy_until_ms);
    if (task.status === "queued") return nowMs;
  }
  return NOW;
}

describe("a task whose code may be at work until a time is not queued before that", () => {
  const UNTIL = NOW + 5_000;
  const running = taskThatIs("running");
  const abandoned = (outcome: Outcome, busyUntilMs = UNTIL) =>
    report(running, 3, outcome, inputs, busyUntilMs)?.task;

  test.each<[string, TaskState | undefined, number]>([
    ["a failure, if the code may go on for longer than the retry delay", abandoned(BAD), UNTIL],
    [
      "a failure, if the code may go on for a fraction of a millisecond longer",
      abandoned(BAD, NOW + 1_000.5),
      NOW + 1_001,
    ],
    ["a failure, if the code may go on for less", abandoned(BAD, NOW + 999), NOW + 1_000],
    ["a hand-over", abandoned({ kind: "handed-over", notBeforeMs: 0 }), UNTIL],
    ["a sleep that ends before that", abandoned({ kind: "handed-over", notBeforeMs: NOW + 1 }), UNTIL],
    ["a sleep that ends after that", abandoned({ kind: "handed-over", notBeforeMs: UNTIL + 1 }), UNTIL + 1],
    ["an orderly end, which leaves no code", abandoned({ kind: "handed-over", notBeforeMs: 0 }, 0), NOW],
    ["a crash that a runner reports, which leaves no code", abandoned({ kind: "crashed" }, 0), NOW],
  ])("after %s", (_name, task, atMs) => {
    expect(queuedAtMs(task)).toBe(atMs);
  });

  const busy = { busy_until_ms: UNTIL };
  test("after a crash that only the lease tells of", () => {
    expect(queuedAtMs(transitionOf(tick({ ...running, ...busy }, inputs)))).toBe(UNTIL);
  });

  test("after no runner could be reached: one may have begun even so", () => {
    expect(queuedAtMs(report({ ...running, ...busy }, 3, { kind: "not-begun" }, inputs)?.task)).toBe(UNTIL);
  });

  test.each([
    ["a cancel that was not obeyed", transitionOf(tick({ ...taskThatIs("cancelling"), ...busy }, inputs))],
    ["too many crashes", transitionOf(tick({ ...running, ...busy, crashes: MAX_CRASHES - 1 }, inputs))],
    ["a last failure of abandoned code", abandoned({ ...BAD, isFinal: true })],
  ])("by a retry by hand after %s", (_name, ended) => {
    expect(isFinal(ended?.status ?? "running")).toBe(true);
    const again = ended && retry(ended, NOW)?.task;
    expect(queuedAtMs(again)).toBe(UNTIL);
  });

  test("and is kept until then, however short its retention is", () => {
    const ended = transitionOf(tick({ ...taskThatIs("cancelling"), ...busy }, inputs));
    expect(ended?.due_at_ms).toBe(UNTIL);
  });

  test("unless the code was stopped: then it is queued at once, or at its own time", () => {
    const crashed = transitionOf(tick({ ...running, ...busy }, inputs)) ?? expect.fail();
    expect(stopped(crashed, 2, NOW + 1)).toBeUndefined();
    expect(stopped(crashed, 3, NOW + 1)?.task).toMatchObject({
      status: "queued",
      busy_until_ms: 0,
      rank_ms: NOW + 1,
    });
    const failed = abandoned(BAD) ?? expect.fail();
    expect(stopped(failed, 3, NOW + 1)).toBeUndefined();
    const ended = abandoned({ ...BAD, isFinal: true }) ?? expect.fail();
    expect(stopped(ended, 3, NOW + 1)).toBeUndefined();
  });
});

test.each([
  ["new", "begun"],
  ["begun", "begun"],
  ["tick", "tick"],
  ["callback", "callback"],
] as const)("a task of the pool %s that goes on is of the pool %s", (pool, next) => {
  const held = taskThatIs("running", { pool });
  expect(report(held, 3, BAD, inputs)?.task.pool).toBe(next);
  expect(report(held, 3, { kind: "handed-over", notBeforeMs: 0 }, inputs)?.task.pool).toBe(next);
  expect(retry(taskThatIs("failed", { pool }), NOW)?.task.pool).toBe(next);
  expect(claim(taskThatIs("queued", { pool }), "long", NOW).task.pool).toBe(pool);
});
