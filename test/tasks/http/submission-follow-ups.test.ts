/** `then`: tasks that start when a task has succeeded, through the front door. */
import { createExecutionContext, env, reset } from "cloudflare:test";
import { beforeEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { defineTask, NonRetryableError, registerTaskTypes, startTasks } from "../../../src/tasks/index.ts";
import { shardOfType } from "../../../src/tasks/ledger/task-id.ts";
import { fetchTask, whenEnded } from "../../support/background.ts";
import { callForJson, callWorker } from "../../support/call.ts";
import { chainOf, submit } from "../../support/chains.ts";
import { keepQuiet } from "../../support/quiet.ts";

keepQuiet();
beforeEach(() => reset());

let mayPass = false;
const quickly = { retries: 0, minDelayMs: 0, maxDelayMs: 0 };
const any = { input: z.unknown(), retry: quickly };
const echo = defineTask({ ...any, name: "chain_echo", run: async (_ctx, input) => input });
const mail = defineTask({
  name: "chain_mail",
  input: z.strictObject({ to: z.email(), rows: z.int(), note: z.string().default("") }),
  retry: quickly,
  run: async (_ctx, { to, rows }) => `${rows} to ${to}`,
});
const single = defineTask({
  ...any,
  name: "chain_single",
  concurrency: 1,
  run: async (_ctx, input) => input,
});
const other = defineTask({ ...any, name: "chain_other", concurrency: 1, run: async (_ctx, input) => input });
registerTaskTypes([
  echo,
  mail,
  single,
  other,
  defineTask({
    ...any,
    name: "chain_gate",
    run: async () => {
      if (!mayPass) throw new NonRetryableError("not yet");
      return { n: 1 };
    },
  }),
  defineTask({ ...any, name: "chain_lacking", unavailable: () => "It lacks all.", run: async () => null }),
]);

const TO = "a@example.com";
const first = (then: unknown[], input: unknown = { rows: 3, to: TO }) => ({
  type: "chain_echo",
  input,
  then,
});
const started = async (body: unknown) => {
  const { status, body: link } = await submit(body);
  expect(status, JSON.stringify(link)).toBe(202);
  return String(link.id);
};

describe("follow-ups", () => {
  test("start with the result and the input filled in, one after the other", async () => {
    const id = await started(
      first([
        {
          type: "chain_mail",
          input: { to: "{{input.to}}", rows: "{{result.rows}}", note: "{{result.rows}} rows" },
          then: [{ type: "chain_echo", input: ["{{result}}", "{{input.note}}"] }],
        },
        { type: "chain_echo", priority: 3 },
      ]),
    );
    const [task, mailed, last, second] = await chainOf(id);
    expect(task).toMatchObject({ status: "succeeded", followUps: [mailed?.id, second?.id] });
    expect(mailed).toMatchObject({
      type: "chain_mail",
      input: { to: TO, rows: 3, note: "3 rows" },
      result: `3 to ${TO}`,
      followUps: [last?.id],
    });
    expect(last).toMatchObject({ result: [`3 to ${TO}`, "3 rows"], followUps: [] });
    expect(second).toMatchObject({ input: {}, priority: 3, status: "succeeded" });
  });

  test("of types with a concurrency are on the shards of those, and start at once too", async () => {
    const types = [single, other];
    const id = await started(
      first(
        types.map(({ name }) => ({
          type: name,
          input: "{{result.rows}}",
          then: [{ type: "chain_echo", input: "{{result}}" }],
        })),
      ),
    );
    const [, ...next] = await chainOf(id);
    expect(next.map(({ type, result }) => [type, result])).toEqual([
      ["chain_single", 3],
      ["chain_echo", 3],
      ["chain_other", 3],
      ["chain_echo", 3],
    ]);
    for (const [i, type] of types.entries())
      expect(String(next[2 * i]?.id)).toMatch(new RegExp(`^${shardOfType(type, "none")}-`));
  });

  test("wait for their delay, which begins at the end of the task before", async () => {
    const id = await started(first([{ type: "chain_echo", delay: 3600 }]));
    const task = await whenEnded(id);
    const [next] = task.followUps as string[];
    const waiting = await fetchTask(String(next));
    expect(waiting.status).toBe("scheduled");
    expect(Date.parse(String(waiting.runAt)) - Date.parse(String(task.finishedAt))).toBeCloseTo(
      3_600_000,
      -3,
    );
  });

  test("do not start when the task fails or is cancelled; after a retry that succeeds, once", async () => {
    mayPass = false;
    const id = await started({ type: "chain_gate", then: [{ type: "chain_echo", input: "{{result.n}}" }] });
    expect(await whenEnded(id)).toMatchObject({ status: "failed", followUps: [] });
    mayPass = true;
    expect((await callForJson(`/tasks/${id}/retry`, { method: "POST" })).status).toBe(202);
    const [, next, ...more] = await chainOf(id);
    expect([next?.result, more]).toEqual([1, []]);
    expect((await callForJson(`/tasks/${id}/retry`, { method: "POST" })).status).toBe(409);
    const later = await started({ type: "chain_echo", delay: 3600, then: [{ type: "chain_echo" }] });
    const cancelled = await callForJson(`/tasks/${later}/cancel`, { method: "POST" });
    expect(cancelled.body).toMatchObject({ status: "cancelled", followUps: [] });
    expect((await callForJson("/tasks")).body.tasks).toHaveLength(3);
  });

  test("whose placeholder leads nowhere exist as failed, name it, cannot be retried, and start nothing", async () => {
    const id = await started(
      first([{ type: "chain_single", input: "{{result.nope}}", then: [{ type: "chain_echo" }] }]),
    );
    const [, failed, ...more] = await chainOf(id);
    expect(failed).toMatchObject({
      status: "failed",
      attempt: 0,
      input: "{{result.nope}}",
      error: {
        name: "PlaceholderError",
        message: 'The placeholder {{result.nope}} leads nowhere: result has no "nope".',
      },
    });
    expect(more).toEqual([]);
    expect((await callForJson(`/tasks/${String(failed?.id)}/retry`, { method: "POST" })).status).toBe(409);
    const all = await submitJson("/tasks/retry", { type: "chain_single" });
    expect(all.body).toEqual({ retried: 0, remaining: false });
    const { response } = await callWorker(`/tasks/${String(failed?.id)}`, { method: "DELETE" });
    expect(response.status).toBe(204);
  });

  test("whose filled-in input does not fit their type fail, and name the place", async () => {
    const id = await started(
      first([{ type: "chain_mail", input: { to: "{{result.to}}", rows: 1 } }], { to: "nobody" }),
    );
    const [, failed] = await chainOf(id);
    expect(failed).toMatchObject({
      status: "failed",
      error: { message: expect.stringContaining(" input/to: ") },
    });
  });

  test("whose input would be too long exist as failed", async () => {
    const id = await started(
      first([{ type: "chain_echo", input: ["{{result}}", "{{result}}"] }], "x".repeat(300_000)),
    );
    const [, failed] = await chainOf(id);
    expect(failed).toMatchObject({ status: "failed", error: { name: "RangeError" } });
  });
});

const submitJson = async (path: string, body: unknown) =>
  callForJson(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });

describe("what is wrong is said before anything starts", () => {
  const deep = (levels: number): unknown[] => [
    { type: "chain_echo", ...(levels > 1 ? { then: deep(levels - 1) } : {}) },
  ];

  test.each<[string, unknown[], string, string | RegExp]>([
    ["an unknown type", [{ type: "none" }], "/0/type", /no task type "none"/],
    ["the callback type", [{ type: "callback" }], "/0/type", /no task type/],
    [
      "an unknown type further on",
      [{ type: "chain_echo", then: [{ type: "none" }] }],
      "/0/then/0/type",
      /"none"/,
    ],
    [
      "a malformed placeholder",
      [{ type: "chain_echo", input: { a: "{{x}}" } }],
      "/0/input/a",
      /\{\{x\}\} is not/,
    ],
    [
      "{{input}} that leads nowhere",
      [{ type: "chain_echo", input: "{{input.x}}" }],
      "/0/input",
      /input has no "x"/,
    ],
    [
      "the same further on",
      [{ type: "chain_echo", input: { a: 1 }, then: [{ type: "chain_echo", input: "{{input.b}}" }] }],
      "/0/then/0/input",
      /input has no "b"/,
    ],
    [
      "a part of an input that no placeholder touches",
      [{ type: "chain_mail", input: { to: "{{result.to}}", rows: "1" } }],
      "/0/input/rows",
      /./,
    ],
    ["a missing part", [{ type: "chain_mail", input: { to: "{{result.to}}" } }], "/0/input/rows", /./],
    [
      "a member that the type does not take",
      [{ type: "chain_mail", input: { to: TO, rows: "{{result.rows}}", x: 1 } }],
      "/0/input",
      /x/,
    ],
    [
      "a callback to nowhere",
      [{ type: "chain_echo", callback_url: "https://example.org/" }],
      "/0/callback_url",
      /./,
    ],
    ["a member that there is not", [{ type: "chain_echo", run_at: "2030-01-01T00:00:00Z" }], "/0", /run_at/],
    ["no follow-up", [], "", /./],
    ["too many", Array.from({ length: 11 }, () => ({ type: "chain_echo" })), "", /./],
    ["too many after each other", deep(6), "", /at most 5/],
    ["very many after each other", deep(900), "", /at most 5/],
    ["too much", [{ type: "chain_echo", input: "x".repeat(65_536) }], "", /the limit is 65536/],
  ])("%s", async (_name, then, at, detail) => {
    const { status, body } = await submit([first([{ type: "chain_echo" }]), first(then)]);
    expect(status, JSON.stringify(body)).toBe(422);
    const [error] = body.errors as { at: string; detail: string }[];
    expect(error?.at).toBe(`json/1/then${at}`);
    expect(error?.detail).toMatch(detail);
    expect((await callForJson("/tasks")).body.tasks).toEqual([]);
  });

  test.each([
    [deep(5)],
    [[{ type: "chain_mail", input: "{{result.mail}}" }]],
    [
      [
        {
          type: "chain_echo",
          input: "{{input}}",
          then: [{ type: "chain_echo", input: "{{input.anything}}" }],
        },
      ],
    ],
  ])("and what can only be known later is accepted: %j", async (then) => {
    expect((await submit({ ...first(then), delay: 60 })).status).toBe(202);
  });

  test("a type that cannot run here", async () => {
    const { status, body } = await submit(first([{ type: "chain_lacking" }]));
    expect([status, body.errors]).toMatchObject([503, [{ at: "json/then/0/type" }]]);
  });
});

