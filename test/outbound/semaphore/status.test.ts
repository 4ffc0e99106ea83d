/** Watching and steering: GET and PATCH /upstreams. */
import { abortAllDurableObjects, env, reset } from "cloudflare:test";
import { beforeEach, describe, expect, test } from "vitest";
import { statusSchema } from "../../../src/outbound/semaphore/status.ts";
import type { Priority } from "../../../src/outbound/semaphore/wait-queue.ts";
import { type CallOptions, callForJson, callWorker } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { authorization, TOKENS_BY_SCOPE } from "../../support/scopes.ts";
import { holdUpstream, resetUpstream, upstream } from "../../support/scripted-upstream.ts";
import { acquireFrom } from "../../support/upstreams.ts";
import { TEST_VARIABLES } from "../../support/variables.ts";

const semaphore = (name = "steered") => env.SEMAPHORE.getByName(name);
const acquire = async (leaseId: string, priority: Priority = "interactive") =>
  acquireFrom("steered", leaseId, { priority });

async function statusOf(name = "steered") {
  const { status, body } = await callForJson(`/upstreams/${name}`);
  expect(status).toBe(200);
  return statusSchema.parse(body);
}

const patch = async (change: unknown, name = "steered", options?: CallOptions) =>
  callForJson(`/upstreams/${name}`, {
    method: "PATCH",
    body: typeof change === "string" ? change : JSON.stringify(change),
    headers: { "Content-Type": "application/json" },
    ...options,
  });

keepQuiet();
beforeEach(async () => {
  await reset();
  resetUpstream();
});

describe("GET /upstreams", () => {
  test("lists all upstreams in the configuration", async () => {
    const { status, headers, body } = await callForJson("/upstreams");
    expect([status, headers.get("Cache-Control")]).toEqual([200, "no-store"]);
    const listed = statusSchema.array().parse(body.upstreams);
    expect(listed.map(({ name }) => name)).toEqual([
      ...Object.keys(TEST_VARIABLES.UPSTREAMS),
      ...Object.keys(TEST_VARIABLES.UPSTREAMS_SHARDED),
      ...Object.keys(TEST_VARIABLES.UPSTREAMS_KEYED),
      ...Object.keys(TEST_VARIABLES.UPSTREAMS_SCRAPE),
    ]);
  });

  test("shows neither origins nor headers", async () => {
    const { response, settled } = await callWorker("/upstreams");
    const text = await response.text();
    await settled();
    expect(text).not.toContain(TEST_VARIABLES.TEST_API_KEY);
    expect(text).not.toContain("127.0.0.1");
  });
});

