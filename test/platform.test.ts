/** The simulated platform itself: it must count, limit and break what production does. */
import { env, reset } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { callWorker } from "./support/call.ts";
import { runInvocation, subrequest } from "./support/platform/invocation.ts";
import { clearEdgeCache } from "./support/platform/network.ts";
import { PAID, platform } from "./support/platform/platform.ts";
import { priceOf } from "./support/platform/usage.ts";
import { keepQuiet } from "./support/quiet.ts";

keepQuiet();
beforeEach(() => reset());
afterEach(() => {
  platform.reset();
  clearEdgeCache();
});

const get = async (path: string, headers: Record<string, string> = {}) => {
  const { response, settled } = await callWorker(path, { headers });
  const body = await response.text();
  await settled();
  return { response, body };
};

const inInvocation = async <T>(action: () => Promise<T>) => runInvocation(undefined, {}, action);

test("a request that calls an object is a request, a call of the object, and an event each", async () => {
  const path = "/tasks/s0-01234567-89ab-7def-8123-456789abcdef";
  await get(path); // makes the tables of the ledger
  const usage = await platform.measure(async () => get(path));
  expect(usage).toMatchObject({ requests: 1, objectRequests: 1, internal: 1, external: 0, rowsWritten: 0 });
  expect(usage.logEvents).toBeGreaterThanOrEqual(2);
});

test("rows count with their index entries, and alarms as rows", async () => {
  const catalogue = env.FILE_CATALOGUE.getByName("c0");
  await catalogue.find("any"); // makes its tables
  const usage = await platform.measure(async () => catalogue.reserve("blob", null, Date.now() + 60_000));
  expect(usage.rowsWritten).toBeGreaterThanOrEqual(3);
});

test("a file is an operation of R2 that writes, and one that reads", async () => {
  const put = async () => (await callWorker("/files/a", { method: "PUT", body: "x" })).settled();
  await put(); // the catalogue registers itself, once
  expect(await platform.measure(put)).toMatchObject({ classA: 1, classB: 0 });
  expect(await platform.measure(async () => get("/files/a"))).toMatchObject({ classA: 0, classB: 1 });
});

test("prices are per unit", () => {
  const usage = { requests: 1e6, objectRequests: 0, rowsWritten: 2e6, classA: 0, classB: 0, logEvents: 0 };
  expect(priceOf({ ...usage, external: 5, internal: 5 })).toBeCloseTo(0.3 + 2);
});

describe("an invocation", () => {
  test("gets no more calls than the limit", async () => {
    platform.limits = { ...PAID, internal: 2 };
    const call = async () => subrequest("internal", async () => "ok");
    const results = await inInvocation(async () => Promise.allSettled([call(), call(), call()]));
    expect(results.map(({ status }) => status)).toEqual(["fulfilled", "fulfilled", "rejected"]);
  });

  test("has six connections: the seventh call waits for the head of a response", async () => {
    const gates = Array.from({ length: 7 }, () => Promise.withResolvers<void>());
    let begun = 0;
    const all = inInvocation(async () =>
      Promise.all(
        gates.map(async ({ promise }) =>
          subrequest("external", async () => {
            begun++;
            await promise;
          }),
        ),
      ),
    );
    await scheduler.wait(0);
    expect(begun).toBe(6);
    gates[0]?.resolve();
    await expect.poll(() => begun).toBe(7);
    for (const gate of gates) gate.resolve();
    await all;
  });

  test("has an account of its own", async () => {
    platform.limits = { ...PAID, internal: 1 };
    const call = async () => inInvocation(async () => subrequest("internal", async () => "ok"));
    expect(await Promise.all([call(), call()])).toEqual(["ok", "ok"]);
  });
});

describe("a call to an object", () => {
  const find = async () => get("/files/none");

  test.each(["overloaded", "unreachable", "older"] as const)("fails when the object is %s", async (kind) => {
    platform.addFault({ kind, binding: "FILE_CATALOGUE", method: "find" });
    expect((await find()).response.status).toBeGreaterThanOrEqual(500);
  });

  test("goes on when a fault is over, and for other objects and methods", async () => {
    platform.addFault({ kind: "overloaded", binding: "FILE_CATALOGUE", name: "c99" });
    platform.addFault({ kind: "overloaded", binding: "FILE_CATALOGUE", method: "commit" });
    platform.addFault({ kind: "overloaded", binding: "TASK_LEDGER" });
    expect((await find()).response.status).toBe(404);
  });

  test("whose reply is lost has been carried out", async () => {
    platform.addFault({ kind: "reply-lost", binding: "FILE_CATALOGUE", method: "commit", times: 1 });
    const { settled } = await callWorker("/files/a", { method: "PUT", body: "x" });
    await settled();
    expect((await get("/files/a")).body).toBe("x");
  });
});

describe("the edge", () => {
  test("compresses what may be transformed, and weakens its ETag", async () => {
    platform.edgeCompresses = true;
    const { response } = await get("/openapi.json", { "Accept-Encoding": "gzip" });
    expect(response.headers.get("Content-Encoding")).toBe("gzip");
  });

  test("keeps what an origin sends, by the ending of the path, for whoever asks next", async () => {
    let calls = 0;
    platform.origins.set("https://api.example.com", () => new Response(String(++calls)));
    const read = async (path: string, init?: RequestInit) =>
      inInvocation(async () => (await fetch(`https://api.example.com${path}`, init)).text());
    expect([await read("/a.csv"), await read("/a.csv")]).toEqual(["1", "1"]);
    expect(await read("/a.csv", { cache: "no-store" })).toBe("2");
    expect([await read("/a"), await read("/a")]).toEqual(["3", "4"]);
  });

  test("has no Cache API on workers.dev", async () => {
    const url = "https://cache.example.com/a";
    const kept = async () =>
      inInvocation(async () => {
        await caches.default.put(url, new Response("x", { headers: { "cache-control": "max-age=60" } }));
        return (await caches.default.match(url)) !== undefined;
      });
    expect(await kept()).toBe(true);
    platform.cacheApiWorks = false;
    expect(await kept()).toBe(false);
  });
});
