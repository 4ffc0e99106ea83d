/** `fetchUpstream`: a call to an upstream from code, in a task, in a route and elsewhere. */
import { createExecutionContext, env, reset, waitOnExecutionContext } from "cloudflare:test";
import { beforeEach, describe, expect, test } from "vitest";
import { createApp, createRouter } from "../../src/kernel/app.ts";
import { Problem } from "../../src/kernel/problem.ts";
import { ConfigurationError } from "../../src/kernel/variables.ts";
import type { TaskCallContext } from "../../src/outbound/caller.ts";
import { fetchUpstream } from "../../src/outbound/fetch-upstream.ts";
import { newType, runTasks } from "../support/background.ts";
import { keepQuiet } from "../support/quiet.ts";
import { expectRuntimeErrors } from "../support/runtime-errors.ts";
import { holdUpstream, resetUpstream, upstream } from "../support/scripted-upstream.ts";
import { taskContext } from "../support/task-context.ts";
import { IDLE, loadOf } from "../support/upstreams.ts";

const statusOf = async (name: string) => env.SEMAPHORE.getByName(name).status();
/** The context of a task that is not in the ledger. */
const task = (change: Partial<TaskCallContext> = {}): TaskCallContext => ({
  ...taskContext({ taskId: "s0-1" }),
  ...change,
});

/** The upstream responds with what it has received. */
function echo(): void {
  resetUpstream(async (request) => {
    const { method, url, headers } = request;
    return Response.json({
      method,
      url,
      headers: Object.fromEntries(headers),
      body: new TextDecoder().decode(await request.arrayBuffer()),
    });
  });
}

interface Echo {
  method: string;
  url: string;
  headers: Record<string, string>;
  body: string;
}

keepQuiet();
expectRuntimeErrors("Network connection lost", "Connection refused");
beforeEach(async () => {
  await reset();
  resetUpstream();
});

describe("in a task", () => {
  const lookUp = newType("look_up", async (ctx) => {
    const response = await fetchUpstream(ctx, "scripted", "/v1/today?city=Berlin");
    return { status: response.status, body: await response.json() };
  });

  test("it is one line: the task's context is all that it needs", async () => {
    resetUpstream((request) => Response.json({ url: request.url }));
    const [ended] = await runTasks([{ type: lookUp, input: {} }]);
    expect(ended).toMatchObject({
      status: "succeeded",
      result: { status: 200, body: { url: "http://upstream.internal/v1/today?city=Berlin" } },
    });
    expect(upstream.order).toEqual([ended?.id]);
    expect(await loadOf("scripted")).toEqual(IDLE);
  });

  test("it holds a permit as background work, under the task's id", async () => {
    const open = holdUpstream();
    const first = fetchUpstream(task({ taskId: "s0-1" }), "single", "/");
    await expect.poll(() => upstream.inFlight).toBe(1);
    const second = fetchUpstream(task({ taskId: "s0-2", type: "resize" }), "single", "/");
    await expect.poll(() => loadOf("single")).toEqual({ held: 1, waiting: 1 });
    expect(await statusOf("single")).toMatchObject({
      held: { leases: [{ holder: "task s0-1" }] },
      waiting: { callers: [{ holder: "resize s0-2", priority: "background" }] },
    });
    open();
    for (const call of [first, second]) await (await call).text();
    expect(upstream.maxInFlight).toBe(1);
    await expect.poll(() => loadOf("single")).toEqual(IDLE);
  });

  test("it leaves the queue when the task is interrupted", async () => {
    const open = holdUpstream();
    const first = fetchUpstream(task(), "single", "/");
    await expect.poll(() => upstream.inFlight).toBe(1);
    const interrupt = new AbortController();
    const second = fetchUpstream(task({ signal: interrupt.signal }), "single", "/");
    await expect.poll(() => loadOf("single")).toEqual({ held: 1, waiting: 1 });
    interrupt.abort();
    await expect(second).rejects.toMatchObject({ kind: "client-gone" });
    open();
    await (await first).text();
    expect(upstream.order).toHaveLength(1);
  });
});