describe("GET /upstreams/{name}", () => {
  test("of an upstream that nobody has called yet", async () => {
    expect(await statusOf()).toEqual({
      name: "steered",
      concurrency: 2,
      limitNow: 2,
      adaptiveLimit: null,
      rate: { per_second: 1000, burst: 100 },
      paused: false,
      overridden: [],
      obstacle: null,
      breaker: "closed",
      held: { count: 0, leases: [] },
      waiting: { count: 0, callers: [] },
      totals: {
        since: expect.any(String),
        granted: 0,
        handedOn: 0,
        expired: 0,
        retries: 0,
        retriesRefused: 0,
        outcomes: { ok: 0, overloaded: 0, failed: 0, unknown: 0 },
        refused: {
          "queue-full": 0,
          "too-many-requests": 0,
          "wait-limit": 0,
          paused: 0,
          "breaker-open": 0,
          "too-heavy": 0,
        },
        waits: Array.from({ length: 13 }, () => 0),
      },
      latencyMs: null,
    });
  });

  test("of an upstream that does not exist is a 404", async () => {
    const { status, body } = await callForJson("/upstreams/nobody");
    expect([status, body.type]).toEqual([404, "urn:sluice:problem:not-found"]);
  });

  test("shows who holds a permit: token name, request id, fence, since when and until when", async () => {
    const open = holdUpstream();
    const fromMs = Date.now();
    const call = callForJson("/fetch/steered/x", { headers: { "X-Request-Id": "trace-1" } });
    await expect.poll(() => upstream.inFlight).toBe(1);
    const { held, waiting } = await statusOf();
    expect(held.count).toBe(1);
    const [lease] = held.leases;
    expect([lease?.holder, lease?.fence]).toEqual(["local trace-1", 1]);
    expect(Date.parse(lease?.since ?? "")).toBeGreaterThanOrEqual(fromMs);
    expect(Date.parse(lease?.since ?? "")).toBeLessThanOrEqual(Date.now());
    expect(Date.parse(lease?.until ?? "")).toBeGreaterThan(Date.now());
    expect(waiting).toEqual({ count: 0, callers: [] });
    open();
    await call;
    expect((await statusOf()).held).toEqual({ count: 0, leases: [] });
  });

  test("shows who waits, by class: position, since when, and an estimate of how long", async () => {
    for (const id of ["a", "b"]) await acquire(id);
    await acquire("later", "background");
    for (const id of ["first", "second"]) await acquire(id);
    const { waiting, obstacle } = await statusOf();
    expect(obstacle).toEqual({ is: "concurrency", until: null });
    expect(waiting.count).toBe(3);
    expect(
      waiting.callers.map(({ position, id, holder, priority }) => [position, id, holder, priority]),
    ).toEqual([
      [1, "first", "holder of first", "interactive"],
      [2, "second", "holder of second", "interactive"],
      [3, "later", "holder of later", "background"],
    ]);
    const estimates = waiting.callers.map(({ estimatedWaitMs }) => estimatedWaitMs);
    expect(estimates).toEqual(estimates.toSorted((a, b) => a - b));
    expect(estimates[0]).toBeGreaterThan(0);
    for (const { since } of waiting.callers) expect(Date.now() - Date.parse(since)).toBeLessThan(5000);
  });

  test("lists at most a hundred waiters, and counts them all", async () => {
    for (let n = 0; n < 120; n++) await acquire(`w${n}`);
    const { waiting } = await statusOf();
    expect([waiting.count, waiting.callers.length, waiting.callers.at(-1)?.id]).toEqual([118, 100, "w101"]);
  });

  test("counts outcomes, and shows how long calls took", async () => {
    resetUpstream(async () => {
      await scheduler.wait(20);
      return Response.json({}, { status: upstream.order.length === 3 ? 500 : 200 });
    });
    for (let n = 0; n < 3; n++) await callForJson("/fetch/steered/x");
    const { totals, latencyMs } = await statusOf();
    expect(totals).toMatchObject({ granted: 3, outcomes: { ok: 2, overloaded: 0, failed: 1, unknown: 0 } });
    expect(latencyMs?.p50).toBeGreaterThanOrEqual(15);
    expect(latencyMs?.p99).toBeGreaterThanOrEqual(latencyMs?.p50 ?? Infinity);
    expect(latencyMs?.p99).toBeLessThan(5000);
  });

  test("shows a pause that the upstream asked for, until when, and the ramp after it", async () => {
    await acquire("a");
    await semaphore().release("a", { outcome: "overloaded", retryAfterMs: 20_000 });
    const { obstacle, limitNow, paused } = await statusOf();
    expect([obstacle?.is, limitNow, paused]).toEqual(["paused", 1, false]);
    const untilMs = Date.parse(obstacle?.until ?? "") - Date.now();
    expect(untilMs).toBeGreaterThan(18_000);
    expect(untilMs).toBeLessThanOrEqual(21_000);
  });

  test("shows that the breaker is open, and until when", async () => {
    for (let n = 0; n < 10; n++) {
      await acquire(`a${n}`);
      await semaphore().release(`a${n}`, { outcome: "failed" });
    }
    const { breaker, obstacle } = await statusOf();
    expect([breaker, obstacle?.is]).toEqual(["open", "breaker-open"]);
    expect(Date.parse(obstacle?.until ?? "")).toBeGreaterThan(Date.now());
  });

  test("counts refusals by reason", async () => {
    await patch({ paused: true });
    await acquire("a", "interactive");
    expect((await statusOf()).totals.refused).toEqual({
      "queue-full": 0,
      "too-many-requests": 0,
      "wait-limit": 0,
      paused: 1,
      "breaker-open": 0,
      "too-heavy": 0,
    });
  });
});

