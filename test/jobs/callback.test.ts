/** Callbacks, from a task that has ended to what its receiver sees. */
import { env, reset } from "cloudflare:test";
import { exports } from "cloudflare:workers";
import { Webhook } from "standardwebhooks";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { z } from "zod";
import { CALLBACK_RETRY, callback, deliver } from "../../src/jobs/callback.ts";
import { defineTask, NonRetryableError, registerTaskTypes } from "../../src/tasks/index.ts";
import { callForJson } from "../support/call.ts";
import { putFile } from "../support/files.ts";
import { keepQuiet } from "../support/quiet.ts";
import { resetUpstream, upstream } from "../support/scripted-upstream.ts";
import { submitted } from "../support/submissions.ts";
import { taskContext } from "../support/task-context.ts";
import { IDLE, loadOf } from "../support/upstreams.ts";
import { TEST_VARIABLES } from "../support/variables.ts";

const HOOK = "https://app.example.com/hooks/tasks?of=sluice";
const [NEW_KEY = "", OLD_KEY = ""] = TEST_VARIABLES.CALLBACK_KEYS.split(" ");
const OTHER_KEY = `whsec_${btoa("some other key, of 32 bytes, too")}`;

registerTaskTypes([
  defineTask({
    name: "callback_fails",
    input: z.unknown(),
    run: async () => Promise.reject(new NonRetryableError("as it should")),
  }),
]);

interface Received {
  method: string;
  url: string;
  headers: Record<string, string>;
  body: string;
}

/** What the receiver has seen since the test began, and the lines that the callback has logged. */
let received: Received[] = [];
let lines: unknown[] = [];
/** A task that has ended well. */
let succeeded = "";

/** The receiver gives these answers, one after the other, the last one ever after. */
function answerWith(...answers: (() => Response | Promise<Response>)[]): void {
  resetUpstream(async (request) => {
    const headers = Object.fromEntries(request.headers);
    received.push({ method: request.method, url: request.url, headers, body: await request.text() });
    const answer = answers[received.length - 1] ?? answers.at(-1);
    return answer ? answer() : new Response(null, { status: 204 });
  });
}

const status =
  (code: number, headers: Record<string, string> = {}) =>
  () =>
    new Response(null, { status: code, headers });

/** One try of the callback, with these variables or as it is, until everything it left behind is over. */
async function run({
  taskId = succeeded,
  url = HOOK,
  id = "s0-callback",
  signal = never,
  variables = undefined as object | undefined,
} = {}) {
  const left: Promise<unknown>[] = [];
  const ctx = taskContext({
    taskId: id,
    signal,
    log: (...line) => void lines.push(line),
    waitUntil: (promise) => void left.push(promise),
  });
  try {
    const input = { taskId, finishedAt: String((await taskOf(taskId)).finishedAt), url };
    return await (variables ? deliver({ ...env, ...variables }, ctx, input) : callback.run(ctx, input));
  } finally {
    await Promise.allSettled(left);
  }
}

const never = new AbortController().signal;

/** What a try throws. */
async function failureOf(options?: Parameters<typeof run>[0]): Promise<Error> {
  const outcome = await run(options).then(
    (result) => `it was done: ${JSON.stringify(result)}`,
    (error: unknown) => error,
  );
  if (outcome instanceof Error) return outcome;
  throw new Error(String(outcome));
}

const taskOf = async (id: string) => (await callForJson(`/tasks/${id}`)).body;

/** A task that reads a file, when it has ended. */
async function endedTask(fileId: string): Promise<string> {
  const id = (await exports.FileTasks.start("verify_file", fileId, crypto.randomUUID())) ?? "";
  await expect.poll(async () => (await taskOf(id)).finishedAt).toEqual(expect.any(String));
  return id;
}

keepQuiet();
beforeEach(async () => {
  await reset();
  [received, lines] = [[], []];
  answerWith();
  await putFile("a", "hello", {
    headers: { "Content-Disposition": "attachment; filename*=UTF-8''r%C3%B6ntgen%20%F0%9F%A9%BB.bin" },
  });
  succeeded = await endedTask("a");
});

