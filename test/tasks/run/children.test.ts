/** `ctx.startTasks` and `ctx.waitForTasks`: what a task's code sees of its children, over its runs. */
import { beforeEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { ChildTaskError, NonRetryableError } from "../../../src/tasks/index.ts";
import { fetchTask, newType, runTasks, taskWhen, whenEnded } from "../../support/background.ts";
import { callForJson } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";

keepQuiet();

let begun: Record<string, number> = {};
beforeEach(() => {
  begun = {};
});
const note = (what: string) => void (begun[what] = (begun[what] ?? 0) + 1);

const good = newType("child_good", async (ctx) => {
  note("good");
  return { id: ctx.taskId };
});
const bad = newType("child_bad", async () => {
  throw new NonRetryableError("this one is bad");
});
const waiting = newType("child_waiting", async (ctx) => ctx.waitFor("go"));
/** On a shard of its own. */
const far = newType("child_far", async () => "far", { concurrency: 2 });
const farWaiting = newType("child_far_waiting", async (ctx) => ctx.waitFor("go"), { concurrency: 2 });

async function start(type: ReturnType<typeof newType>): Promise<string> {
  const [task] = await runTasks([{ type, input: {} }]);
  return String(task?.id);
}

interface Child {
  id: string;
  type: string;
  status: string;
}
const childrenOf = async (id: string) => ((await fetchTask(id)).children ?? []) as Child[];
const post = async (path: string, body: unknown = null) =>
  callForJson(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });

const several = newType("parent_several", async (ctx) => {
  note("run");
  const ids = await ctx.startTasks([
    { type: good, input: 1 },
    { type: far, input: 2 },
    { type: waiting, input: 3 },
  ]);
  return ctx.waitForTasks(ids);
});

test("a parent sleeps until its children have ended, and goes on with their results in order", async () => {
  const id = await start(several);
  const parent = await taskWhen(id, "scheduled");
  const children = await childrenOf(id);
  expect(children.map(({ type }) => type)).toEqual(["child_good", "child_far", "child_waiting"]);
  expect(parent).toMatchObject({ waitingFor: [{ tasks: children.map((child) => child.id) }] });
  expect(await taskWhen(children[2]?.id ?? "", "scheduled")).toMatchObject({ parent: id });
  await post(`/tasks/${children[2]?.id}/signals/go`, "gone");
  expect(await whenEnded(id)).toMatchObject({
    status: "succeeded",
    attempt: 1,
    result: [{ id: children[0]?.id }, "far", "gone"],
  });
  expect((await childrenOf(id)).map(({ status }) => status)).toEqual(["succeeded", "succeeded", "succeeded"]);
  expect(begun).toEqual({ run: 2, good: 1 });
});

test("allSettled gives how each has ended", async () => {
  const type = newType("parent_settled", async (ctx) => {
    const ids = await ctx.startTasks([
      { type: bad, input: 1 },
      { type: good, input: 2 },
    ]);
    return ctx.waitForTasks(ids, { mode: "allSettled" });
  });
  const id = await start(type);
  const { result, status } = await whenEnded(id);
  const [first, second] = await childrenOf(id);
  expect(status).toBe("succeeded");
  expect(result).toEqual([
    { id: first?.id, status: "failed", error: { name: "NonRetryableError", message: "this one is bad" } },
    { id: second?.id, status: "succeeded", result: { id: second?.id } },
  ]);
});

describe("all", () => {
  test("throws as soon as one child has failed, while others are at work", async () => {
    const type = newType("parent_caught", async (ctx) => {
      const ids = await ctx.startTasks([
        { type: waiting, input: 1 },
        { type: bad, input: 2 },
      ]);
      const error = await ctx.waitForTasks(ids).catch((caught: unknown) => caught);
      return error instanceof ChildTaskError && [ids.indexOf(error.taskId), error.status, error.message];
    });
    const { result } = await whenEnded(await start(type));
    expect(result).toEqual([1, "failed", expect.stringContaining("this one is bad")]);
  });

  test("fails the task at once if nobody catches that; a retry by hand retries the child", async () => {
    let isBad = true;
    const moody = newType("child_moody", async () => {
      if (isBad) throw new NonRetryableError("not today");
      return "better";
    });
    const type = newType("parent_uncaught", async (ctx) =>
      ctx.waitForTasks(
        await ctx.startTasks([
          { type: good, input: 1 },
          { type: moody, input: 2 },
        ]),
      ),
    );
    const id = await start(type);
    expect(await whenEnded(id)).toMatchObject({
      status: "failed",
      attempt: 1,
      error: { name: "ChildTaskError", message: expect.stringContaining("not today") },
    });
    isBad = false;
    await post(`/tasks/${id}/retry`);
    expect(await whenEnded(id)).toMatchObject({ status: "succeeded", result: [expect.anything(), "better"] });
    expect(begun.good).toBe(1);
    expect(await childrenOf(id)).toHaveLength(2);
  });
});

