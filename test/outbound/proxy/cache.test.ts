/** Which responses are stored, for which requests. A hit takes no permit. */
import { env, reset } from "cloudflare:test";
import { beforeEach, describe, expect, test } from "vitest";
import { type CallOptions, callWorker } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { expectRuntimeErrors } from "../../support/runtime-errors.ts";
import { holdUpstream, resetUpstream, upstream } from "../../support/scripted-upstream.ts";
import { IDLE, loadOf } from "../../support/upstreams.ts";

const MIB = 1024 * 1024;

/** The cache outlives a test, so each has a path of its own. */
let path = "";
let paths = 0;

/** Calls, reads the response, and waits until it is in the cache, if it is stored. */
async function callFor(name: string, options?: CallOptions) {
  const { response, settled } = await callWorker(`/fetch/${name}${path}`, options);
  const body = await response.arrayBuffer();
  await settled();
  const { status, headers } = response;
  return {
    status,
    headers,
    body: new TextDecoder().decode(body),
    length: body.byteLength,
    cache: headers.get("Cache-Status"),
  };
}

/** The upstream responds with these headers, and numbers its responses. */
function respondWith(headers: HeadersInit, status = 200): void {
  resetUpstream(() => new Response(`response ${upstream.order.length}`, { status, headers }));
}

/** Calls twice: the Cache-Status of the second response, and how many calls reached the upstream. */
async function twice(name: string, first?: CallOptions, second = first) {
  await callFor(name, first);
  const { cache } = await callFor(name, second);
  return [cache, upstream.order.length];
}

const HIT = ["sluice; hit", 1];
const MISS = ["sluice; fwd=uri-miss", 2];

keepQuiet();
expectRuntimeErrors("broke off");
beforeEach(async () => {
  await reset();
  path = `/${paths++}/x?q=1`;
});

test("a response is stored as its own Cache-Control says, and served again without a permit", async () => {
  respondWith({ "Cache-Control": "max-age=60", "X-Custom": "1", "Content-Type": "text/x-test" });
  const first = await callFor("cache-own");
  expect([first.status, first.body, first.cache]).toEqual([
    200,
    "response 1",
    "sluice; fwd=uri-miss; stored",
  ]);
  const second = await callFor("cache-own");
  expect([second.status, second.body, second.cache]).toEqual([200, "response 1", "sluice; hit"]);
  expect(
    ["X-Custom", "Content-Type", "X-Content-Type-Options"].map((name) => second.headers.get(name)),
  ).toEqual(["1", "text/x-test", "nosniff"]);
  expect(upstream.order).toHaveLength(1);
  expect((await env.SEMAPHORE.getByName("cache-own").status()).totals.granted).toBe(1);
});

test("a hit is served while all permits are held", async () => {
  respondWith({ "Cache-Control": "max-age=60" });
  await callFor("cache-own");
  const open = holdUpstream(() => new Response("late"));
  const holder = callWorker(`/fetch/cache-own/other${path}`);
  await expect.poll(async () => (await loadOf("cache-own")).held).toBe(1);
  expect((await callFor("cache-own")).body).toBe("response 1");
  open();
  const { response, settled } = await holder;
  expect(await response.text()).toBe("late");
  await settled();
});

test("a hit shows nothing of the call that it came from", async () => {
  respondWith({ "Cache-Control": "max-age=60", "Set-Cookie": "a=b" });
  await callFor("cache-own", { headers: { "X-Request-Id": "first" } });
  const { headers } = await callFor("cache-own", { headers: { "X-Request-Id": "second" } });
  expect([headers.get("X-Request-Id"), headers.get("Server-Timing"), headers.get("Set-Cookie")]).toEqual([
    "second",
    null,
    null,
  ]);
});

