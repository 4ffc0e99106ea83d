/** `POST /tasks`: single tasks and batches, the responses, and what is stored. */

import { reset } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { z } from "zod";
import { defineTask, registerTaskTypes } from "../../../src/tasks/index.ts";
import { shardOf, shardOfName } from "../../../src/tasks/ledger/task-id.ts";
import { callForJson, callWorker } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";
import {
  brokenLedger,
  type Link,
  submit,
  submitted,
  submittedBatch,
  taskOf,
  taskRows,
  taskWhen,
} from "../../support/submissions.ts";

const MIB = 1024 * 1024;
const input = z.record(z.string(), z.unknown());
const echo = defineTask({ name: "routes_echo", input, run: async (_ctx, given) => given });
/** Two types, each with a shard of its own; the shards differ. */
const [capped, otherCapped] = ["routes_capped", "routes_capped_c"].map((name) =>
  defineTask({ name, input, concurrency: 4, run: async () => null }),
);
registerTaskTypes([echo, capped, otherCapped].flatMap((type) => type ?? []));

const ECHO = { type: "routes_echo" };
const LATER = { ...ECHO, delay: 3600 };

keepQuiet();
beforeEach(() => reset());
afterEach(() => vi.useRealTimers());

describe("one task", () => {
  test("is acknowledged with its id and URL, stored, and run", async () => {
    const { status, headers, body } = await submit({ ...ECHO, input: { n: 1 } });
    const id = String(body.id);
    expect([status, body]).toEqual([202, { id, url: `http://localhost/tasks/${id}` }]);
    expect([headers.get("Location"), headers.get("Retry-After"), headers.get("Cache-Control")]).toEqual([
      body.url,
      "1",
      "no-store",
    ]);
    expect(headers.has("Preference-Applied")).toBe(false);
    expect(await taskOf(id)).toEqual({
      id,
      type: "routes_echo",
      status: "succeeded",
      priority: 0,
      attempt: 1,
      crashes: 0,
      input: { n: 1 },
      progress: null,
      createdAt: expect.any(String),
      runAt: null,
      startedAt: expect.any(String),
      finishedAt: expect.any(String),
      result: { n: 1 },
      error: null,
      callbackUrl: null,
      followUps: [],
    });
  });

  test("has a URL on the host to which it was submitted", async () => {
    const token = "t".repeat(32);
    const { body } = await submit(ECHO, {
      site: "https://sluice.example.com",
      variables: { SLUICE_TOKENS: [{ name: "a", scopes: ["write"], token }] },
      headers: { Authorization: `Bearer ${token}` },
    });
    expect(body.url).toBe(`https://sluice.example.com/tasks/${String(body.id)}`);
  });

  test.each<[string, unknown]>([
    ["a missing input", undefined],
    ["letters of every kind", { "naïve 😀": '漢字 مرحبا \u2028 \u0000 \\ " </script>' }],
    ["half of a surrogate pair", { text: "\ud83d" }],
    ["members named like those of every object", { constructor: 1, toString: null, "": [] }],
    ["extreme numbers", { n: [0, 1e300, Number.MAX_SAFE_INTEGER, 1e-7] }],
    ["a thousand levels of nesting", { deep: JSON.parse(`${"[".repeat(998)}${"]".repeat(998)}`) as unknown }],
  ])("keeps its input unchanged: %s", async (_name, sent) => {
    const id = await submitted({ ...ECHO, input: sent });
    expect(await taskOf(id)).toMatchObject({ status: "succeeded", input: sent ?? {}, result: sent ?? {} });
  });

  test("keeps a member named __proto__", async () => {
    const id = await submitted('{"type":"routes_echo","input":{"a":{"__proto__":{"b":1}}}}');
    expect(JSON.stringify((await taskOf(id)).input)).toBe('{"a":{"__proto__":{"b":1}}}');
  });

  test.each(["漢", "x"])(
    "accepts and returns an input of 512 KiB of %s, and not a byte more",
    async (letter) => {
      const text = letter.repeat((512 * 1024 - '{"text":""}'.length) / Buffer.byteLength(letter));
      const task = await taskOf(await submitted({ ...ECHO, input: { text } }));
      expect([task.status, (task.result as { text: string }).text === text]).toEqual(["succeeded", true]);
      const { status, body } = await submit({ ...ECHO, input: { text: `${text}x` } });
      expect([status, body.errors]).toMatchObject([422, [{ at: "json/input" }]]);
    },
  );

  test("with a delay waits for it, and the response says when to check again", async () => {
    const { headers, body } = await submit({ ...ECHO, delay: 90.5 });
    expect(["90", "91"]).toContain(headers.get("Retry-After"));
    const task = await taskOf(String(body.id));
    expect(task).toMatchObject({ status: "scheduled", attempt: 0, startedAt: null });
    const waitsMs = Date.parse(String(task.runAt)) - Date.parse(String(task.createdAt));
    expect(waitsMs).toBeGreaterThan(90_000);
    expect(waitsMs).toBeLessThanOrEqual(90_500);
  });

  test("with a time waits for that, whatever its offset", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: Date.parse("2030-01-01T00:00:00Z") });
    const id = await submitted({ ...ECHO, run_at: "2030-01-01T05:30:00.250+05:00" });
    expect(await taskOf(id)).toMatchObject({ status: "scheduled", runAt: "2030-01-01T00:30:00.250Z" });
  });

  test("starts by itself after its delay", async () => {
    const id = await submitted({ ...ECHO, delay: 0.2 });
    expect(await taskWhen(id, "succeeded")).toMatchObject({ attempt: 1, runAt: null });
  });

  test("whose time has passed starts at once", async () => {
    const { headers, body } = await submit({ ...ECHO, run_at: "2020-01-01T00:00:00Z" });
    expect(headers.get("Retry-After")).toBe("1");
    expect(await taskOf(String(body.id))).toMatchObject({ status: "succeeded" });
  });

  test("keeps its priority", async () => {
    expect(await taskOf(await submitted({ ...ECHO, priority: 9 }))).toMatchObject({ priority: 9 });
  });

  test("keeps its callback URL", async () => {
    const url = "https://app.example.com/hooks/tasks";
    const id = await submitted({ ...LATER, callback_url: url });
    expect(await taskOf(id)).toMatchObject({ callbackUrl: url });
  });

  test("shows the query of its callback URL to nobody", async () => {
    const url = "https://app.example.com/hooks/tasks?key=secret";
    const id = await submitted({ ...LATER, callback_url: url });
    for (const path of ["/tasks", `/tasks/${id}`]) {
      const { response } = await callWorker(path);
      const text = await response.text();
      expect(text).toContain('"callbackUrl":"https://app.example.com/hooks/tasks"');
      expect(text).not.toContain("secret");
    }
  });

  test("on a shard that cannot be reached is a 503, and nothing is stored", async () => {
    vi.spyOn(scheduler, "wait").mockResolvedValue();
    const { status, headers, body } = await submit(ECHO, { variables: brokenLedger("commit") });
    expect([status, body.type, headers.get("Retry-After")]).toEqual([
      503,
      "urn:sluice:problem:ledger-unavailable",
      "1",
    ]);
    expect(headers.has("Location")).toBe(false);
    expect(await taskRows()).toEqual([]);
  });

  test("on a shard that restarts is stored even so, once", async () => {
    vi.spyOn(scheduler, "wait").mockResolvedValue();
    let failures = 2;
    const id = await submitted(ECHO, { variables: brokenLedger("commit", () => failures-- > 0) });
    expect(failures).toBeLessThan(0);
    expect((await taskRows()).map((row) => row.id)).toEqual([id]);
  });
});

