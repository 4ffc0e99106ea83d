/** `GET /tasks`: one order over all shards, page by page. */

import { env, reset, runInDurableObject } from "cloudflare:test";
import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { z } from "zod";
import {
  defineTask,
  NonRetryableError,
  registerTaskTypes,
  type TaskLedger,
} from "../../../src/tasks/index.ts";
import { ledgerOn } from "../../../src/tasks/ledger/shards.ts";
import { newTaskId, SHARDS } from "../../../src/tasks/ledger/task-id.ts";
import { toNewTask } from "../../../src/tasks/run/new-task.ts";
import { callForJson } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { submitted } from "../../support/submissions.ts";

const fails = defineTask({
  name: "list_fails",
  input: z.unknown(),
  run: async () => {
    throw new NonRetryableError("no");
  },
});
const works = defineTask({ name: "list_works", input: z.unknown(), run: async () => "the result" });
registerTaskTypes([fails, works]);

/** Without R2, or with one that has something else. */
const r2 = (get: () => Promise<unknown>) => ({ FILES: { get } });

describe("GET /tasks, when the list of regional shards", () => {
  test.each([
    ["cannot be read", async () => Promise.reject(new Error("R2 is away"))],
    ["is broken", async () => ({ etag: "a", json: async () => JSON.parse("{") })],
  ])("%s, has the tasks of all others", async (_, get) => {
    await submitted({ type: "list_works", input: {} });
    const { status, body } = await callForJson("/tasks", { variables: r2(get) });
    expect([status, body]).toMatchObject([200, { tasks: [{ type: "list_works" }] }]);
  });
});

type Query = Record<string, string | number>;
interface Line {
  id: string;
  createdAt: string;
}

async function list(query: Query = {}) {
  const pairs = Object.entries(query).map(([name, value]) => [name, String(value)]);
  const { status, headers, body } = await callForJson(`/tasks?${new URLSearchParams(pairs).toString()}`);
  const { tasks = [], next = null } = body as { tasks?: Line[]; next?: string | null };
  return { status, headers, body, tasks, ids: tasks.map(({ id }) => id), next };
}

/** All pages; calls `between` after each. */
async function pages(query: Query, between: () => Promise<unknown> = async () => {}) {
  const all: string[][] = [];
  for (let cursor: string | null = ""; cursor !== null; ) {
    const page = await list(cursor === "" ? query : { ...query, cursor });
    expect(page.status).toBe(200);
    all.push(page.ids);
    cursor = page.next;
    await between();
  }
  return all;
}

const START_MS = Date.parse("2030-01-01T00:00:00Z");

/** Creates a waiting task at a given time, on any shard. */
async function create(createdAtMs: number, shard = SHARDS[Math.floor(Math.random() * SHARDS.length)] ?? "") {
  const id = newTaskId(shard);
  vi.setSystemTime(createdAtMs);
  // Inside the object: an RPC call might run at another time.
  await runInDurableObject(ledgerOn(env, shard), (ledger: TaskLedger) =>
    ledger.submit([{ ...toNewTask(works, "{}", id), runAtMs: createdAtMs + 1e9 }]),
  );
  return { id, createdAtMs };
}
type Created = Awaited<ReturnType<typeof create>>;

const newestFirst = (tasks: Created[]) =>
  tasks.toSorted((a, b) => b.createdAtMs - a.createdAtMs || (a.id < b.id ? 1 : -1)).map(({ id }) => id);

keepQuiet();
beforeEach(async () => {
  await reset();
  vi.useFakeTimers({ toFake: ["Date"], now: START_MS });
});
afterEach(() => vi.useRealTimers());

test("a task is listed as GET /tasks/{id} shows it, without its input and result", async () => {
  expect((await list()).body).toEqual({ tasks: [], next: null });
  const id = await submitted({ type: "list_works", input: { secret: 1 } });
  const { input, result, ...line } = (await callForJson(`/tasks/${id}`)).body;
  expect([input, result]).toEqual([{ secret: 1 }, "the result"]);
  const { headers, body } = await list();
  expect(body).toEqual({ tasks: [line], next: null });
  expect(headers.get("Cache-Control")).toBe("no-store");
});

test("pages of any size hold every task once, newest first, whatever its shard", async () => {
  const created: Created[] = [];
  // Several in each millisecond, on every shard.
  for (let i = 0; i < 40; i++) created.push(await create(START_MS + Math.floor(i / 5), SHARDS[i % 4]));
  for (const limit of [2, 7, 39, 40, 41, 500]) {
    const all = await pages({ limit });
    expect(all.flat()).toEqual(newestFirst(created));
    expect(all.length).toBe(Math.ceil(created.length / limit));
  }
  expect((await list()).ids).toHaveLength(40);
});