test("children may have tags", async () => {
  const type = newType("parent_tags", async (ctx) =>
    ctx.startTasks([
      { type: good, input: 1, tags: ["near"] },
      { type: far, input: 2, tags: ["far"] },
    ]),
  );
  const { result } = await whenEnded(await start(type));
  const ended = await Promise.all((result as string[]).map(async (id) => whenEnded(id)));
  expect(ended.map(({ tags }) => tags)).toEqual([["near"], ["far"]]);
});

test("a cancel of a parent cancels its children, also those on other shards", async () => {
  const type = newType("parent_cancelled", async (ctx) =>
    ctx.waitForTasks(
      await ctx.startTasks([
        { type: waiting, input: 1 },
        { type: farWaiting, input: 2 },
      ]),
    ),
  );
  const id = await start(type);
  await taskWhen(id, "scheduled");
  const children = await childrenOf(id);
  for (const child of children) await taskWhen(child.id, "scheduled");
  await post(`/tasks/${id}/cancel`);
  for (const child of children) expect((await whenEnded(child.id)).status).toBe("cancelled");
});

test("a child that is removed after its end does not hang its parent", async () => {
  const type = newType("parent_of_removed", async (ctx) => {
    const ids = await ctx.startTasks([{ type: good, input: 1 }]);
    await ctx.waitFor("go");
    return ctx.waitForTasks(ids);
  });
  const id = await start(type);
  const [child] = await childrenOf(id);
  await whenEnded(child?.id ?? "");
  expect(
    (await callForJson(`/tasks/${child?.id}`, { method: "DELETE" }).catch(() => ({ status: 204 }))).status,
  ).toBe(204);
  await post(`/tasks/${id}/signals/go`);
  expect(await whenEnded(id)).toMatchObject({ status: "succeeded", result: [{ id: child?.id }] });
});

test("children are started once, whatever becomes of the runs of their parent", async () => {
  const type = newType(
    "parent_again",
    async (ctx) => {
      note("run");
      const ids = await ctx.startTasks([{ type: good, input: 1 }]);
      if (begun.run === 1) await ctx.handOver();
      if (begun.run === 2) throw new Error("again");
      const more = await ctx.startTasks([{ type: good, input: 2 }]);
      return ctx.waitForTasks([...more, ...ids]);
    },
    { retry: { minDelayMs: 0, maxDelayMs: 0 } },
  );
  const id = await start(type);
  const { status, result } = await whenEnded(id);
  const [first, second] = await childrenOf(id);
  expect([status, result]).toEqual(["succeeded", [{ id: second?.id }, { id: first?.id }]]);
  expect(begun.good).toBe(2);
});

describe("is refused, with a reason", () => {
  const strict = newType("child_strict", async () => 1, { input: z.object({ n: z.number() }) });
  const wrong = { type: strict, input: { n: "one" } };
  test.each([
    ["a stranger", "child of this task", async (ctx) => ctx.waitForTasks([ctx.taskId])],
    [
      "more children than a task may have",
      "at most 1000 children",
      async (ctx) => ctx.startTasks(Array.from({ length: 1_001 }, () => ({ type: good, input: 1 }))),
    ],
    [
      "an input that does not fit",
      `does not fit the task type "child_strict". 1/input/n: Invalid input: expected number, received string`,
      async (ctx) => ctx.startTasks([{ type: good, input: 1 }, wrong]),
    ],
    [
      "a child with a guard",
      "neither `unique` nor `debounce`",
      async (ctx) => {
        const guarded = { type: good, input: 1, unique: { key: "one" } };
        return ctx.startTasks([guarded]);
      },
    ],
  ] as [string, string, Parameters<typeof newType>[1]][])("%s", async (what, why, run) => {
    const id = await start(newType(`parent_${what.replaceAll(" ", "_")}`, run));
    expect(await whenEnded(id)).toMatchObject({
      status: "failed",
      attempt: 1,
      error: { name: "NonRetryableError", message: expect.stringContaining(why) },
    });
  });

  test("a flow that is too deep", async () => {
    const type: ReturnType<typeof newType> = newType("parent_deep", async (ctx) => {
      note("deep");
      return ctx.waitForTasks(await ctx.startTasks([{ type, input: 1 }]));
    });
    const id = await start(type);
    expect(await whenEnded(id)).toMatchObject({
      status: "failed",
      error: { message: expect.stringContaining("at most 8 tasks above") },
    });
  });
});
