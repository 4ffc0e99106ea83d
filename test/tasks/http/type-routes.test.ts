/** Task types through the API: what is in force, pauses and limits over all shards, and tasks that are forced. */
import { env, evictDurableObject, reset, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { defineTask, enqueueOnce, registerTaskTypes, wakeOverdue } from "../../../src/tasks/index.ts";
import { ledgerOf, ledgerOn } from "../../../src/tasks/ledger/shards.ts";
import { leaveShard, SHARDS } from "../../../src/tasks/ledger/task-id.ts";
import { typeLabel } from "../../../src/tasks/types/registry.ts";
import { callForJson } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { authorization, TOKENS_BY_SCOPE } from "../../support/scopes.ts";
import { submit, submitted, taskOf, taskWhen } from "../../support/submissions.ts";

keepQuiet();

let runs = 0;
const input = z.object({ customer: z.string().optional() });
const run = async () => ++runs;
const plain = defineTask({ name: "halt_plain", input, run });
const keyed = defineTask({
  name: "halt_keyed",
  input,
  run,
  concurrency: {
    limit: 2,
    key({ customer }) {
      if (customer === "nobody") throw new Error("nobody has no tasks");
      return customer ?? "";
    },
  },
  rate: { perSecond: 100, burst: 50 },
});
const failing = defineTask({
  name: "halt_failing",
  input,
  retry: { minDelayMs: 0, maxDelayMs: 0 },
  async run({ attempt }) {
    if (attempt === 1) throw new Error("not yet");
    return ++runs;
  },
});
registerTaskTypes([plain, keyed, failing]);

beforeEach(() => {
  runs = 0;
});
afterEach(async () => {
  leaveShard();
  await reset();
});

const get = (name: string) => callForJson(`/task-types/${name}`);
const patch = (
  name: string,
  change: unknown,
  more: { headers?: object; variables?: Record<string, unknown> } = {},
) =>
  callForJson(`/task-types/${name}`, {
    method: "PATCH",
    body: JSON.stringify(change),
    ...more,
    headers: { "Content-Type": "application/json", ...more.headers },
  });
const runAlarms = async () =>
  Promise.all(SHARDS.map(async (shard) => runDurableObjectAlarm(ledgerOn(env, shard))));

describe("GET /task-types/{name}", () => {
  test("shows what is in force, what the code says, and how many tasks wait and run", async () => {
    await patch("halt_keyed", { paused: true, concurrency: 7, rate: { per_second: 3 } });
    await submitted({ type: "halt_keyed", input: { customer: "a" } });
    const { status, body } = await get("halt_keyed");
    expect(status).toBe(200);
    expect(body).toMatchObject({
      name: "halt_keyed",
      paused: true,
      concurrency: 7,
      perKey: true,
      rate: { per_second: 3, burst: 1 },
      code: { concurrency: 2, rate: { per_second: 100, burst: 50 } },
      queued: 1,
      running: 0,
      pending: [],
    });
    const { body: list } = await callForJson("/task-types");
    expect(list.taskTypes).toContainEqual(
      expect.objectContaining({ name: "halt_keyed", paused: true, concurrency: 7 }),
    );
    expect(list.taskTypes).toContainEqual(
      expect.objectContaining({ name: "halt_plain", paused: false, concurrency: null }),
    );
  });

  test.each(["halt_none", "callback"])("is a 404 for %s", async (name) => {
    expect((await get(name)).status).toBe(404);
    expect((await patch(name, { paused: true })).status).toBe(404);
  });

  test("the list is there even if what has been changed is not known", async () => {
    const variables = {
      TASK_LEDGER: { getByName: () => ({ readSteering: async () => Promise.reject(new Error("gone")) }) },
    };
    const { status, body } = await callForJson("/task-types", { variables });
    expect(status).toBe(200);
    expect(body.taskTypes).toContainEqual(
      expect.objectContaining({ name: "halt_keyed", paused: null, concurrency: 2 }),
    );
  });
});

describe("while a type is paused", () => {
  test("tasks are accepted and stay queued on every shard, also ticks, and all run after the resume", async () => {
    expect((await patch("halt_plain", { paused: true })).body).toMatchObject({ paused: true, pending: [] });
    const ids: string[] = [];
    for (let n = 0; n < 3; n++) {
      leaveShard();
      ids.push(await submitted({ type: "halt_plain" }));
      ids.push(await enqueueOnce(env, plain, {}, `tick ${n}`));
    }
    await runAlarms();
    expect((await Promise.all(ids.map(taskOf))).map(({ status }) => status)).toEqual(ids.map(() => "queued"));
    expect(runs).toBe(0);
    expect((await get("halt_plain")).body).toMatchObject({ queued: 6, running: 0 });
    expect((await patch("halt_plain", { paused: null })).body).toMatchObject({ paused: false });
    for (const id of ids) await taskWhen(id, "succeeded");
    expect(runs).toBe(6);
  });

  test("a retry waits too, and other types run", async () => {
    const id = await submitted({ type: "halt_failing", delay: 0.3 });
    await patch("halt_failing", { paused: true });
    expect(await submitted({ type: "halt_plain" })).toBeTruthy();
    expect(runs).toBe(1);
    await taskWhen(id, "queued");
    await patch("halt_failing", { paused: false });
    expect((await taskWhen(id, "succeeded")).attempt).toBe(2);
  });

  test("the pause survives a restart of every shard", async () => {
    await patch("halt_plain", { paused: true });
    for (const shard of SHARDS) await evictDurableObject(ledgerOn(env, shard));
    const id = await submitted({ type: "halt_plain" });
    await runAlarms();
    expect((await taskOf(id)).status).toBe("queued");
  });

  test("a shard that is new asks before it gives a claim", async () => {
    await patch("halt_plain", { paused: true });
    const taskId = `weur1-${crypto.randomUUID()}`;
    const task = { id: taskId, type: "halt_plain", input: "{}", priority: 0, runAtMs: 0, callbackUrl: null };
    expect(await ledgerOf(env, taskId)?.submit([{ ...task, lane: "fast" }])).toEqual([null]);
  });

  test("a task that is handed over goes on", async () => {
    const claimed = {
      id: `s1-${crypto.randomUUID()}`,
      type: "halt_plain",
      input: "{}",
      priority: 0,
      runAtMs: 0,
      callbackUrl: null,
    };
    const ledger = ledgerOn(env, "s1");
    const [claim] = await ledger.submit([{ ...claimed, lane: "fast" }]);
    await patch("halt_plain", { paused: true });
    await ledger.report([
      { taskId: claimed.id, token: claim?.token ?? 0, outcome: { kind: "handed-over", notBeforeMs: 0 } },
    ]);
    await taskWhen(claimed.id, "succeeded");
    // A sleep is over later, and then it waits.
    const sleeper = { ...claimed, id: `s1-${crypto.randomUUID()}`, force: true };
    const [again] = await ledger.submit([{ ...sleeper, lane: "fast" }]);
    expect(again).not.toBeNull();
  });
});

describe("a task with force", () => {
  test("runs while its type is paused", async () => {
    await patch("halt_plain", { paused: true });
    const id = await submitted({ type: "halt_plain", force: true });
    expect((await taskOf(id)).status).toBe("succeeded");
    const long = await submitted({ type: "halt_failing", force: true });
    await patch("halt_failing", { paused: true });
    await taskWhen(long, "succeeded");
  });

  test("needs the scope admin, also in a batch; without force, write is enough", async () => {
    const options = (scope: string) => ({ variables: TOKENS_BY_SCOPE, headers: authorization(scope) });
    const forced = { type: "halt_plain", force: true };
    expect((await submit(forced, options("write"))).status).toBe(403);
    expect((await submit([{ type: "halt_plain" }, forced], options("write"))).status).toBe(403);
    expect((await submit({ type: "halt_plain", force: false }, options("write"))).status).toBe(202);
    expect(runs).toBe(1);
  });
});

describe("PATCH /task-types/{name}", () => {
  test.each([
    [{ paused: "yes" }],
    [{ concurrency: 0 }],
    [{ concurrency: 1.5 }],
    [{ rate: { per_second: 0 } }],
    [{ rate: { per_second: 1, burst: 0 } }],
    [{ paused: true, speed: 1 }],
    // Of a type that is on all four shards.
    [{ concurrency: 3 }],
    [{ rate: { per_second: 5 } }],
  ])("refuses %j with a 422, and changes nothing", async (change) => {
    expect((await patch("halt_plain", change)).status).toBe(422);
    expect((await get("halt_plain")).body).toMatchObject({ paused: false, concurrency: null, rate: null });
  });

  test("accepts a limit that each shard has a part of, and null goes back to the code", async () => {
    const limits = { concurrency: 4, rate: { per_second: 5, burst: 4 } };
    expect((await patch("halt_plain", limits)).body).toMatchObject(limits);
    expect((await patch("halt_plain", { rate: null })).body).toMatchObject({ concurrency: 4, rate: null });
    expect((await patch("halt_keyed", { concurrency: 9 })).body).toMatchObject({ concurrency: 9 });
    expect((await patch("halt_keyed", { concurrency: null })).body).toMatchObject({ concurrency: 2 });
    expect((await get("halt_plain")).body).toMatchObject({ concurrency: 4 });
  });

  test("needs admin and read", async () => {
    const as = (scope: string) => ({ variables: TOKENS_BY_SCOPE, headers: authorization(scope) });
    expect((await patch("halt_plain", { paused: true }, as("write+read"))).status).toBe(403);
    expect((await patch("halt_plain", { paused: true }, as("admin"))).status).toBe(403);
    expect((await patch("halt_plain", { paused: true }, as("admin+read"))).status).toBe(200);
  });

  test("says which shard has not made the change; sent again, or when the watchdog comes, it does", async () => {
    const versionAt = async (shard: string) => (await ledgerOn(env, shard).readSteering()).version;
    // It exists: a new one would ask.
    expect(await versionAt("s2")).toBe(0);
    const restore = await runInDurableObject(ledgerOn(env, "s0"), (object) => {
      const { env: bindings } = object as unknown as { env: { TASK_LEDGER: DurableObjectNamespace } };
      const real = bindings.TASK_LEDGER;
      const away = {
        adoptSteering: async () => Promise.reject(Object.assign(new Error("away"), { remote: true })),
      };
      Object.assign(bindings, {
        TASK_LEDGER: { getByName: (name: string) => (name === "s2" ? away : real.getByName(name)) },
      });
      return () => Object.assign(bindings, { TASK_LEDGER: real });
    });
    const { status, body } = await patch("halt_plain", { paused: true });
    expect([status, body.type]).toEqual([503, "urn:sluice:problem:ledger-unavailable"]);
    expect(String(body.detail)).toContain("s2 did not respond");
    expect((await get("halt_plain")).body).toMatchObject({ paused: true, pending: ["s2"] });
    expect(await Promise.all(["s0", "s1", "s2"].map(versionAt))).toEqual([1, 1, 0]);
    restore();
    await wakeOverdue(env, Date.now());
    await expect.poll(() => versionAt("s2"), { timeout: 5_000 }).toBe(1);
    expect((await patch("halt_plain", { paused: true })).body).toMatchObject({ paused: true, pending: [] });
  });

  test("what arrives late does not undo what came after it", async () => {
    await patch("halt_plain", { paused: true });
    const old = await ledgerOn(env, "s1").readSteering();
    await patch("halt_plain", { paused: null });
    await ledgerOn(env, "s1").adoptSteering(old);
    expect((await ledgerOn(env, "s1").readSteering()).changes).toEqual({});
  });
});

describe("an input without a key", () => {
  test.each([[{ customer: "nobody" }], [{}], [{ customer: "x".repeat(201) }], [{ customer: "\ud800" }]])(
    "%j is a 422 at the submission",
    async (customer) => {
      const { status, body } = await submit({ type: "halt_keyed", input: customer });
      expect([status, body.errors]).toMatchObject([422, [{ at: "json/input" }]]);
    },
  );
});

test("GET /metrics shows which types are paused", async () => {
  await patch("halt_plain", { paused: true });
  const isPaused = async () => {
    const { gauges } = await ledgerOn(env, "s3").figures();
    return ["halt_plain", "halt_keyed"].map((type) => gauges[`paused|${typeLabel(type)}`]);
  };
  // Where many types are registered, those beyond a hundred have one label in common.
  expect(await isPaused()).toEqual([1, typeLabel("halt_keyed") === "other" ? 1 : 0]);
  await patch("halt_plain", { paused: false });
  expect(await isPaused()).toEqual([0, 0]);
});