test("in a route it takes Hono's context: the call is interactive, under the caller's name and request id", async () => {
  const open = holdUpstream();
  const router = createRouter();
  router.get("/weather", async (c) => fetchUpstream(c, "single", "/v1/today"));
  const ctx = createExecutionContext();
  const headers = { "X-Request-Id": "trace-1" };
  const request = new Request("http://localhost/weather", { headers });
  const call = createApp({ open: [], closed: [router] }).fetch(request, env, ctx);
  await expect.poll(() => upstream.order).toEqual(["trace-1"]);
  expect(await statusOf("single")).toMatchObject({ held: { leases: [{ holder: "local trace-1" }] } });
  open();
  const response = await call;
  expect([response.status, await response.json()]).toEqual([200, {}]);
  await waitOnExecutionContext(ctx);
  expect(await loadOf("single")).toEqual(IDLE);
});

test("in a route that is open to everybody the caller is anonymous", async () => {
  const open = holdUpstream();
  const router = createRouter();
  router.get("/weather", async (c) => fetchUpstream(c, "single", "/v1/today"));
  const ctx = createExecutionContext();
  const request = new Request("http://localhost/weather", { headers: { "X-Request-Id": "trace-1" } });
  const call = createApp({ open: [router], closed: [] }).fetch(request, env, ctx);
  await expect.poll(() => upstream.inFlight).toBe(1);
  expect(await statusOf("single")).toMatchObject({ held: { leases: [{ holder: "anonymous trace-1" }] } });
  open();
  await (await call).text();
  await waitOnExecutionContext(ctx);
});

test("elsewhere it takes env, executionCtx and requestId", async () => {
  echo();
  const executionCtx = createExecutionContext();
  const response = await fetchUpstream({ env, executionCtx, requestId: "cron-1" }, "scripted", "/x");
  expect(await response.json()).toMatchObject({ headers: { "x-request-id": "cron-1" } });
  await waitOnExecutionContext(executionCtx);
  expect(await loadOf("scripted")).toEqual(IDLE);
});

describe("the request", () => {
  beforeEach(echo);
  const send = async (init: Parameters<typeof fetchUpstream>[3]) =>
    (await fetchUpstream(task(), "client-any", "/x", init)).json<Echo>();

  test("is a GET by default", async () => {
    expect(await send({})).toMatchObject({ method: "GET", url: "http://upstream.internal/x", body: "" });
  });

  test.each<[string, BodyInit, string | RegExp, string | RegExp]>([
    ["text", "hi", "text/plain;charset=UTF-8", "hi"],
    ["a form", new URLSearchParams({ a: "1" }), "application/x-www-form-urlencoded;charset=UTF-8", "a=1"],
    ["bytes", new TextEncoder().encode("hi"), "none", "hi"],
    ["a blob", new Blob(["hi"], { type: "text/x-test" }), "text/x-test", "hi"],
  ])(
    "may have %s as its body, with the Content-Type and Content-Length of fetch",
    async (_name, body, type, text) => {
      const received = await send({ method: "POST", body });
      expect([received.method, received.headers["content-type"] ?? "none", received.body]).toEqual([
        "POST",
        type,
        text,
      ]);
      expect(received.headers["content-length"]).toBe(String(text).length.toString());
    },
  );

  test("has the headers that the code gives, and not the credentials of a caller", async () => {
    const headers = {
      "Content-Type": "application/json",
      "X-Custom": "1",
      Authorization: "Bearer x",
      Cookie: "a=b",
    };
    const received = await send({ method: "PUT", headers, body: "{}" });
    expect(received.headers).toMatchObject({ "content-type": "application/json", "x-custom": "1" });
    expect([received.headers.authorization, received.headers.cookie]).toEqual([undefined, undefined]);
  });

  test("has the configured headers, with their secrets", async () => {
    const response = await fetchUpstream(task(), "proxy-any", "/x");
    expect((await response.json<Echo>()).headers).toMatchObject({ "x-api-key": "key-of-the-tests" });
  });
});

