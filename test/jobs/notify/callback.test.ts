/** Callbacks, from the end of a task to what its receiver sees. */
import { env, reset } from "cloudflare:test";
import { exports } from "cloudflare:workers";
import { Webhook } from "standardwebhooks";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { z } from "zod";
import { callback, deliver, toMessage } from "../../../src/jobs/notify/callback.ts";
import { DELIVERY_RETRY } from "../../../src/jobs/notify/delivery.ts";
import { defineTask, NonRetryableError, registerTaskTypes, type Task } from "../../../src/tasks/index.ts";
import { callForJson } from "../../support/call.ts";
import { putFile } from "../../support/files.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { expectRuntimeErrors } from "../../support/runtime-errors.ts";
import { resetUpstream, upstream } from "../../support/scripted-upstream.ts";
import { submitted } from "../../support/submissions.ts";
import { taskContext } from "../../support/task-context.ts";
import { IDLE, loadOf } from "../../support/upstreams.ts";
import { TEST_VARIABLES } from "../../support/variables.ts";

expectRuntimeErrors("Network connection lost", "Connection refused", "Missing required headers");

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

/** What the receiver has got since the test began, and the lines that the callback has logged. */
let received: Received[] = [];
let lines: unknown[] = [];
/** The id of a task that has succeeded. */
let succeeded = "";

/** The receiver sends these responses, one after the other, and then repeats the last one. */
function respondWith(...responses: (() => Response | Promise<Response>)[]): void {
  resetUpstream(async (request) => {
    const headers = Object.fromEntries(request.headers);
    received.push({ method: request.method, url: request.url, headers, body: await request.text() });
    const respond = responses[received.length - 1] ?? responses.at(-1);
    return respond ? respond() : new Response(null, { status: 204 });
  });
}

const status =
  (code: number, headers: Record<string, string> = {}) =>
  () =>
    new Response(null, { status: code, headers });

/** Runs one try of the callback, with these variables if any, until all of its background work is done. */
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

/** The error that a try throws. */
async function failureOf(options?: Parameters<typeof run>[0]): Promise<Error> {
  const outcome = await run(options).then(
    (result) => `it succeeded: ${JSON.stringify(result)}`,
    (error: unknown) => error,
  );
  if (outcome instanceof Error) return outcome;
  throw new Error(String(outcome));
}

const taskOf = async (id: string) => (await callForJson(`/tasks/${id}`)).body;

/** Runs a task that reads a file, and returns its id when it has ended. */
async function endedTask(fileId: string): Promise<string> {
  const id = (await exports.FileTasks.start("verify_file", fileId, crypto.randomUUID())) ?? "";
  await expect.poll(async () => (await taskOf(id)).finishedAt).toEqual(expect.any(String));
  return id;
}

keepQuiet();
beforeEach(async () => {
  await reset();
  [received, lines] = [[], []];
  respondWith();
  await putFile("a", "hello", {
    headers: { "Content-Disposition": "attachment; filename*=UTF-8''r%C3%B6ntgen%20%F0%9F%A9%BB.bin" },
  });
  succeeded = await endedTask("a");
});

describe("the message", () => {
  const task = { id: "s0-x", finishedAt: "2026-01-02T03:04:05.006Z" };
  const of = (end: string) => toMessage({ ...task, status: end } as unknown as Task);

  test.each(["succeeded", "failed", "cancelled"])("for a task whose status is %s says so", (end) => {
    expect(JSON.parse(of(end))).toEqual({
      type: `task.${end}`,
      timestamp: task.finishedAt,
      data: { ...task, status: end },
    });
  });
});