describe("PATCH /upstreams/{name}", () => {
  test("responds with the status, the change in force", async () => {
    const { status, headers, body } = await patch({ concurrency: 7, rate: { per_second: 3 } });
    expect([status, headers.get("Cache-Control")]).toEqual([200, "no-store"]);
    expect(statusSchema.parse(body)).toMatchObject({
      concurrency: 7,
      limitNow: 7,
      rate: { per_second: 3, burst: 1 },
      overridden: ["concurrency", "rate"],
    });
    expect(await statusOf()).toMatchObject({ concurrency: 7, rate: { per_second: 3, burst: 1 } });
    expect((await statusOf("watched")).concurrency).toBe(2);
  });

  test("changes only what it names", async () => {
    await patch({ concurrency: 7 });
    await patch({ rate: { per_second: 3, burst: 4 } });
    await patch({});
    expect(await statusOf()).toMatchObject({ concurrency: 7, rate: { per_second: 3, burst: 4 } });
  });

  test("raises the limit at once: waiters get their permits", async () => {
    for (const id of ["a", "b", "c", "d", "e"]) await acquire(id);
    const waits = ["c", "d"].map(async (id) => semaphore().wait(id));
    await patch({ concurrency: 4 });
    expect((await Promise.all(waits)).map(({ is }) => is)).toEqual(["granted", "granted"]);
    expect(await statusOf()).toMatchObject({ held: { count: 4 }, waiting: { count: 1 } });
  });

  test("lowers the limit at once: holders finish, and none is granted until fewer hold one", async () => {
    await patch({ concurrency: 3 });
    for (const id of ["a", "b", "c", "d"]) await acquire(id);
    const { body } = await patch({ concurrency: 1 });
    expect(body).toMatchObject({ concurrency: 1, held: { count: 3 }, waiting: { count: 1 } });
    for (const id of ["a", "b"]) {
      await semaphore().release(id, { outcome: "ok" });
      expect(await statusOf()).toMatchObject({ waiting: { count: 1 } });
    }
    await semaphore().release("c", { outcome: "ok" });
    expect(await statusOf()).toMatchObject({
      held: { count: 1, leases: [{ id: "d" }] },
      waiting: { count: 0 },
    });
  });

  test("changes the rate at once", async () => {
    await patch({ concurrency: 10, rate: { per_second: 0.1 } });
    const results = [await acquire("a"), await acquire("b")];
    expect(results.map(({ is }) => is)).toEqual(["granted", "queued"]);
    expect((await statusOf()).obstacle?.is).toBe("rate");
  });

  test("pauses at once: calls get a 503 with Retry-After; after the pause they resume with a ramp", async () => {
    expect((await patch({ paused: true })).body).toMatchObject({
      paused: true,
      obstacle: { is: "paused", until: null },
    });
    const { status, body, headers } = await callForJson("/fetch/steered/x");
    expect([status, body.type]).toEqual([503, "urn:sluice:problem:paused"]);
    expect(Number(headers.get("Retry-After"))).toBeGreaterThanOrEqual(1);
    expect(upstream.order).toEqual([]);
    expect((await patch({ paused: false })).body).toMatchObject({
      paused: false,
      obstacle: null,
      limitNow: 1,
    });
    expect((await callForJson("/fetch/steered/x")).status).toBe(200);
  });

  test("pauses new calls only: those in flight finish", async () => {
    const open = holdUpstream();
    const call = callForJson("/fetch/steered/x");
    await expect.poll(() => upstream.inFlight).toBe(1);
    await patch({ paused: true });
    open();
    expect((await call).status).toBe(200);
  });

  test("survives a restart", async () => {
    await patch({ concurrency: 9, rate: { per_second: 3, burst: 2 }, paused: true });
    await abortAllDurableObjects();
    const after = await statusOf();
    expect(after).toMatchObject({ concurrency: 9, rate: { per_second: 3, burst: 2 }, paused: true });
    expect(after.overridden.toSorted()).toEqual(["concurrency", "paused", "rate"]);
    expect((await callForJson("/fetch/steered/x")).body.type).toBe("urn:sluice:problem:paused");
  });

  test("with null goes back to the configuration, and that survives a restart", async () => {
    await patch({ concurrency: 9, rate: { per_second: 3 }, paused: true });
    const asConfigured = {
      concurrency: 2,
      rate: { per_second: 1000, burst: 100 },
      paused: false,
      overridden: [],
    };
    expect((await patch({ concurrency: null, rate: null, paused: null })).body).toMatchObject(asConfigured);
    await abortAllDurableObjects();
    expect(await statusOf()).toMatchObject(asConfigured);
  });

  test("can reset one setting and leave the others", async () => {
    await patch({ concurrency: 9, paused: true });
    expect((await patch({ concurrency: null })).body).toMatchObject({
      concurrency: 2,
      paused: true,
      overridden: ["paused"],
    });
  });

  test("of an upstream that does not exist is a 404", async () => {
    expect((await patch({ concurrency: 1 }, "nobody")).status).toBe(404);
  });

  test.each<[string, number]>([
    ["{}", 200],
    ['{"concurrency":1000}', 200],
    ['{"concurrency":0}', 422],
    ['{"concurrency":1001}', 422],
    ['{"concurrency":"5"}', 422],
    ['{"rate":{"per_second":0}}', 422],
    ['{"rate":{"per_second":1e-13}}', 422],
    ['{"rate":{"per_second":0.000009}}', 422],
    ['{"rate":{"per_second":1e-400}}', 422],
    ['{"rate":{"per_second":1,"burst":1e300}}', 422],
    ['{"rate":5}', 422],
    ['{"paused":"yes"}', 422],
    ['{"concurency":5}', 422],
    ["[]", 422],
    ["null", 422],
    ["{concurrency:5}", 400],
    ["", 400],
  ])("with %s is a %d", async (text, expected) => {
    const { status, headers, body } = await patch(text);
    expect(status).toBe(expected);
    if (expected === 200) return;
    expect(headers.get("Content-Type")).toBe("application/problem+json");
    expect(body.type).toBe(`urn:sluice:problem:${expected === 422 ? "invalid" : "malformed"}`);
    expect(await statusOf()).toMatchObject({ concurrency: 2, overridden: [] });
  });

  test("with another Content-Type changes nothing, and is refused", async () => {
    const { status } = await patch({ paused: true }, "steered", {
      headers: { "Content-Type": "text/plain" },
    });
    expect(status).toBeGreaterThanOrEqual(400);
    expect((await statusOf()).paused).toBe(false);
  });
});