describe("a batch", () => {
  test("returns a link for each task, in order", async () => {
    const batch = [3, 1, 2].map((n) => ({ ...ECHO, input: { n } }));
    const { status, headers, body } = await submit(batch);
    expect([status, headers.has("Location"), headers.has("Retry-After")]).toEqual([202, false, false]);
    const links = body.tasks as Link[];
    for (const { id, url } of links) expect(url).toBe(`http://localhost/tasks/${id}`);
    const tasks = await Promise.all(links.map(async ({ id }) => taskOf(id)));
    expect(tasks.map(({ result }) => result)).toEqual([{ n: 3 }, { n: 1 }, { n: 2 }]);
    expect(new Set(links.map(({ id }) => shardOf(id))).size).toBe(1);
  });

  test("may have one task or a thousand", async () => {
    expect(await submittedBatch([LATER])).toHaveLength(1);
    const ids = await submittedBatch(Array.from({ length: 1000 }, (_, n) => ({ ...LATER, input: { n } })));
    expect(new Set(ids).size).toBe(1000);
    const rows = new Map((await taskRows()).map((row) => [row.id, row.input]));
    expect(ids.map((id) => rows.get(id))).toEqual(ids.map((_, n) => JSON.stringify({ n })));
  });

  test("is run to its end, including the tasks that do not start in the invocation", async () => {
    const ids = await submittedBatch(Array.from({ length: 12 }, () => ECHO));
    for (const id of ids) await taskWhen(id, "succeeded");
  });

  test("with an error in it changes nothing", async () => {
    const { status, body } = await submit([ECHO, { ...ECHO, priority: 10 }, { type: "routes_none" }]);
    expect([status, body.errors]).toMatchObject([422, [{ at: "json/1/priority" }]]);
    expect((await submit([ECHO, { type: "routes_none" }])).status).toBe(422);
    expect(await taskRows()).toEqual([]);
  });

  const broken = shardOfName("routes_capped");
  const halves = [{ type: "routes_capped" }, { type: "routes_capped_c" }, { type: "routes_capped" }];

  test("says which tasks could not be written and why; the others are stored", async () => {
    expect(broken).not.toBe(shardOfName("routes_capped_c"));
    vi.spyOn(scheduler, "wait").mockResolvedValue();
    const { status, body } = await submit(halves, {
      variables: brokenLedger("commit", (shard) => shard === broken),
    });
    const error = { status: 503, detail: expect.stringContaining("ledger") };
    expect([status, body.tasks]).toEqual([
      202,
      [{ error }, expect.objectContaining({ id: expect.any(String) }), { error }],
    ]);
    const [, link] = body.tasks as Link[];
    expect((await taskRows()).map(({ id }) => id)).toEqual([link?.id]);
    expect(await taskWhen(String(link?.id), "succeeded")).toMatchObject({ type: "routes_capped_c" });
  });

  test("of which no task could be written is a 503", async () => {
    vi.spyOn(scheduler, "wait").mockResolvedValue();
    const { status, headers, body } = await submit(halves, { variables: brokenLedger("commit") });
    expect([status, body.type, headers.get("Retry-After")]).toEqual([
      503,
      "urn:sluice:problem:ledger-unavailable",
      "1",
    ]);
    expect(await taskRows()).toEqual([]);
  });
});

