/** Tokens that are bound to task types start, see and steer tasks of these types, and know of no others. */
import { reset } from "cloudflare:test";
import * as fc from "fast-check";
import { beforeEach, expect, test } from "vitest";
import { showTaskTo } from "../../../src/tasks/http/bounds.ts";
import { type CallOptions, callWorker } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";

keepQuiet();
beforeEach(() => reset());

const TOKENS = {
  root: { scopes: ["read", "write", "admin"] },
  a: { scopes: ["read", "write"], task_types: ["task_a"] },
  b: { scopes: ["read", "write"], task_types: ["task_b"] },
  both: { scopes: ["read", "write"], task_types: ["task_a", "task_b", "task_a"] },
  own: { scopes: ["read", "write", "own"] },
  prefix: { scopes: ["read", "write"], files: { prefix: "a-" } },
};
type Name = keyof typeof TOKENS;
const NAMES = Object.keys(TOKENS) as Name[];

const secretOf = (name: string) => `${name}-token-0123456789-0123456789-0123`;
const variables = {
  ACCESS: "tokens",
  SLUICE_TOKENS: NAMES.map((name) => ({ ...TOKENS[name], name, token: secretOf(name) })),
};

async function as(name: Name, method: string, path: string, json?: unknown) {
  const init: CallOptions = {
    site: "https://sluice.example.com",
    variables,
    method,
    headers: { Authorization: `Bearer ${secretOf(name)}`, "Content-Type": "application/json" },
    ...(json === undefined ? {} : { body: JSON.stringify(json) }),
  };
  const { response, settled } = await callWorker(path, init);
  const text = await response.text();
  await settled();
  return {
    status: response.status,
    text,
    // oxlint-disable-next-line typescript/no-explicit-any
    body: text === "" ? {} : (JSON.parse(text) as Record<string, any>),
  };
}

const later = (type: string) => ({ type, delay: 3600 });
const submit = async (name: Name, type: string) =>
  String((await as(name, "POST", "/tasks", later(type))).body.id);

const mayUse = (name: Name, type: string) =>
  name === "root" ||
  name === "both" ||
  (name === "a" && type === "task_a") ||
  (name === "b" && type === "task_b");

test.each<[Name, unknown, number]>([
  ["a", later("task_a"), 202],
  ["a", later("task_b"), 403],
  ["a", [later("task_a"), later("task_b")], 403],
  ["a", { ...later("task_a"), then: [{ type: "task_a" }] }, 202],
  ["a", { ...later("task_a"), then: [{ type: "task_b" }] }, 403],
  ["a", { ...later("task_a"), then: [{ type: "task_a", then: [{ type: "task_b" }] }] }, 403],
  ["both", [later("task_a"), later("task_b")], 202],
  ["own", later("task_a"), 403],
  ["prefix", later("task_a"), 403],
])("%s submits %j: %i", async (name, json, status) => {
  const { status: got, body } = await as(name, "POST", "/tasks", json);
  expect(got).toBe(status);
  if (status === 403)
    expect(body.detail).toMatch(/^This token may not start tasks of the type "task_[ab]", which json\//);
  const { body: page } = await as("root", "GET", "/tasks");
  expect(page.tasks.length > 0).toBe(status === 202);
});

test.each<[string, string]>([
  ["GET", ""],
  ["POST", "/cancel"],
  ["POST", "/retry"],
  ["DELETE", ""],
])("%s of a task of another type is as of one that does not exist: %s", async (method, action) => {
  const id = await submit("root", "task_b");
  const missing = id.replace(/.$/, (last) => (last === "0" ? "1" : "0"));
  for (const name of ["a", "own", "prefix"] as const) {
    const [there, none] = [
      await as(name, method, `/tasks/${id}${action}`),
      await as(name, method, `/tasks/${missing}${action}`),
    ];
    expect([there.status, there.body.detail]).toEqual([404, none.body.detail.replace(missing, id)]);
  }
  expect((await as("root", "GET", `/tasks/${id}`)).body.status).toBe("scheduled");
});

test("a task of its types is cancelled, retried and deleted, whoever submitted it", async () => {
  const id = await submit("root", "task_b");
  expect((await as("b", "POST", `/tasks/${id}/cancel`)).status).toBe(200);
  expect((await as("b", "POST", `/tasks/${id}/retry`)).status).toBe(202);
  expect((await as("b", "POST", `/tasks/${id}/cancel`)).status).toBe(200);
  expect((await as("b", "DELETE", `/tasks/${id}`)).status).toBe(204);
});

test("whatever was submitted, pages show all tasks of the types, once, and no response has the id of another", async () => {
  const types = fc.array(fc.constantFrom("task_a", "task_b"), { maxLength: 8 });
  const queries = fc.constantFrom("", "type=task_a", "type=task_b", "status=scheduled", "text=task", "tag=x");
  await fc.assert(
    fc.asyncProperty(types, queries, fc.integer({ min: 1, max: 3 }), async (submitted, query, limit) => {
      await reset();
      const tasks: { id: string; type: string }[] = [];
      for (const type of submitted) {
        const { body } = await as("root", "POST", "/tasks", { ...later(type), tags: ["x"] });
        tasks.push({ id: String(body.id), type });
      }
      for (const name of NAMES) {
        const listed: string[] = [];
        let cursor = "";
        do {
          const { body, text } = await as(name, "GET", `/tasks?${query}&limit=${limit}&cursor=${cursor}`);
          for (const { id, type } of tasks) if (!mayUse(name, type)) expect(text).not.toContain(id);
          listed.push(...body.tasks.map(({ id }: { id: string }) => id));
          cursor = body.next ?? "";
        } while (cursor !== "");
        const wanted = /^type=(.*)/.exec(query)?.[1];
        const known = tasks.filter(({ type }) => mayUse(name, type) && (wanted ?? type) === type);
        expect(listed.toSorted()).toEqual(known.map(({ id }) => id).toSorted());
        for (const { id, type } of tasks)
          expect((await as(name, "GET", `/tasks/${id}`)).status).toBe(mayUse(name, type) ? 200 : 404);
      }
    }),
    { numRuns: 6 },
  );
}, 120_000);

test("the other types are not shown", async () => {
  const namesOf = async (name: Name) =>
    (await as(name, "GET", "/task-types")).body.taskTypes.map((type: { name: string }) => type.name);
  expect([await namesOf("a"), await namesOf("own")]).toEqual([["task_a"], []]);
  expect(await namesOf("root")).toContain("task_b");
  const statuses = ["task_a", "task_b"].map(
    async (type) => (await as("a", "GET", `/task-types/${type}`)).status,
  );
  expect(await Promise.all(statuses)).toEqual([200, 404]);
});

test("nothing of a task leads to tasks of other types", () => {
  const task = {
    followUps: ["f"],
    parent: "p",
    scheduleId: "s",
    children: [
      { id: "c1", type: "task_a", status: "queued" as const },
      { id: "c2", type: "task_b", status: "queued" as const },
    ],
    waitingFor: [{ tasks: ["c2"] }, { signal: "go", until: "2026-01-01T00:00:00Z" }],
  };
  expect(showTaskTo(undefined, task)).toBe(task);
  expect(showTaskTo({ owner: null, filePrefix: "", taskTypes: ["task_a"] }, task)).toEqual({
    followUps: [],
    children: [{ id: "c1", type: "task_a", status: "queued" }],
    waitingFor: [{ signal: "go", until: "2026-01-01T00:00:00Z" }],
  });
});
