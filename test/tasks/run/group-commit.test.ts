import { createExecutionContext, env, waitOnExecutionContext } from "cloudflare:test";
import { afterEach, describe, expect, test, vi } from "vitest";
import type { NewTask, Report } from "../../../src/tasks/ledger/claim.ts";
import { type Ledger, ledgerOn } from "../../../src/tasks/ledger/shards.ts";
import { newTaskId, shardOf } from "../../../src/tasks/ledger/task-id.ts";
import { reportInGroup, submitInGroup } from "../../../src/tasks/run/group-commit.ts";
import { fetchTask, newType, until, withLedger } from "../../support/background.ts";
import { platform } from "../../support/platform/platform.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { submitted, taskWhen } from "../../support/submissions.ts";
import worker from "../../support/worker.ts";

keepQuiet();
afterEach(() => {
  platform.reset();
  vi.restoreAllMocks();
});

const SHARD = "s2";
newType("group", async () => "done");

const newTask = (more: Partial<NewTask> = {}): NewTask => ({
  id: newTaskId(SHARD),
  type: "group",
  input: "{}",
  priority: 0,
  runAtMs: 0,
  callbackUrl: null,
  lane: "fast",
  lifetimeMs: 35_000,
  claimant: "me",
  ...more,
});

/** The real ledgers. The first call is held until the test lets it go; `calls` is what each call carried. */
function heldLedger() {
  const calls: { submissions: string[][]; reports: Report[] }[] = [];
  let isHeld = true;
  const held = withLedger((name) => ({
    commit: async (...args: Parameters<Ledger["commit"]>) => {
      const [submissions, reports] = args;
      calls.push({ submissions: submissions.map((tasks) => tasks.map(({ id }) => id)), reports });
      if (calls.length === 1) await until(() => !isHeld);
      return ledgerOn(env, name).commit(submissions, reports);
    },
  }));
  return { held, calls, letGo: () => (isHeld = false) };
}

const soon = () => Date.now() + 10_000;

describe("submissions and reports that meet a call under way", () => {
  test("travel together in the next one, each with its own claims", async () => {
    const { held, calls, letGo } = heldLedger();
    const [first, second, pair] = [newTask(), newTask(), [newTask(), newTask({ lane: null })]];
    const sent = [
      submitInGroup(held, SHARD, [first], soon()),
      submitInGroup(held, SHARD, [second], soon()),
      submitInGroup(held, SHARD, pair, soon()),
    ];
    const report = { taskId: first.id, token: 1, outcome: { kind: "succeeded", result: "1" } } as const;
    const reported = reportInGroup(held, SHARD, report, soon());
    letGo();
    expect(await Promise.all(sent)).toEqual([
      [{ taskId: first.id, token: 1 }],
      [{ taskId: second.id, token: 1 }],
      [{ taskId: pair[0]?.id, token: 1 }, null],
    ]);
    await reported;
    const [, together] = calls;
    expect(calls).toHaveLength(2);
    expect(together).toEqual({ submissions: [[second.id], pair.map(({ id }) => id)], reports: [report] });
    expect(await fetchTask(first.id)).toMatchObject({ status: "succeeded", result: 1 });
  });

  test("keep their errors to themselves, and are written all or none", async () => {
    const { held, calls, letGo } = heldLedger();
    const [first, second, third] = [newTask(), newTask(), newTask()];
    const broken = [newTask(), newTask({ type: null as never })];
    const sent = [[first], [second], broken, [third]].map(async (tasks) =>
      submitInGroup(held, SHARD, tasks, soon()),
    );
    letGo();
    const outcomes = await Promise.allSettled(sent);
    expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "fulfilled", "rejected", "fulfilled"]);
    expect(outcomes[2]).toMatchObject({
      reason: { message: expect.stringContaining("NOT NULL"), remote: true },
    });
    expect(calls).toHaveLength(2);
    expect((await fetchTask(third.id)).status).toBe("running");
    expect((await fetchTask(String(broken[0]?.id))).status).toBe(404);
  });
});

test("requests that come together need few calls, and all of their tasks run", async () => {
  const ids: string[] = [];
  const post = async () => {
    const ctx = createExecutionContext();
    const body = JSON.stringify({ type: "group" });
    const headers = { "Content-Type": "application/json" };
    const request = new Request("http://localhost/tasks", { method: "POST", headers, body });
    const response = await worker.fetch(request, env, ctx);
    ids.push((await response.json<{ id: string }>()).id);
    await waitOnExecutionContext(ctx);
  };
  const usage = await platform.measure(async () => Promise.all(Array.from({ length: 20 }, post)));
  // One by one it would be 40: each task is also reported.
  expect(usage.objectRequests).toBeLessThan(10);
  expect(new Set(ids.map(shardOf)).size).toBe(1);
  for (const id of ids) expect(await fetchTask(id)).toMatchObject({ status: "succeeded", crashes: 0 });
});

test.each(["reply-lost", "older"] as const)("a task whose call is %s runs once, at once", async (kind) => {
  vi.spyOn(scheduler, "wait").mockResolvedValue();
  platform.faults.add({ kind, binding: "TASK_LEDGER", method: "commit", times: kind === "older" ? 99 : 1 });
  const id = await submitted({ type: "group" });
  expect(await taskWhen(id, "succeeded")).toMatchObject({ attempt: 1, crashes: 0 });
});

test("a ledger of version 0.1.0 gets each submission in a call of its own", async () => {
  const calls: unknown[] = [];
  const old = withLedger(() => ({
    commit: async () => {
      throw new TypeError('The RPC receiver does not implement the method "commit".');
    },
    report: async (reports: Report[]) => void calls.push(reports),
    submit: async (tasks: NewTask[]) => {
      calls.push(tasks.map(({ id }) => id));
      if (tasks.length > 1) throw new Error("the second");
      return [null];
    },
  }));
  const [a, b] = [newTask(), newTask()];
  const report = { taskId: a.id, token: 1, outcome: { kind: "crashed" } } as const;
  const sent = [submitInGroup(old, SHARD, [a], soon()), submitInGroup(old, SHARD, [a, b], soon())];
  await reportInGroup(old, SHARD, report, soon());
  expect(await Promise.allSettled(sent)).toMatchObject([
    { value: [null] },
    { reason: { message: "the second" } },
  ]);
  expect(calls).toEqual([[a.id], [report], [a.id, b.id]]);
});
