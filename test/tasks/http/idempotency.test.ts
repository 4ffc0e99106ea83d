/** `Idempotency-Key`: a request creates its tasks once, however often it is sent. */

import { env, reset } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { z } from "zod";
import { Problem } from "../../../src/kernel/problem.ts";
import { checkReservation, parseKey } from "../../../src/tasks/http/idempotency.ts";
import { fingerprint, submissionSchema } from "../../../src/tasks/http/submission.ts";
import { defineTask, registerTaskTypes } from "../../../src/tasks/index.ts";
import { ledgerOn } from "../../../src/tasks/ledger/shards.ts";
import { newTaskId, shardOfName } from "../../../src/tasks/ledger/task-id.ts";
import { keepQuiet } from "../../support/quiet.ts";
import {
  brokenLedger,
  changedLedger,
  type Link,
  submit,
  taskOf,
  taskRows,
  taskWhen,
} from "../../support/submissions.ts";

const input = z.unknown();
registerTaskTypes([
  defineTask({ name: "idempotency_echo", input, run: async (_ctx, given) => given }),
  defineTask({ name: "idempotency_one", input, concurrency: 4, run: async () => null }),
  defineTask({ name: "idempotency_two", input, concurrency: 4, run: async () => null }),
]);

const ECHO = { type: "idempotency_echo", input: { a: 1, b: { c: 2, d: 3 } } };
const KEY = '"8e03978e-40d5-43dd-bc93-6894a57f9324"';

const send = (body: unknown, key = KEY, variables: Record<string, unknown> = {}) =>
  submit(body, { variables, headers: { "Idempotency-Key": key } });
const ids = async () => (await taskRows()).map(({ id }) => id);

keepQuiet();
beforeEach(() => reset());
afterEach(() => vi.useRealTimers());

describe("the key", () => {
  test.each<[string, string | undefined]>([
    ['"a"', "a"],
    [KEY, KEY.slice(1, -1)],
    [`"${"k".repeat(255)}"`, "k".repeat(255)],
    ['  "a"  ', "a"],
    ['"a";v=1', "a"],
    ['"a \\"b\\" \\\\"', 'a "b" \\'],
    ['"a, b"', "a, b"],
    ['""', undefined],
    ["", undefined],
    ["a", undefined],
    ["8e03978e-40d5-43dd-bc93-6894a57f9324", undefined],
    ["42", undefined],
    ["?1", undefined],
    [":YWJj:", undefined],
    ['%"a"', undefined],
    ["@1659578233", undefined],
    ['"a", "b"', undefined],
    ['("a" "b")', undefined],
    ['"a', undefined],
    ['"a" b', undefined],
    ["'a'", undefined],
    ['"é"', undefined],
    [`"${"k".repeat(256)}"`, undefined],
  ])("%s", (header, key) => {
    if (key !== undefined) return expect(parseKey(header)).toBe(key);
    expect(() => parseKey(header)).toThrow(expect.objectContaining({ kind: "malformed" }));
  });

  test("is optional", () => {
    expect(parseKey(undefined)).toBeUndefined();
  });

  test.each(["a", "42", "", `"${"k".repeat(256)}"`, '"a", "b"'])(
    "%s is a 400, and nothing is stored",
    async (key) => {
      const { status, body } = await send(ECHO, key);
      expect([status, body.type]).toEqual([400, "urn:sluice:problem:malformed"]);
      expect(await ids()).toEqual([]);
    },
  );
});

test("a reservation becomes a conflict, a rejection, or the ids of the tasks", () => {
  const taskIds = ["s0-a"];
  expect(checkReservation({ is: "created", taskIds })).toEqual({ taskIds, areCreated: true });
  expect(checkReservation({ is: "reserved", taskIds })).toEqual({ taskIds, areCreated: false });
  const thrown = (is: "in-progress" | "used-by-another-request") => {
    try {
      return checkReservation({ is });
    } catch (error) {
      return error instanceof Problem && [error.status, error.kind, error.options.headers];
    }
  };
  expect(thrown("in-progress")).toEqual([409, "conflict", { "Retry-After": "1" }]);
  expect(thrown("used-by-another-request")).toEqual([422, "idempotency-key-reused", undefined]);
});

describe("the same request with the same key", () => {
  test("gives the same task, however its JSON is written", async () => {
    const first = await send(ECHO);
    expect(first.status).toBe(202);
    const rewritten = ' { "input": {"b":{"d":3,"c":2},"a":1},\n"type":"idempotency_echo", "priority":0 }';
    for (const again of [await send(ECHO), await send(rewritten)]) {
      expect([again.status, again.body]).toEqual([202, first.body]);
      expect(again.headers.get("Location")).toBe(first.headers.get("Location"));
      expect(again.headers.get("Retry-After")).toBe("1");
    }
    expect(await ids()).toEqual([first.body.id]);
    expect(await taskOf(String(first.body.id))).toMatchObject({ attempt: 1, status: "succeeded" });
  });

  test("gives another task after a day", async () => {
    const first = await send(ECHO);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 24 * 3_600_000 - 60_000 });
    expect((await send(ECHO)).body.id).toBe(first.body.id);
    vi.setSystemTime(Date.now() + 120_000);
    const later = await send(ECHO);
    expect([later.status, later.body.id === first.body.id]).toEqual([202, false]);
  });

  test("gives the same batch", async () => {
    const batch = [ECHO, { type: "idempotency_one" }, { type: "idempotency_two" }, ECHO];
    const first = await send(batch);
    const again = await send(batch);
    expect([again.status, again.body]).toEqual([202, first.body]);
    const links = first.body.tasks as Link[];
    expect(await ids()).toEqual(links.map(({ id }) => id).toSorted());
  });

  test("waits for the same task, if it asks to wait", async () => {
    const first = await send(ECHO);
    const headers = { "Idempotency-Key": KEY, Prefer: "wait=5" };
    const again = await submit(ECHO, { headers });
    expect([again.status, again.body]).toMatchObject([200, { id: first.body.id, status: "succeeded" }]);
  });

  test("creates one task, even if it is sent concurrently", async () => {
    for (let round = 0; round < 5; round++) {
      const replies = await Promise.all(
        Array.from({ length: 3 }, async () => send(ECHO, `"round ${round}"`)),
      );
      const taken = replies.filter(({ status }) => status === 202);
      expect(new Set(taken.map(({ body }) => body.id)).size).toBe(1);
      for (const { status, headers } of replies.filter((reply) => reply.status !== 202))
        expect([status, headers.get("Retry-After")]).toEqual([409, "1"]);
      expect(await ids()).toHaveLength(round + 1);
    }
  });

  test("creates a task each time if it has no key", async () => {
    await submit(ECHO);
    await submit(ECHO);
    expect(await ids()).toHaveLength(2);
  });
});