describe("a callback", () => {
  test("is the task, as it can be read, signed and POSTed to the URL", async () => {
    expect(await run()).toEqual({ status: 204 });
    const [{ method, url, headers, body } = {} as Received] = received;
    expect([method, url]).toEqual(["POST", "http://upstream.internal/hooks/tasks?of=sluice"]);
    expect(headers).toMatchObject({
      "content-type": "application/json",
      "content-length": String(new TextEncoder().encode(body).length),
      "webhook-id": "msg_s0-callback",
      "webhook-timestamp": expect.stringMatching(/^\d{10}$/),
    });
    const task = await taskOf(succeeded);
    expect(new Webhook(NEW_KEY).verify(body, headers)).toEqual({
      type: "task.succeeded",
      timestamp: task.finishedAt,
      data: task,
    });
    expect(task.result).toMatchObject({ filename: "röntgen 🩻.bin" });
  });

  test("tells of a failure, too", async () => {
    const failed = await submitted({ type: "callback_fails" });
    await run({ taskId: failed });
    const [{ body } = {} as Received] = received;
    expect(JSON.parse(body)).toMatchObject({
      type: "task.failed",
      data: { id: failed, result: null, error: { message: "as it should" } },
    });
  });

  test("holds a permit of that upstream, in the background, until it is answered", async () => {
    const answer = Promise.withResolvers<Response>();
    answerWith(() => answer.promise);
    const first = run({ id: "s0-first" });
    await expect.poll(() => received.length).toBe(1);
    const second = run({ id: "s0-second" });
    await expect.poll(() => loadOf("callback-app")).toEqual({ held: 1, waiting: 1 });
    expect(await env.SEMAPHORE.getByName("callback-app").status()).toMatchObject({
      held: { leases: [{ holder: "callback s0-first" }] },
      waiting: { callers: [{ holder: "callback s0-second", priority: "background" }] },
    });
    answer.resolve(new Response(null, { status: 204 }));
    await Promise.all([first, second]);
    expect([upstream.maxInFlight, await loadOf("callback-app")]).toEqual([1, IDLE]);
  });

  test("that is cancelled while it waits for its permit is not sent", async () => {
    const answer = Promise.withResolvers<Response>();
    answerWith(() => answer.promise);
    const first = run();
    await expect.poll(() => received.length).toBe(1);
    const abort = new AbortController();
    const second = failureOf({ signal: abort.signal });
    await expect.poll(() => loadOf("callback-app")).toEqual({ held: 1, waiting: 1 });
    abort.abort();
    expect(await second).toMatchObject({ kind: "client-gone" });
    answer.resolve(new Response());
    await first;
    expect(received).toHaveLength(1);
  });
});

describe("the signature", () => {
  test("is one for each key, over the bytes that were sent", async () => {
    await run();
    const [{ headers, body } = {} as Received] = received;
    expect(headers["webhook-signature"]?.split(" ")).toHaveLength(2);
    for (const key of [NEW_KEY, OLD_KEY])
      expect(new Webhook(key).verify(body, headers)).toMatchObject({ type: "task.succeeded" });
  });

  describe("over two tries", () => {
    afterEach(() => vi.useRealTimers());

    test("has the same id, and each its own time", async () => {
      answerWith(status(500), status(204));
      await failureOf();
      vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 600_000 });
      await run();
      const [first, second] = received.map(({ headers }) => headers);
      expect(second?.["webhook-id"]).toBe(first?.["webhook-id"]);
      const laterSeconds = Number(second?.["webhook-timestamp"]) - Number(first?.["webhook-timestamp"]);
      expect(laterSeconds).toBeGreaterThanOrEqual(600);
      expect(received[1]?.body).toBe(received[0]?.body);
      expect(new Webhook(NEW_KEY).verify(String(received[1]?.body), second ?? {})).toBeTruthy();
      expect(() => new Webhook(NEW_KEY).verify(String(received[0]?.body), first ?? {})).toThrow("too old");
    });
  });
});