test("while other tasks are added, each existing task is listed once", async () => {
  const stay: Created[] = [];
  for (let i = 0; i < 20; i++) stay.push(await create(START_MS + i));
  let laterMs = START_MS + 19;
  const added = new Set<string>();
  const all = await pages({ limit: 3 }, async () => {
    // Some in the same millisecond as the newest existing task.
    for (const shard of SHARDS) added.add((await create(laterMs, shard)).id);
    laterMs += 5;
  });
  expect(all.flat().filter((id) => !added.has(id))).toEqual(newestFirst(stay));
  expect(new Set(all.flat()).size).toBe(all.flat().length);
});

test("the next page follows the last task of a page even if that task was deleted", async () => {
  const created = [await create(START_MS), await create(START_MS + 1), await create(START_MS + 2)];
  const [, second, last] = newestFirst(created);
  const { next } = await list({ limit: 2 });
  await callForJson(`/tasks/${second}/cancel`, { method: "POST" });
  await callForJson(`/tasks/${second}`, { method: "DELETE" }).catch(() => {});
  expect((await list({ limit: 2, cursor: String(next) })).ids).toEqual([last]);
});

describe("a list has the tasks", () => {
  async function some() {
    const later = (await create(START_MS)).id;
    vi.setSystemTime(START_MS + 1000);
    const failed = await submitted({ type: "list_fails" });
    vi.setSystemTime(START_MS + 2000);
    const succeeded = await submitted({ type: "list_works" });
    vi.setSystemTime(START_MS + 3000);
    const cancelled = await submitted({ type: "list_fails", delay: 60 });
    await callForJson(`/tasks/${cancelled}/cancel`, { method: "POST" });
    return { later, failed, succeeded, cancelled };
  }
  const at = (ms: number) => new Date(START_MS + ms).toISOString();

  test.each<[string, Query, ("later" | "failed" | "succeeded" | "cancelled")[]]>([
    ["of any kind, without a filter", {}, ["cancelled", "succeeded", "failed", "later"]],
    ["of a status", { status: "failed" }, ["failed"]],
    ["of several statuses", { status: "scheduled,cancelled,failed" }, ["cancelled", "failed", "later"]],
    ["of a status that is named twice", { status: "failed,failed" }, ["failed"]],
    ["of a status that none has", { status: "running" }, []],
    ["of a type", { type: "list_fails" }, ["cancelled", "failed"]],
    ["of a type that does not exist", { type: "constructor" }, []],
    ["of a type and a status", { type: "list_fails", status: "cancelled,succeeded" }, ["cancelled"]],
    ["created at or after a time", { created_after: at(2000) }, ["cancelled", "succeeded"]],
    ["created before a time", { created_before: at(2000) }, ["failed", "later"]],
    [
      "created between two times",
      { created_after: at(1000), created_before: at(3000) },
      ["succeeded", "failed"],
    ],
    [
      "created after a time with another offset",
      { created_after: "2030-01-01T02:00:03+02:00" },
      ["cancelled"],
    ],
  ])("%s", async (_name, query, wanted) => {
    const tasks = await some();
    const ids = wanted.map((name) => tasks[name]);
    expect((await list(query)).ids).toEqual(ids);
    expect((await pages({ ...query, limit: 1 })).flat()).toEqual(ids);
  });
});

describe("filters that are left empty are no filters:", () => {
  test.each([
    "status=&type=&created_after=&created_before=&limit=&cursor=",
    "status=failed,succeeded&type=&created_after=&created_before=&limit=&cursor=",
    "status=,failed,,succeeded,&type=list_works&limit=",
    "status=,",
  ])("%s", async (query) => {
    const failed = await submitted({ type: "list_fails" });
    vi.setSystemTime(START_MS + 1);
    const succeeded = await submitted({ type: "list_works" });
    const { status, body } = await callForJson(`/tasks?${query}`);
    const ids = (body.tasks as Line[]).map(({ id }) => id);
    expect([status, ids]).toEqual([200, query.includes("list_works") ? [succeeded] : [succeeded, failed]]);
  });
});