test.each<[string, unknown]>([
  ["another input", { ...ECHO, input: { a: 2 } }],
  ["another type", { ...ECHO, type: "idempotency_one" }],
  ["another delay", { ...ECHO, delay: 1 }],
  ["a batch of it", [ECHO]],
])("the same key with %s is rejected", async (_name, other) => {
  const first = await send(ECHO);
  const { status, body } = await send(other);
  expect([status, body.type]).toEqual([422, "urn:sluice:problem:idempotency-key-reused"]);
  expect(await ids()).toEqual([first.body.id]);
});

test("a rejected request does not use up its key", async () => {
  expect((await send({ type: "idempotency_none" })).status).toBe(422);
  expect((await send(ECHO)).status).toBe(202);
});

describe("keys of different principals", () => {
  const token = (name: string) => name.repeat(32).slice(0, 32);
  const names = ["anna", "bert"];
  const SLUICE_TOKENS = names.map((name) => ({ name, scopes: ["write", "read"], token: token(name) }));
  const sendAs = (name: string, body: unknown) =>
    submit(body, {
      variables: { SLUICE_TOKENS },
      headers: { "Idempotency-Key": KEY, Authorization: `Bearer ${token(name)}` },
    });

  test("are independent", async () => {
    const [first, second] = [await sendAs("anna", ECHO), await sendAs("bert", { ...ECHO, input: 2 })];
    expect([first.status, second.status]).toEqual([202, 202]);
    expect(await ids()).toHaveLength(2);
    expect((await sendAs("anna", ECHO)).body).toEqual(first.body);
  });
});

describe("while the tasks of a key are being created", () => {
  const scoped = JSON.stringify(["local", KEY.slice(1, -1)]);
  const reserve = async (taskId: string) =>
    ledgerOn(env, shardOfName(scoped)).reserveKey(scoped, fingerprint(submissionSchema.parse(ECHO)), [
      taskId,
    ]);

  test("a request is a conflict; after the key's lease, the next request creates the same tasks", async () => {
    const id = newTaskId("s3");
    expect(await reserve(id)).toMatchObject({ is: "reserved" });
    const { status, headers } = await send(ECHO);
    expect([status, headers.get("Retry-After")]).toEqual([409, "1"]);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 14_000 });
    expect((await send(ECHO)).status).toBe(409);
    vi.setSystemTime(Date.now() + 2_000);
    const later = await send(ECHO);
    expect([later.status, later.body.id]).toEqual([202, id]);
    expect(await ids()).toEqual([id]);
  });

  test("a task that already exists stays as it is", async () => {
    const first = await send(ECHO, KEY, changedLedger({ settleKey: async () => undefined }));
    expect((await send(ECHO)).status).toBe(409);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 16_000 });
    const again = await send(ECHO);
    expect([again.status, again.body]).toEqual([202, first.body]);
    expect(await taskOf(String(first.body.id))).toMatchObject({ attempt: 1, status: "succeeded" });
  });
});

describe("after the tasks of a key could not be created", () => {
  beforeEach(() => {
    vi.spyOn(scheduler, "wait").mockResolvedValue();
  });

  test("the next request may try at once, and creates the same task", async () => {
    expect((await send(ECHO, KEY, brokenLedger("commit"))).status).toBe(503);
    expect((await send({ ...ECHO, input: 2 })).status).toBe(422);
    const again = await send(ECHO);
    expect(again.status).toBe(202);
    expect(await ids()).toEqual([again.body.id]);
  });

  test("in part, only the missing ones are created", async () => {
    const batch = [{ type: "idempotency_one" }, { type: "idempotency_two" }];
    const [one, two] = batch.map(({ type }) => shardOfName(type));
    expect(one).not.toBe(two);
    const first = await send(
      batch,
      KEY,
      brokenLedger("commit", (shard) => shard === one),
    );
    const [, there] = first.body.tasks as Link[];
    expect(first.body.tasks).toEqual([{ error: expect.anything() }, there]);
    await taskWhen(String(there?.id), "succeeded");
    const again = await send(batch);
    const links = again.body.tasks as Link[];
    expect([again.status, links[1]]).toEqual([202, there]);
    expect(await ids()).toEqual(links.map(({ id }) => id).toSorted());
    expect(await taskOf(String(there?.id))).toMatchObject({ attempt: 1 });
  });

  test("because the key could not be reserved, the response is a 503 too", async () => {
    const { status, headers, body } = await send(ECHO, KEY, brokenLedger("reserveKey"));
    expect([status, body.type, headers.get("Retry-After")]).toEqual([
      503,
      "urn:sluice:problem:ledger-unavailable",
      "1",
    ]);
    expect(await ids()).toEqual([]);
  });
});