describe("a callback", () => {
  test("is the task, as GET shows it, signed and POSTed to the URL", async () => {
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

  test("reports a failure, too", async () => {
    const failed = await submitted({ type: "callback_fails" });
    await run({ taskId: failed });
    const [{ body } = {} as Received] = received;
    expect(JSON.parse(body)).toMatchObject({
      type: "task.failed",
      data: { id: failed, result: null, error: { message: "as it should" } },
    });
  });

  test("holds a background permit of that upstream until the response", async () => {
    const response = Promise.withResolvers<Response>();
    respondWith(() => response.promise);
    const first = run({ id: "s0-first" });
    await expect.poll(() => received.length).toBe(1);
    const second = run({ id: "s0-second" });
    await expect.poll(() => loadOf("callback-app")).toEqual({ held: 1, waiting: 1 });
    expect(await env.SEMAPHORE.getByName("callback-app").status()).toMatchObject({
      held: { leases: [{ holder: "callback s0-first" }] },
      waiting: { callers: [{ holder: "callback s0-second", priority: "background" }] },
    });
    response.resolve(new Response(null, { status: 204 }));
    await Promise.all([first, second]);
    expect([upstream.maxInFlight, await loadOf("callback-app")]).toEqual([1, IDLE]);
  });

  test("that is cancelled while it waits for its permit is not sent", async () => {
    const response = Promise.withResolvers<Response>();
    respondWith(() => response.promise);
    const first = run();
    await expect.poll(() => received.length).toBe(1);
    const abort = new AbortController();
    const second = failureOf({ signal: abort.signal });
    await expect.poll(() => loadOf("callback-app")).toEqual({ held: 1, waiting: 1 });
    abort.abort();
    expect(await second).toMatchObject({ kind: "client-gone" });
    response.resolve(new Response());
    await first;
    expect(received).toHaveLength(1);
  });
});

describe("the signature", () => {
  test("has one part for each key, over the bytes that were sent", async () => {
    await run();
    const [{ headers, body } = {} as Received] = received;
    expect(headers["webhook-signature"]?.split(" ")).toHaveLength(2);
    for (const key of [NEW_KEY, OLD_KEY])
      expect(new Webhook(key).verify(body, headers)).toMatchObject({ type: "task.succeeded" });
  });

  describe("over two tries", () => {
    afterEach(() => vi.useRealTimers());

    test("has the same id, and a time of its own at each", async () => {
      respondWith(status(500), status(204));
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

describe("the response", () => {
  test.each([200, 201, 202, 204, 299])("%d: success", async (code) => {
    respondWith(status(code));
    expect(await run()).toEqual({ status: code });
  });

  test("410: no retry; the error, which the run logs once, says whose callback it was", async () => {
    respondWith(status(410));
    const error = await failureOf();
    expect(error).toBeInstanceOf(NonRetryableError);
    expect(error.message).toBe(`the receiver responded with 410 Gone to the callback of ${succeeded}`);
    expect(lines).toEqual([]);
  });

  test.each([300, 304, 400, 401, 404, 408, 429, 500, 502, 503, 504])(
    "%d: a retry by the task, and none by the client",
    async (code) => {
      respondWith(status(code));
      const error = await failureOf();
      expect(error).not.toBeInstanceOf(NonRetryableError);
      expect(error.message).toContain(String(code));
      expect(received).toHaveLength(1);
    },
  );

  test.each([301, 302, 303, 307, 308])("%d: the same, and the redirect is not followed", async (code) => {
    respondWith(status(code, { Location: "/hooks/elsewhere" }), status(204));
    const error = await failureOf();
    expect(error).not.toBeInstanceOf(NonRetryableError);
    expect(error).toMatchObject({ kind: "redirect-refused" });
    expect(received).toHaveLength(1);
  });

  test.each([
    ["none before the time-out", "https://slow.example.com/", "upstream-timeout"],
    ["no connection", "http://127.0.0.1:1/", "upstream-unreachable"],
  ])("%s: the same", async (_name, url, kind) => {
    respondWith(async () => {
      await scheduler.wait(1000);
      return new Response();
    });
    const error = await failureOf({ url });
    expect(error).not.toBeInstanceOf(NonRetryableError);
    expect(error).toMatchObject({ kind });
    expect(received.length).toBeLessThanOrEqual(1);
  });

  test("has a body that is not read", async () => {
    const endless = new ReadableStream<Uint8Array>(
      { pull: (controller) => controller.enqueue(new Uint8Array(65_536)) },
      { highWaterMark: 0 },
    );
    respondWith(() => new Response(endless));
    expect(await run()).toEqual({ status: 200 });
    await expect.poll(() => loadOf("callback-app")).toEqual(IDLE);
  });
});

describe("there is no retry, and nothing is sent, when", () => {
  const NO_TASK = "s0-00000000-0000-7000-8000-000000000000";

  test.each([
    ["the task has been deleted", { taskId: NO_TASK }, NO_TASK],
    ["the task id is invalid", { taskId: "nonsense" }, "nonsense"],
    ["the path is not under path_prefixes", { url: "https://app.example.com/admin" }, "/hooks/"],
    ["dots lead out of path_prefixes", { url: "https://app.example.com/hooks/../admin" }, "/hooks/"],
    ["encoded dots lead out of it", { url: "https://app.example.com/hooks/..%2fadmin" }, "encoded slash"],
    ["the origin is not allowed", { url: "https://evil.example/hooks/" }, "https://app.example.com"],
    ["the port is not allowed", { url: "https://app.example.com:8443/hooks/" }, "https://app.example.com"],
    ["the scheme is not allowed", { url: "http://app.example.com/hooks/" }, "https://app.example.com"],
    ["the URL has a user", { url: "https://me@app.example.com/hooks/" }, "no user"],
  ])("%s", async (_name, options, message) => {
    const error = await failureOf(options);
    expect(error).toBeInstanceOf(NonRetryableError);
    expect(error.message).toContain(message);
    expect(received).toEqual([]);
  });
});

test("without a key nothing is sent, and a try after it is set succeeds", async () => {
  const error = await failureOf({ variables: { CALLBACK_KEYS: "" } });
  expect(error).not.toBeInstanceOf(NonRetryableError);
  expect(error.message).toContain("CALLBACK_KEYS");
  expect(received).toEqual([]);
  expect(await run({ variables: { CALLBACK_KEYS: OTHER_KEY } })).toEqual({ status: 204 });
  const [{ headers, body } = {} as Received] = received;
  expect(new Webhook(OTHER_KEY).verify(body, headers)).toMatchObject({ type: "task.succeeded" });
});

test("the tries continue for two to three days, at most 12 h apart", () => {
  const { retries, minDelayMs, maxDelayMs, factor } = DELIVERY_RETRY;
  const delays = Array.from({ length: retries }, (_, i) => Math.min(maxDelayMs, minDelayMs * factor ** i));
  const days = delays.reduce((sum, delay) => sum + delay, 0) / 86_400_000;
  expect(delays[0]).toBe(5_000);
  expect(Math.max(...delays)).toBe(12 * 3_600_000);
  expect(days).toBeGreaterThan(2);
  expect(days).toBeLessThan(3);
});