describe("by its own Cache-Control, a response", () => {
  test.each<[string, Record<string, string>, number, unknown[]]>([
    ["max-age", { "Cache-Control": "max-age=60" }, 200, HIT],
    ["public", { "Cache-Control": "public, max-age=60" }, 200, HIT],
    ["s-maxage", { "Cache-Control": "s-maxage=60, max-age=0" }, 200, HIT],
    ["Expires", { Expires: new Date(Date.now() + 3_600_000).toUTCString() }, 200, HIT],
    ["max-age, and is a 404", { "Cache-Control": "max-age=60" }, 404, HIT],
    ["Vary: Accept", { "Cache-Control": "max-age=60", Vary: "Accept" }, 200, HIT],
    [
      "Vary: Accept, Accept-Language, Accept-Encoding",
      { "Cache-Control": "max-age=60", Vary: "accept,ACCEPT-LANGUAGE, Accept-Encoding" },
      200,
      HIT,
    ],
    ["nothing", {}, 200, MISS],
    ["no-store", { "Cache-Control": "no-store" }, 200, MISS],
    ["no-store beside max-age", { "Cache-Control": "max-age=60, no-store" }, 200, MISS],
    ["private", { "Cache-Control": "private, max-age=60" }, 200, MISS],
    ["max-age=0", { "Cache-Control": "max-age=0" }, 200, MISS],
    ["no-cache", { "Cache-Control": "no-cache" }, 200, MISS],
    ["s-maxage=0", { "Cache-Control": "s-maxage=0, max-age=60" }, 200, MISS],
    ["an Expires in the past", { Expires: new Date(0).toUTCString() }, 200, MISS],
    ["only a Last-Modified", { "Last-Modified": new Date(0).toUTCString() }, 200, MISS],
    ["Vary: Origin", { "Cache-Control": "max-age=60", Vary: "Origin" }, 200, MISS],
    ["Vary: Accept, X-User", { "Cache-Control": "max-age=60", Vary: "Accept, X-User" }, 200, MISS],
    ["Vary: *", { "Cache-Control": "max-age=60", Vary: "*" }, 200, MISS],
    ["max-age, and is a 500", { "Cache-Control": "max-age=60" }, 500, MISS],
  ])("that says %s", async (_name, headers, status, expected) => {
    respondWith(headers, status);
    expect(await twice("cache-own")).toEqual(expected);
  });
});

describe("with cache_seconds, a response", () => {
  test.each<[string, Record<string, string>, number, unknown[]]>([
    ["nothing", {}, 200, HIT],
    ["no-store", { "Cache-Control": "no-store" }, 200, MISS],
    ["private", { "Cache-Control": "private" }, 200, MISS],
    ["max-age=0", { "Cache-Control": "max-age=0" }, 200, MISS],
    ["an Expires in the past", { Expires: new Date(0).toUTCString() }, 200, MISS],
    ["Vary: Cookie", { Vary: "Cookie" }, 200, MISS],
    ["nothing, and is a 404", {}, 404, MISS],
    ["nothing, and is a 500", {}, 500, MISS],
  ])("that says %s", async (_name, headers, status, expected) => {
    respondWith(headers, status);
    expect(await twice("cache-default")).toEqual(expected);
  });

  test("says how long it may be stored", async () => {
    respondWith({});
    expect((await callFor("cache-default")).headers.get("Cache-Control")).toBe("max-age=60");
  });
});

test("with cache_seconds = 0 nothing is stored", async () => {
  respondWith({ "Cache-Control": "max-age=60" });
  expect(await twice("cache-off")).toEqual(["sluice; fwd=bypass", 2]);
});

describe("responses to calls with a configured Authorization", () => {
  test("are not stored by default", async () => {
    respondWith({ "Cache-Control": "max-age=60" });
    expect(await twice("cache-keyed")).toEqual(MISS);
  });

  test("are stored if they say that they are public", async () => {
    respondWith({ "Cache-Control": "public, max-age=60" });
    expect(await twice("cache-keyed")).toEqual(HIT);
  });
});

describe("a request with", () => {
  beforeEach(() => respondWith({ "Cache-Control": "max-age=60", ETag: '"1"' }));

  test.each<[string, CallOptions, string]>([
    ["Range", { headers: { Range: "bytes=0-1" } }, "sluice; fwd=request"],
    ["Cache-Control: no-cache", { headers: { "Cache-Control": "no-cache" } }, "sluice; fwd=request"],
    ["Cache-Control: no-store", { headers: { "Cache-Control": "no-store" } }, "sluice; fwd=request"],
    ["HEAD", { method: "HEAD" }, "sluice; fwd=method"],
    ["POST", { method: "POST" }, "sluice; fwd=method"],
    ["DELETE", { method: "DELETE" }, "sluice; fwd=method"],
  ])("%s bypasses the cache, in both directions", async (_name, options, expected) => {
    await callFor("cache-own", options);
    expect((await callFor("cache-own")).cache).toBe("sluice; fwd=uri-miss; stored");
    expect((await callFor("cache-own", options)).cache).toBe(expected);
    expect(upstream.order).toHaveLength(3);
  });

  test.each<[string, Record<string, string>, Record<string, string>]>([
    ["Accept", { Accept: "text/a" }, { Accept: "text/b" }],
    ["Accept-Language", { "Accept-Language": "de" }, { "Accept-Language": "en" }],
    ["no Accept", {}, { Accept: "text/a" }],
    ["Accept that looks like a language", { Accept: "a" }, { "Accept-Language": "a" }],
  ])("another %s has a response of its own", async (_name, first, second) => {
    const stored = ["sluice; fwd=uri-miss; stored", 2];
    expect(await twice("cache-own", { headers: first }, { headers: second })).toEqual(stored);
    expect((await callFor("cache-own", { headers: first })).body).toBe("response 1");
    expect((await callFor("cache-own", { headers: second })).body).toBe("response 2");
  });

  test("another query, path or upstream has a response of its own", async () => {
    await callFor("cache-own");
    for (const other of [`${path}&r`, path.replace("q=1", "q=2"), path.replace("x?", "y?")]) {
      path = other;
      expect((await callFor("cache-own")).cache).toBe("sluice; fwd=uri-miss; stored");
    }
    expect((await callFor("cache-default")).cache).toBe("sluice; fwd=uri-miss; stored");
  });

  test("If-None-Match gets a 304 from the cache", async () => {
    await callFor("cache-own");
    const same = await callFor("cache-own", { headers: { "If-None-Match": '"1"' } });
    expect([same.status, same.body, same.cache]).toEqual([304, "", "sluice; hit"]);
    const other = await callFor("cache-own", { headers: { "If-None-Match": '"2"' } });
    expect([other.status, other.body, other.cache]).toEqual([200, "response 1", "sluice; hit"]);
    expect(upstream.order).toHaveLength(1);
  });
});