describe("a retry", () => {
  /** The upstream responds with 503 once. */
  function failOnce(): string[] {
    const bodies: string[] = [];
    resetUpstream(async (request) => {
      bodies.push(await request.text());
      return new Response(null, { status: bodies.length === 1 ? 503 : 204 });
    });
    return bodies;
  }
  const headers = { "Idempotency-Key": "s0-1/charge" };

  test("sends the body again, whatever its length", async () => {
    const bodies = failOnce();
    const body = "x".repeat(300_000);
    const { status } = await fetchUpstream(task(), "client-any", "/x", { method: "POST", headers, body });
    expect([status, bodies.map(({ length }) => length)]).toEqual([204, [300_000, 300_000]]);
  });

  test("is not made if the body is a stream, which cannot be sent again", async () => {
    const bodies = failOnce();
    const body = new Blob(["x"]).stream();
    const { status } = await fetchUpstream(task(), "client-any", "/x", { method: "POST", headers, body });
    expect([status, bodies]).toEqual([503, ["x"]]);
  });
});

test("with redirect: error a redirect is not followed", async () => {
  resetUpstream(({ url }) => (url.endsWith("/to") ? new Response("there") : Response.redirect(`${url}/to`)));
  expect(await (await fetchUpstream(task(), "scripted", "/a")).text()).toBe("there");
  await expect(fetchUpstream(task(), "scripted", "/a", { redirect: "error" })).rejects.toMatchObject({
    kind: "redirect-refused",
  });
});

describe("it throws", () => {
  const failureOf = async (...args: Parameters<typeof fetchUpstream>) =>
    fetchUpstream(...args).then(
      ({ status }) => `it responded with ${status}`,
      (error: unknown) => error,
    );

  test("for a name that is not configured: an error with the names that are, and where to add one", async () => {
    const failure = await failureOf(task(), "wether", "/v1/today");
    expect(failure).toBeInstanceOf(ConfigurationError);
    expect(String(failure)).toContain('no upstream "wether" in wrangler.toml');
    expect(String(failure)).toContain("scripted, single");
    expect(String(failure)).toContain("[vars.UPSTREAMS.wether]");
    expect(await failureOf(task(), "constructor", "/")).toBeInstanceOf(ConfigurationError);
  });

  test.each<[string, Parameters<typeof fetchUpstream>[1], string, object, string]>([
    ["a method that is not allowed", "scripted", "/x", { method: "POST" }, "method-not-allowed"],
    ["a path that is not allowed", "path-narrow", "/v2/x", {}, "forbidden"],
    ["a path without a slash", "scripted", "x", {}, "malformed"],
    ["a URL", "scripted", "https://evil.example/", {}, "malformed"],
    [
      "a request that has passed through here",
      "scripted",
      "/x",
      { headers: { Via: "self" } },
      "loop-detected",
    ],
  ])("a Problem for %s, and makes no call", async (_name, name, path, init, kind) => {
    const via = `1.1 sluice-${env.SEMAPHORE.idFromName("via").toString().slice(0, 16)}`;
    const own = JSON.parse(JSON.stringify(init).replace('"self"', JSON.stringify(via)));
    const failure = await failureOf(task(), name, path, own);
    expect(failure).toBeInstanceOf(Problem);
    expect(failure).toMatchObject({ kind });
    expect(upstream.order).toEqual([]);
  });

  test("a Problem with Retry-After if there is no permit", async () => {
    await env.SEMAPHORE.getByName("scripted").configure({ paused: true });
    expect(await failureOf(task(), "scripted", "/x")).toMatchObject({
      kind: "paused",
      options: { headers: { "Retry-After": expect.stringMatching(/^\d+$/) } },
    });
  });

  test("a Problem if there is no response", async () => {
    expect(await failureOf(task(), "proxy-nowhere", "/x")).toMatchObject({ kind: "upstream-unreachable" });
  });

  test("nothing for an error status: the response is returned", async () => {
    resetUpstream(() => new Response("broken", { status: 500 }));
    const response = await fetchUpstream(task(), "scripted", "/x");
    expect([response.status, await response.text()]).toEqual([500, "broken"]);
  });
});