describe("the answer", () => {
  test.each([200, 201, 202, 204, 299])("%d: done", async (code) => {
    answerWith(status(code));
    expect(await run()).toEqual({ status: code });
  });

  test("410: given up, and logged", async () => {
    answerWith(status(410));
    const error = await failureOf();
    expect(error).toBeInstanceOf(NonRetryableError);
    expect(error.message).toContain("410");
    expect(lines).toEqual([["warn", expect.stringContaining("wants no more"), { about: succeeded }]]);
  });

  test.each([300, 304, 400, 401, 404, 408, 429, 500, 502, 503, 504])(
    "%d: to be tried again, later, and not at once",
    async (code) => {
      answerWith(status(code));
      const error = await failureOf();
      expect(error).not.toBeInstanceOf(NonRetryableError);
      expect(error.message).toContain(String(code));
      expect(received).toHaveLength(1);
    },
  );

  test.each([301, 302, 303, 307, 308])("%d: the same, and not followed", async (code) => {
    answerWith(status(code, { Location: "/hooks/elsewhere" }), status(204));
    const error = await failureOf();
    expect(error).not.toBeInstanceOf(NonRetryableError);
    expect(error).toMatchObject({ kind: "redirect-refused" });
    expect(received).toHaveLength(1);
  });

  test.each([
    ["none in time", "https://slow.example.com/", "upstream-timeout"],
    ["no connection", "http://127.0.0.1:1/", "upstream-unreachable"],
  ])("%s: the same", async (_name, url, kind) => {
    answerWith(async () => {
      await scheduler.wait(1000);
      return new Response();
    });
    const error = await failureOf({ url });
    expect(error).not.toBeInstanceOf(NonRetryableError);
    expect(error).toMatchObject({ kind });
    expect(received.length).toBeLessThanOrEqual(1);
  });

  test("is not read", async () => {
    const endless = new ReadableStream<Uint8Array>(
      { pull: (controller) => controller.enqueue(new Uint8Array(65_536)) },
      { highWaterMark: 0 },
    );
    answerWith(() => new Response(endless));
    expect(await run()).toEqual({ status: 200 });
    await expect.poll(() => loadOf("callback-app")).toEqual(IDLE);
  });
});

describe("given up, with nothing sent:", () => {
  const NO_TASK = "s0-00000000-0000-7000-8000-000000000000";

  test.each([
    ["the task has been deleted", { taskId: NO_TASK }, NO_TASK],
    ["there cannot be such a task", { taskId: "nonsense" }, "nonsense"],
    ["the path is not under path_prefixes", { url: "https://app.example.com/admin" }, "/hooks/"],
    ["dots lead out of path_prefixes", { url: "https://app.example.com/hooks/../admin" }, "/hooks/"],
    ["encoded dots do", { url: "https://app.example.com/hooks/..%2fadmin" }, "encoded slash"],
    ["the origin is not allowed", { url: "https://evil.example/hooks/" }, "https://app.example.com"],
    ["the port is not", { url: "https://app.example.com:8443/hooks/" }, "https://app.example.com"],
    ["the scheme is not", { url: "http://app.example.com/hooks/" }, "https://app.example.com"],
    ["the URL has a user", { url: "https://me@app.example.com/hooks/" }, "no user"],
  ])("%s", async (_name, options, message) => {
    const error = await failureOf(options);
    expect(error).toBeInstanceOf(NonRetryableError);
    expect(error.message).toContain(message);
    expect(received).toEqual([]);
  });
});

test("without a key nothing is sent, and it may be set until the tries are over", async () => {
  const error = await failureOf({ variables: { CALLBACK_KEYS: "" } });
  expect(error).not.toBeInstanceOf(NonRetryableError);
  expect(error.message).toContain("CALLBACK_KEYS");
  expect(received).toEqual([]);
  expect(await run({ variables: { CALLBACK_KEYS: OTHER_KEY } })).toEqual({ status: 204 });
  const [{ headers, body } = {} as Received] = received;
  expect(new Webhook(OTHER_KEY).verify(body, headers)).toMatchObject({ type: "task.succeeded" });
});

test("the tries go on for two to three days, at most 12 h apart", () => {
  const { retries, minDelayMs, maxDelayMs, factor } = CALLBACK_RETRY;
  const delays = Array.from({ length: retries }, (_, i) => Math.min(maxDelayMs, minDelayMs * factor ** i));
  const days = delays.reduce((sum, delay) => sum + delay, 0) / 86_400_000;
  expect(delays[0]).toBe(5_000);
  expect(Math.max(...delays)).toBe(12 * 3_600_000);
  expect(days).toBeGreaterThan(2);
  expect(days).toBeLessThan(3);
});