test("with an Idempotency-Key, the same follow-ups give the same task, and others are another request", async () => {
  const key = { "Idempotency-Key": '"chain"' };
  const ids = [];
  for (const _ of [1, 2]) ids.push((await submit(first([{ type: "chain_echo" }]), key)).body.id);
  expect(ids[0]).toBe(ids[1]);
  expect(await chainOf(String(ids[0]))).toHaveLength(2);
  expect((await submit(first([{ type: "chain_mail", input: "{{result}}" }]), key)).status).toBe(422);
  expect((await submit(first([]).type, key)).status).toBe(422);
});

describe("startTasks", () => {
  const start = async (then: Parameters<typeof startTasks>[2][number]["then"]) =>
    startTasks(env, createExecutionContext(), [
      { type: echo, input: { rows: 3 }, ...(then ? { then } : {}) },
    ]);

  test("takes them by their types", async () => {
    const [id] = await start([
      { type: mail, input: { to: TO, rows: "{{result.rows}}" }, then: [{ type: echo, input: "{{result}}" }] },
    ]);
    expect((await chainOf(String(id))).map(({ result }) => result)).toEqual([
      { rows: 3 },
      `3 to ${TO}`,
      `3 to ${TO}`,
    ]);
  });

  test.each([
    [[{ type: mail, input: { to: "nobody", rows: 1 } }], "0/then/0/input/to"],
    [[{ type: echo, input: "{{input.x}}" }], "leads nowhere"],
    [
      [{ type: defineTask({ ...any, name: "chain_unlisted", run: async () => null }) }],
      'no task type "chain_unlisted"',
    ],
    [[], "0/then is not valid"],
  ])("throws for what is wrong, and starts nothing: %#", async (then, why) => {
    await expect(start(then)).rejects.toThrow(why);
    expect((await callForJson("/tasks")).body.tasks).toEqual([]);
  });
});

test("a schedule shows its follow-ups, and refuses what is wrong with them", async () => {
  const then = [{ type: "chain_mail", input: { to: TO, rows: "{{result.rows}}" }, priority: 0 }];
  const spec = { cron: "0 0 1 1 *", type: "chain_echo", input: { rows: 1 } };
  expect(await submitJson("/schedules", { ...spec, then })).toMatchObject({ status: 201, body: { then } });
  const wrong = await submitJson("/schedules", { ...spec, then: [{ type: "none" }] });
  expect([wrong.status, wrong.body.errors]).toMatchObject([422, [{ at: "json/then/0/type" }]]);
});
