/** `unique` and `debounce` through the front door: over shards, with batches, Idempotency-Keys and schedules. */
import { env } from "cloudflare:test";
import { expect, test } from "vitest";
import { z } from "zod";
import {
  defineSchedule,
  defineTask,
  registerTaskTypes,
  startTaskOnce,
  startTasks,
} from "../../../src/tasks/index.ts";
import { enqueueOnce } from "../../../src/tasks/run/submit.ts";
import { toGuard } from "../../../src/tasks/types/guards.ts";
import { callForJson } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { changedLedger, submit, submitted, taskOf, taskRows, taskWhen } from "../../support/submissions.ts";

keepQuiet();

const echo = defineTask({ name: "guards_echo", input: z.unknown(), run: async (_, input) => input });
const capped = defineTask({ name: "guards_capped", input: z.unknown(), concurrency: 3, run: async () => 1 });
registerTaskTypes([echo, capped]);

let keys = 0;
const newKey = () => `key ${++keys}`;
const waits = (unique: object, more: object = {}) => ({ type: "guards_echo", delay: 600, unique, ...more });

test("of many that come at once one task is created, and the others are told which", async () => {
  const key = newKey();
  for (const type of ["guards_echo", "guards_capped"]) {
    const all = await Promise.all(Array.from({ length: 8 }, async () => submit({ ...waits({ key }), type })));
    const ids = new Set(all.map(({ body }) => body.id));
    expect([all.map(({ status }) => status), ids.size]).toEqual([Array(8).fill(202), 1]);
    expect(all.filter(({ body }) => body.outcome === "kept")).toHaveLength(7);
    const kept = all.find(({ body }) => body.outcome === "kept");
    expect(kept?.headers.get("Sluice-Outcome")).toBe("kept");
    expect(kept?.headers.get("Location")).toBe(kept?.body.url);
  }
});

test("keys of different types and kinds are independent", async () => {
  const key = newKey();
  const ids = await Promise.all([
    submitted(waits({ key })),
    submitted({ ...waits({ key }), type: "guards_capped" }),
    submitted({ type: "guards_echo", debounce: { key, wait: 600 } }),
    submitted(waits({ key: `${key}.` })),
  ]);
  expect(new Set(ids).size).toBe(4);
});

test("a rejected submission is a 409 that names the first, and creates nothing", async () => {
  const key = newKey();
  const first = await submitted(waits({ key }));
  const { status, body } = await submit(waits({ key, on_conflict: "reject" }));
  expect([status, body]).toMatchObject([
    409,
    { type: "urn:sluice:problem:conflict", detail: expect.stringContaining(first) },
  ]);
  expect((await taskRows()).filter(({ id }) => id === first)).toHaveLength(1);
});

test("a first that waits is replaced, and says by which", async () => {
  const key = newKey();
  const first = await submitted(waits({ key }));
  const second = await submit(waits({ key, on_conflict: "replace" }));
  expect(second).toMatchObject({ status: 202, body: { outcome: "replaced", replaces: first } });
  expect(await taskOf(first)).toMatchObject({
    status: "cancelled",
    error: { name: "Replaced", message: expect.stringContaining(String(second.body.id)) },
  });
  const retried = await callForJson(`/tasks/${first}/retry`, { method: "POST" });
  expect([retried.status, retried.body.detail]).toEqual([
    409,
    "Another task holds the unique key of this one: wait until that has ended.",
  ]);
});

test("within its time, the key of a task that has succeeded is held; the waiting caller gets that task", async () => {
  const key = newKey();
  const body = { type: "guards_echo", input: 1, unique: { key, within: 600 } };
  const first = await submitted(body);
  await taskWhen(first, "succeeded");
  const again = await submit({ ...body, input: 2 }, { headers: { Prefer: "wait=5" } });
  expect(again).toMatchObject({ status: 200, body: { id: first, result: 1 } });
  expect(again.headers.get("Sluice-Outcome")).toBe("kept");
  expect(await submitted({ ...body, unique: { key } })).not.toBe(first);
});

test("debounced submissions run once, with the last input", async () => {
  const debounce = { key: newKey(), wait: 0.4 };
  const first = await submit({ type: "guards_echo", input: 1, debounce });
  const second = await submit({ type: "guards_echo", input: 2, debounce });
  expect(second.body).toMatchObject({ id: first.body.id, outcome: "debounced" });
  expect(await taskWhen(String(first.body.id), "succeeded")).toMatchObject({ result: 2, attempt: 1 });
});

test("with an Idempotency-Key the same request gives the same task, also if that was there before", async () => {
  const key = newKey();
  const first = await submitted(waits({ key }));
  const headers = { "Idempotency-Key": `"${key}"` };
  const body = waits({ key }, { input: 7 });
  expect((await submit(body, { headers })).body).toMatchObject({ id: first, outcome: "kept" });
  await callForJson(`/tasks/${first}/cancel`, { method: "POST" });
  expect((await submit(body, { headers })).body.id).toBe(first);
  // A request that was rejected has created nothing: it may come again.
  const other = newKey();
  const holder = await submitted(waits({ key: other }));
  const rejected = { headers: { "Idempotency-Key": `"${other}"` } };
  const request = waits({ key: other, on_conflict: "reject" });
  expect((await submit(request, rejected)).status).toBe(409);
  await callForJson(`/tasks/${holder}/cancel`, { method: "POST" });
  expect((await submit(request, rejected)).status).toBe(202);
});