test("an upstream's 304 to a caller's own condition is not stored", async () => {
  resetUpstream(({ headers }) =>
    headers.has("If-None-Match")
      ? new Response(null, { status: 304, headers: { "Cache-Control": "max-age=60" } })
      : new Response("whole", { headers: { "Cache-Control": "max-age=60" } }),
  );
  expect((await callFor("cache-own", { headers: { "If-None-Match": '"1"' } })).status).toBe(304);
  const { status, body } = await callFor("cache-own");
  expect([status, body]).toEqual([200, "whole"]);
});

describe("a long response", () => {
  /** Generated while it is read. */
  const long = (bytes: number) => {
    let left = bytes;
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        const size = Math.min(left, 64 * 1024);
        if (size > 0) controller.enqueue(new Uint8Array(size));
        else controller.close();
        left -= size;
      },
    });
    return new Response(body, { headers: { "Cache-Control": "max-age=60" } });
  };

  test.each<[string, number, number]>([
    ["of 2 MiB is stored", 2 * MIB, 1],
    ["of more than that is not stored, but passed on whole", 2 * MIB + 1, 2],
    ["of much more is not stored, but passed on whole", 5 * MIB, 2],
  ])("%s", async (_name, bytes, calls) => {
    resetUpstream(() => long(bytes));
    expect((await callFor("cache-own")).length).toBe(bytes);
    expect((await callFor("cache-own")).length).toBe(bytes);
    expect(upstream.order).toHaveLength(calls);
    await expect.poll(async () => loadOf("cache-own")).toEqual(IDLE);
  });

  test("that says so is not even collected", async () => {
    resetUpstream(
      () =>
        new Response(new Uint8Array(3 * MIB), {
          headers: { "Cache-Control": "max-age=60", "Content-Length": String(3 * MIB) },
        }),
    );
    const { length, cache } = await callFor("cache-own");
    expect([length, cache]).toEqual([3 * MIB, "sluice; fwd=uri-miss"]);
  });
});

test("a response that breaks off is not stored", async () => {
  resetUpstream(() => {
    if (upstream.order.length > 1)
      return new Response("whole", { headers: { "Cache-Control": "max-age=60" } });
    let sent = 0;
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        if (sent++ === 0) controller.enqueue(new TextEncoder().encode("half"));
        else controller.error(new Error("broke off"));
      },
    });
    return new Response(body, { headers: { "Cache-Control": "max-age=60" } });
  });
  await expect(callFor("cache-own")).rejects.toThrow();
  await expect.poll(async () => loadOf("cache-own")).toEqual(IDLE);
  expect((await callFor("cache-own")).body).toBe("whole");
});

test("a response to a caller's own key is neither stored nor served from the cache", async () => {
  resetUpstream((request) =>
    Response.json(request.headers.get("x-api-key"), { headers: { "Cache-Control": "max-age=60" } }),
  );
  const fetchWithKey = async (key: string) => {
    const { response, settled } = await callWorker("/fetch/cache-own/mine", {
      headers: { "X-Api-Key": key },
    });
    const result = [await response.json(), response.headers.get("Cache-Status")];
    await settled();
    return result;
  };
  expect(await fetchWithKey("alice")).toEqual(["alice", "sluice; fwd=request"]);
  expect(await fetchWithKey("bob")).toEqual(["bob", "sluice; fwd=request"]);
});

test("a response behind a redirect is not stored: the redirect may lead elsewhere tomorrow", async () => {
  resetUpstream((request) => {
    const { pathname } = new URL(request.url);
    if (pathname === "/latest") return new Response(null, { status: 302, headers: { Location: "/v1" } });
    return new Response(pathname, { headers: { "Cache-Control": "max-age=31536000, immutable" } });
  });
  for (let i = 0; i < 2; i++) {
    const { response, settled } = await callWorker("/fetch/cache-own/latest");
    expect([await response.text(), response.headers.get("Cache-Status")]).toEqual([
      "/v1",
      "sluice; fwd=uri-miss",
    ]);
    await settled();
  }
  expect(upstream.order).toHaveLength(4);
});