describe("the body", () => {
  const post = (body: BodyInit, headers: Record<string, string> = { "Content-Type": "application/json" }) =>
    callForJson("/tasks", { method: "POST", body, headers });
  const text = JSON.stringify(LATER);

  test.each<[string, string, Record<string, string>, number]>([
    ["that is valid, for comparison", text, { "Content-Type": "application/json" }, 202],
    ["with a charset", text, { "Content-Type": "application/json; charset=utf-8" }, 202],
    ["with space around it", ` \n${text}\t`, { "Content-Type": "application/json" }, 202],
    ["that is not JSON", "{", { "Content-Type": "application/json" }, 400],
    ["that is empty", "", { "Content-Type": "application/json" }, 400],
    ["with a trailing comma", `{"type":"routes_echo",}`, { "Content-Type": "application/json" }, 400],
    ["of another media type", text, { "Content-Type": "text/plain" }, 415],
    ["that is a form", "type=routes_echo", { "Content-Type": "application/x-www-form-urlencoded" }, 415],
  ])("%s", async (_name, body, headers, status) => {
    const reply = await post(body, headers);
    expect(reply.status).toBe(status);
    expect(await taskRows()).toHaveLength(status === 202 ? 1 : 0);
  });

  /** A submission of exactly this many bytes. */
  const padded = (bytes: number) => text + " ".repeat(bytes - text.length);
  const streamed = (all: string) => new Response(all).body?.pipeThrough(new TransformStream());

  test.each([
    [8 * MIB, 202],
    [8 * MIB + 1, 413],
  ])("of %i bytes is a %i, with or without a Content-Length", async (bytes, status) => {
    const whole = await post(padded(bytes), {
      "Content-Type": "application/json",
      "Content-Length": String(bytes),
    });
    expect(whole.status).toBe(status);
    const stream = streamed(padded(bytes));
    if (!stream) throw new Error("no stream");
    expect((await post(stream)).status).toBe(status);
    expect(await taskRows()).toHaveLength(status === 202 ? 2 : 0);
  });

  test.each<[string, string, string]>([
    ["arrays", "[", "]"],
    ["objects", '{"b":', "}"],
  ])("with very deeply nested %s is either stored whole or rejected", async (_name, open, close) => {
    const deep = `{"a":${open.repeat(50_000)}1${close.repeat(50_000)}}`;
    const headers = { "Idempotency-Key": '"a"' };
    const { status, body } = await submit(`{"type":"routes_echo","delay":60,"input":${deep}}`, { headers });
    expect(status).toBeOneOf([202, 400, 422]);
    const [row] = await taskRows();
    expect(row?.input).toBe(status === 202 ? deep : undefined);
    if (status === 202) expect((await callForJson(`/tasks/${String(body.id)}`)).status).toBe(200);
  });
});

describe("other methods", () => {
  test("HEAD is like GET, and OPTIONS lists the methods", async () => {
    const head = await callWorker("/tasks", { method: "HEAD" });
    expect([head.response.status, await head.response.text()]).toEqual([200, ""]);
    const { response } = await callWorker("/tasks", { method: "OPTIONS" });
    expect([response.status, response.headers.get("Allow")]).toEqual([204, "GET, HEAD, POST, OPTIONS"]);
  });

  test.each(["PUT", "PATCH", "DELETE"])("%s is a 405", async (method) => {
    const { status, headers } = await callForJson("/tasks", { method });
    expect([status, headers.get("Allow")]).toEqual([405, "GET, HEAD, POST, OPTIONS"]);
  });
});