test("a batch says of each task what became of it; what is rejected takes those of its shard with it", async () => {
  const key = newKey();
  const both = await submit([waits({ key }), waits({ key }), { type: "guards_echo" }]);
  const [first, second, third] = both.body.tasks as { id: string; outcome?: string }[];
  expect([second?.id, second?.outcome, third?.outcome]).toEqual([first?.id, "kept", undefined]);
  const before = (await taskRows()).length;
  const refused = await submit([
    waits({ key, on_conflict: "reject" }),
    waits({ key, on_conflict: "reject" }),
  ]);
  expect([refused.status, refused.body.detail]).toEqual([
    409,
    expect.stringContaining(`The task ${first?.id} holds`),
  ]);
  const among = { key: newKey(), on_conflict: "reject" };
  expect((await submit([waits(among), waits(among)])).body.detail).toBe(
    "An earlier task of this batch holds this unique key. The 2 tasks of the batch that belong to its shard are not written.",
  );
  const mixed = await submit([
    waits({ key, on_conflict: "reject" }),
    { ...waits({ key: newKey() }), type: "guards_capped" },
  ]);
  const errors = (mixed.body.tasks as { error?: { status: number } }[]).map(({ error }) => error?.status);
  // If both are on one shard, neither is written.
  expect([errors, mixed.status]).toBeOneOf([
    [[409, undefined], 202],
    [[undefined], 409],
  ]);
  expect((await taskRows()).length - before).toBe(mixed.status === 202 ? 1 : 0);
});

const ctx = { waitUntil: () => undefined };

test("what code starts has the same guards", async () => {
  const key = newKey();
  const start = { type: echo, input: 1, delay: 600, unique: { key } };
  const [first] = await startTasks(env, ctx, [start]);
  expect(await startTasks(env, ctx, [{ type: echo, input: 0, delay: 600 }, start])).toContain(first);
  expect(await startTaskOnce(env, ctx, start, "guards once")).toBe(first);
  await expect(
    startTasks(env, ctx, [{ ...start, unique: { key, on_conflict: "reject" } }]),
  ).rejects.toMatchObject({
    kind: "conflict",
  });
  await expect(startTasks(env, ctx, [{ ...start, unique: { key: "" } }])).rejects.toThrow(TypeError);
  await expect(startTasks(env, ctx, [{ ...start, debounce: { key, wait: 1 } }])).rejects.toThrow(TypeError);
});

test("a tick of a schedule has its guard, and one whose key is held is told", async () => {
  const key = newKey();
  const first = await submitted(waits({ key }));
  const keep = toGuard("guards_echo", { unique: { key } });
  expect(await enqueueOnce(env, echo, 1, `${key} tick`, { guard: keep })).toBe(first);
  const reject = toGuard("guards_echo", { unique: { key, on_conflict: "reject" } });
  await expect(enqueueOnce(env, echo, 1, `${key} tock`, { guard: reject })).rejects.toMatchObject({
    kind: "conflict",
  });
  const spec = { id: "guards", cron: "0 0 1 1 *", type: echo, input: 1 };
  expect(defineSchedule({ ...spec, unique: { key: "k" } })).toMatchObject({
    guard: '{"unique":{"key":"k"}}',
  });
  expect(() => defineSchedule({ ...spec, debounce: { key: "k", wait: -1 } })).toThrow(TypeError);
});

test("a schedule shows its guard", async () => {
  const headers = { "Content-Type": "application/json" };
  const schedule = { cron: "0 0 1 1 *", type: "guards_echo", unique: { key: "k" } };
  const post = async (body: object) =>
    callForJson("/schedules", { method: "POST", headers, body: JSON.stringify(body) });
  expect(await post(schedule)).toMatchObject({ status: 201, body: { unique: { key: "k" } } });
  expect((await post({ ...schedule, debounce: { key: "k", wait: 1 } })).status).toBe(422);
});

test.each([
  [{ unique: {} }, "json/unique/key"],
  [{ unique: { key: "" } }, "json/unique/key"],
  [{ unique: { key: "k".repeat(257) } }, "json/unique/key"],
  [{ unique: { key: "k", within: -1 } }, "json/unique/within"],
  [{ unique: { key: "k", on_conflict: "drop" } }, "json/unique/on_conflict"],
  [{ unique: { key: "k", until: 1 } }, "json/unique"],
  [{ debounce: { key: "k" } }, "json/debounce/wait"],
  [{ debounce: { key: "k", wait: 5, max_wait: 4 } }, "json/debounce/max_wait"],
  [{ debounce: { key: "k", wait: 5 }, delay: 1 }, "json/debounce"],
  [{ debounce: { key: "k", wait: 5 }, unique: { key: "k" } }, "json/debounce"],
  [{ then: [{ type: "guards_echo", unique: { key: "k" } }] }, "json/then/0"],
])("%j is rejected, with its place", async (wrong, at) => {
  const { status, body } = await submit({ type: "guards_echo", ...wrong });
  expect([status, body]).toMatchObject([422, { errors: [{ at }] }]);
});

test("a ledger that knows no guards refuses a task that has one", async () => {
  const lacking = new TypeError('The RPC receiver does not implement the method "submitGuarded".');
  const variables = changedLedger({ submitGuarded: async () => Promise.reject(lacking) });
  expect((await submit(waits({ key: newKey() }), { variables })).status).toBe(503);
});