describe("the examples in the API reference", () => {
  interface Operation {
    parameters: { name: string; schema: { example: string } }[];
    requestBody?: { content: Record<string, { schema: { example: unknown; properties: { rate: object } } }> };
  }
  const operation = async (path: string, method: string) => {
    const { paths } = (await callForJson("/openapi.json")).body as {
      paths: Record<string, Record<string, Operation>>;
    };
    const found = paths[path]?.[method];
    if (!found) throw new Error(`There is no ${method} ${path}.`);
    return found;
  };
  /** The path with its examples, percent-encoded as Swagger UI does. */
  const examplePath = (path: string, { parameters }: Operation) =>
    parameters.reduce(
      (filled, { name, schema }) => filled.replace(`{${name}}`, encodeURIComponent(schema.example)),
      path,
    );

  test.each(["/upstreams/{name}", "/fetch/{upstream}/{path}"])("GET %s works", async (path) => {
    const { status } = await callForJson(examplePath(path, await operation(path, "get")));
    expect(status).toBe(200);
  });

  test("PATCH /upstreams/{name} is accepted, and changes no limit of the demo upstream", async () => {
    const path = "/upstreams/{name}";
    const patched = await operation(path, "patch");
    const before = await statusOf("demo");
    const schema = patched.requestBody?.content["application/json"]?.schema;
    const { status, body } = await callForJson(examplePath(path, patched), {
      method: "PATCH",
      body: JSON.stringify(schema?.example),
      headers: { "Content-Type": "application/json" },
    });
    expect(status).toBe(200);
    const { concurrency, limitNow, rate, paused, obstacle } = before;
    expect(body).toMatchObject({ concurrency, limitNow, rate, paused, obstacle });
    // A member with a default must not be required of generated clients.
    expect(schema?.properties.rate).toMatchObject({ required: ["per_second"] });
  });
});

describe("the scope", () => {
  test.each([
    ["GET", "/upstreams", "read", 200],
    ["GET", "/upstreams/steered", "read", 200],
    ["GET", "/upstreams/steered/events", "read", 200],
    ["PATCH", "/upstreams/steered", "admin+read", 200],
    ["PATCH", "/upstreams/steered", "admin", 403],
    ["GET", "/upstreams", "write", 403],
    ["GET", "/upstreams/steered", "admin", 403],
    ["GET", "/upstreams/steered/events", "write", 403],
    ["PATCH", "/upstreams/steered", "read", 403],
    ["PATCH", "/upstreams/steered", "write", 403],
    ["PATCH", "/upstreams/steered", "no", 401],
  ])("%s %s with a token for %s is a %d", async (method, path, scope, expected) => {
    const headers = { ...authorization(scope), "Content-Type": "application/json" };
    const body = method === "PATCH" ? '{"paused":true}' : null;
    const { response } = await callWorker(path, { method, headers, body, variables: TOKENS_BY_SCOPE });
    await response.body?.cancel();
    expect(response.status).toBe(expected);
    expect((await semaphore().status()).paused).toBe(method === "PATCH" && expected === 200);
  });
});