describe("the filters hold beside a cursor:", () => {
  const at = (ms: number) => new Date(START_MS + ms).toISOString();

  test.each<[string, Query, number[]]>([
    ["none, for comparison", {}, [2, 1, 0]],
    ["created_before, older than the cursor", { created_before: at(2) }, [1, 0]],
    ["created_before, just at the cursor", { created_before: at(3) }, [2, 1, 0]],
    ["created_before, newer than the cursor", { created_before: at(9) }, [2, 1, 0]],
    ["created_after", { created_after: at(1) }, [2, 1]],
    ["both", { created_after: at(1), created_before: at(2) }, [1]],
    ["a type that none has", { type: "list_fails" }, []],
    ["a status", { status: "scheduled" }, [2, 1, 0]],
    ["a status that none has", { status: "failed" }, []],
  ])("%s", async (_name, query, wanted) => {
    const created: Created[] = [];
    for (let i = 0; i < 5; i++) created.push(await create(START_MS + i));
    const { next } = await list({ limit: 2 });
    const { status, ids } = await list({ ...query, cursor: String(next) });
    expect([status, ids]).toEqual([200, wanted.map((i) => created[i]?.id)]);
  });
});

const cursor = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");

describe("an invalid query is rejected, and the error says where", () => {
  test.each<[string, Query, string | null]>([
    [
      "valid parameters, for comparison",
      {
        limit: 500,
        type: "a",
        status: "failed",
        created_after: "2030-01-01T00:00:00Z",
        cursor: cursor([1, newTaskId("s0")]),
      },
      null,
    ],
    ["a limit of 0", { limit: 0 }, "query/limit"],
    ["a limit of 501", { limit: 501 }, "query/limit"],
    ["a fractional limit", { limit: 1.5 }, "query/limit"],
    ["a limit that is not a number", { limit: "all" }, "query/limit"],
    ["an unknown status", { status: "failed,lost" }, "query/status/1"],
    ["a status with a space before it", { status: "failed, running" }, "query/status/1"],
    ["a limit in hexadecimal", { limit: "0x10" }, "query/limit"],
    ["a type name that is too long", { type: "x".repeat(65) }, "query/type"],
    ["a time without an offset", { created_after: "2030-01-01T00:00:00" }, "query/created_after"],
    ["a date alone", { created_before: "2030-01-01" }, "query/created_before"],
    ["an invented cursor", { cursor: "?" }, "query/cursor"],
    ["a cursor with something behind it", { cursor: `${cursor([1, newTaskId("s0")])}=` }, "query/cursor"],
    ["a type that no type can be", { type: "a b" }, "query/type"],
    ["a type with a NUL", { type: "a\0" }, "query/type"],
    ["a cursor without a task id", { cursor: cursor([1, "s9-x"]) }, "query/cursor"],
    ["a cursor with a negative time", { cursor: cursor([-1, newTaskId("s0")]) }, "query/cursor"],
    ["a cursor with an extra element", { cursor: cursor([1, newTaskId("s0"), 1]) }, "query/cursor"],
    ["a cursor that is too long", { cursor: "x".repeat(201) }, "query/cursor"],
  ])("%s", async (_name, query, place) => {
    const { status, body } = await list(query);
    expect(status).toBe(place === null ? 200 : 422);
    if (place !== null) expect(body.errors).toMatchObject([{ at: place }]);
  });
});

test("for any times and any page size, pages hold every task once, newest first", async () => {
  const created: Created[] = [];
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 4 }),
      fc.integer({ min: 1, max: 9 }),
      async (times, limit) => {
        for (const time of times) created.push(await create(START_MS + time));
        expect((await pages({ limit })).flat()).toEqual(newestFirst(created));
      },
    ),
    { numRuns: 12 },
  );
});

test("tasks are counted by type and status, over all shards", async () => {
  const counts = async () =>
    new Map(
      (
        (await callForJson("/tasks/counts")).body.counts as { type: string; status: string; count: number }[]
      ).map(({ type, status, count }) => [`${type} ${status}`, count]),
    );
  const before = await counts();
  for (let n = 0; n < 5; n++) await create(START_MS + n);
  const after = await counts();
  const added = [...after].map(([key, count]) => count - (before.get(key) ?? 0));
  expect(added.reduce((sum, count) => sum + count, 0)).toBe(5);
  const { body } = await callForJson("/tasks?limit=500");
  const listed = Map.groupBy(
    body.tasks as { type: string; status: string }[],
    ({ type, status }) => `${type} ${status}`,
  );
  expect(after).toEqual(new Map([...listed].map(([key, tasks]) => [key, tasks.length])));
});
