/** `ctx.waitFor`: what a task's code sees of signals, over its runs. */
import { env } from "cloudflare:test";
import { beforeEach, describe, expect, test } from "vitest";
import { SignalTimeoutError } from "../../../src/tasks/index.ts";
import { fetchTask, newType, runTasks, taskWhen, whenEnded } from "../../support/background.ts";
import { callForJson } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";

keepQuiet();

/** How often the parts of a task's code began, by their names. */
let begun: Record<string, number> = {};
beforeEach(() => {
  begun = {};
});
const note = (what: string) => void (begun[what] = (begun[what] ?? 0) + 1);

const send = async (id: unknown, name: string, payload: unknown) =>
  callForJson(`/tasks/${String(id)}/signals/${name}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(payload),
  });

/** Starts a task, and returns it when its first run has ended. */
async function start(type: ReturnType<typeof newType>) {
  const [task] = await runTasks([{ type, input: {} }]);
  if (!task) throw new Error("no task");
  return { ...task, id: String(task.id) };
}

const approval = newType("wait_approval", async (ctx) => {
  note("run");
  await ctx.step("ask", async () => note("ask"));
  const answer = await ctx.waitFor<{ by: string }>("approval", { timeout: "1h" });
  return { by: answer.by };
});

test("a task that waits occupies nothing, and goes on with what the signal brings", async () => {
  const task = await start(approval);
  expect(task).toMatchObject({
    status: "scheduled",
    waitingFor: [{ signal: "approval", until: expect.stringMatching(/Z$/) }],
  });
  expect(await send(task.id, "approval", { by: "Ada" })).toMatchObject({
    status: 202,
    body: { name: "approval", sentAt: expect.any(String) },
  });
  const ended = await whenEnded(task.id);
  expect(ended).toMatchObject({ status: "succeeded", result: { by: "Ada" }, attempt: 1 });
  expect(ended).not.toHaveProperty("waitingFor");
  expect(begun).toEqual({ run: 2, ask: 1 });
});

test("its events say what it waits for, and that it has come", async () => {
  const { id } = await start(approval);
  await send(id, "approval", { by: "Ada" });
  await whenEnded(id);
  const ledger = env.TASK_LEDGER.getByName(id.slice(0, 2));
  const stream = (await ledger.watch(id, 0, "test")) as ReadableStream;
  const text = await new Response(stream).text();
  expect(text).toMatch(/"status":"scheduled".*"waitingFor":\["approval"\]/);
  expect(text).toMatch(/event: signal\ndata: .*"signal":"approval"/);
});

test("signals that come before are kept, and received in their order", async () => {
  const type = newType("wait_kept", async (ctx) => {
    await ctx.waitFor("go");
    return [await ctx.waitFor("n"), await ctx.waitFor("n"), await ctx.waitFor("other")];
  });
  const { id } = await start(type);
  for (const n of [1, 2]) await send(id, "n", n);
  await send(id, "other", null);
  expect(await fetchTask(id)).toMatchObject({ status: "scheduled", waitingFor: [{ signal: "go" }] });
  await send(id, "go", true);
  expect(await whenEnded(id)).toMatchObject({ status: "succeeded", result: [1, 2, null] });
});

describe("a time-out", () => {
  test("is thrown, in each later run as well", async () => {
    const type = newType("wait_timeout_caught", async (ctx) => {
      note("run");
      const first = await ctx.waitFor("late", { timeout: 20 }).catch((error: unknown) => error);
      const isTimeout = first instanceof SignalTimeoutError && first.signal === "late";
      return [isTimeout, await ctx.waitFor("late")];
    });
    const { id } = await start(type);
    await taskWhen(id, "scheduled");
    await send(id, "late", "at last");
    expect(await whenEnded(id)).toMatchObject({ status: "succeeded", result: [true, "at last"] });
    expect(begun.run).toBe(2);
  });

  test("that nobody catches fails the task at once; a retry by hand waits anew", async () => {
    const type = newType("wait_timeout", async (ctx) => ctx.waitFor("never", { timeout: 10 }));
    const { id } = await start(type);
    expect(await fetchTask(id)).toMatchObject({
      status: "failed",
      attempt: 1,
      error: { name: "SignalTimeoutError" },
    });
    await callForJson(`/tasks/${id}/retry`, { method: "POST" });
    await send(id, "never", "now");
    expect(await whenEnded(id)).toMatchObject({ status: "succeeded", result: "now" });
  });

  test("of a task that is parked wakes it", async () => {
    const type = newType("wait_timeout_parked", async (ctx) =>
      ctx.waitFor("never", { timeout: "11s" }).catch(() => "gave up"),
    );
    const { id } = await start(type);
    const { waitingFor, runAt } = await fetchTask(id);
    expect(waitingFor).toEqual([{ signal: "never", until: runAt }]);
  });
});

describe("side by side", () => {
  test("a step, a sleep and a wait each happen once", async () => {
    const type = newType(
      "wait_beside",
      async (ctx) => {
        note("run");
        return Promise.all([
          ctx.step("work", async () => note("work")),
          ctx.sleep("nap", 50).then(() => null),
          ctx.waitFor("go"),
          ctx.waitFor("go"),
        ]);
      },
      { lane: "long" },
    );
    const { id } = await start(type);
    await send(id, "go", 1);
    await send(id, "go", 2);
    expect(await whenEnded(id)).toMatchObject({ status: "succeeded", result: [null, null, 1, 2] });
    expect(begun.work).toBe(1);
  });

  test("a signal that comes while a step is under way is received at once", async () => {
    const type = newType(
      "wait_in_place",
      async (ctx) => {
        const gone = Promise.withResolvers<void>();
        const [, payload] = await Promise.all([
          ctx.step("until told", async () => gone.promise),
          ctx.waitFor("go").finally(gone.resolve),
        ]);
        return payload;
      },
      { lane: "long" },
    );
    const { id } = await start(type);
    await taskWhen(id, "running");
    await send(id, "go", "told");
    expect(await whenEnded(id)).toMatchObject({ status: "succeeded", result: "told", attempt: 1 });
  });
});

test("a named sleep is found by its name, whatever its length", async () => {
  const type = newType("sleep_named", async (ctx) => {
    note("run");
    await ctx.sleep("cool down", begun.run === 1 ? "1h" : "2h");
  });
  const [task] = await runTasks([{ type, input: {} }]);
  const inAnHour = Date.parse(String(task?.runAt)) - Date.now();
  expect(inAnHour).toBeGreaterThan(3_500_000);
  expect(inAnHour).toBeLessThanOrEqual(3_600_000);
});

test.each([
  ["a bad name", "a b", {}, "RangeError"],
  ["a bad time-out", "go", { timeout: "soon" }, "RangeError"],
])("%s fails the attempt", async (_what, name, options, error) => {
  const type = newType(
    `wait_bad_${crypto.randomUUID().slice(0, 8)}`,
    async (ctx) => ctx.waitFor(name, options),
    { retry: { retries: 0 } },
  );
  expect(await start(type)).toMatchObject({ status: "failed", error: { name: error } });
});

test("a cancelled task waits for nothing", async () => {
  const { id } = await start(approval);
  await callForJson(`/tasks/${id}/cancel`, { method: "POST" });
  expect(await send(id, "approval", {})).toMatchObject({
    status: 409,
    body: { type: "urn:sluice:problem:conflict" },
  });
});
