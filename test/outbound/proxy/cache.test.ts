/** Which responses are stored, for which requests. A hit takes no permit. */
import { env, reset } from "cloudflare:test";
import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type CallOptions, callWorker } from "../../support/call.ts";
import { platform } from "../../support/platform/platform.ts";
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
  // What a browser sends with Accept-Language; without it, it would be a page of another name.
  const sent = new Headers(options?.headers);
  sent.set("Sec-Fetch-Site", "same-origin");
  const { response, settled } = await callWorker(`/fetch/${name}${path}`, { ...options, headers: sent });
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

/** A date that many seconds ago. */
const ago = (seconds: number) => new Date(Date.now() - seconds * 1000).toUTCString();

const HIT = ["sluice; hit", 1];
const MISS = ["sluice; fwd=uri-miss", 2];

keepQuiet();
expectRuntimeErrors("broke off");
beforeEach(async () => {
  await reset();
  path = `/${paths++}/x?q=1`;
});

describe("where the platform's cache keeps nothing, as on workers.dev,", () => {
  let hoursAgo = 0;
  beforeEach(() => {
    platform.cacheApiWorks = false;
    // What is found out now has been forgotten when the next test runs.
    vi.setSystemTime(Date.now() - ++hoursAgo * 3_600_000);
  });
  afterEach(() => {
    vi.useRealTimers();
    platform.reset();
  });

  test.each(["cache-own", "cache-wide"])(
    "Cache-Status does not say that a response is stored: %s",
    async (name) => {
      respondWith({ "Cache-Control": "max-age=60" });
      const [first, second] = [await callFor(name), await callFor(name)];
      expect([first.cache, second.cache]).toEqual(["sluice; fwd=uri-miss", "sluice; fwd=uri-miss"]);
      expect([first.body, second.body]).toEqual(["response 1", "response 2"]);
    },
  );

  test("it is left alone for a minute, and then tried again", async () => {
    respondWith({ "Cache-Control": "max-age=60" });
    const cost = async () => (await platform.measure(async () => callFor("cache-default"))).internal;
    const first = await cost();
    expect(await cost()).toBeLessThan(first);
    platform.cacheApiWorks = true;
    vi.setSystemTime(Date.now() + 61_000);
    expect(await twice("cache-default")).toEqual(["sluice; hit", 3]);
  });
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
  respondWith({ "Cache-Control": "max-age=60", "X-Secret": "1" });
  await callFor("cache-own", { headers: { "X-Request-Id": "first" } });
  const { headers, cache } = await callFor("cache-own", { headers: { "X-Request-Id": "second" } });
  expect([cache, headers.get("X-Request-Id"), headers.get("Server-Timing"), headers.get("X-Secret")]).toEqual(
    ["sluice; hit", "second", null, null],
  );
});

describe("when a response may be kept, nothing travels that is not in its key:", () => {
  /** The upstream reflects all that it gets. */
  const reflect = () =>
    resetUpstream((request) =>
      Response.json(Object.fromEntries(request.headers), { headers: { "Cache-Control": "max-age=60" } }),
    );

  test.each([
    ["User-Agent", "alice's browser"],
    ["X-Request-Id", "alice-1"],
    ["Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
    ["Priority", "u=1; alice"],
    ["Cache-Control", "max-age=3600, alice"],
    ["X-Unheard-Of", "alice"],
    ["Accept-Encoding", "gzip, alice"],
  ])("%s does not, and the response is kept for the next", async (name, value) => {
    reflect();
    const first = await callFor("cache-own", { headers: { [name]: value } });
    expect(first.cache).toBe("sluice; fwd=uri-miss; stored");
    expect(first.body).not.toContain("alice");
    expect((JSON.parse(first.body) as Record<string, string>)["user-agent"]).toBe("sluice");
    if (name === "Accept-Encoding") return;
    expect((await callFor("cache-own")).cache).toBe("sluice; hit");
  });

  test.each([
    ["Prefer", "return=minimal"],
    ["X-Api-Key", "alice"],
    ["Idempotency-Key", "alice"],
    ["Accept-Charset", "alice"],
    ["Accept-Datetime", "Sun, 06 Nov 1994 08:49:37 GMT"],
    ["If-Match", '"alice"'],
    ["If-Unmodified-Since", "Sun, 06 Nov 1994 08:49:37 GMT"],
    ["Last-Event-ID", "alice"],
    ["Content-Type", "text/alice"],
    ["Content-Language", "alice"],
    ["Want-Content-Digest", "sha-256=1"],
  ])("%s travels, so the response is not kept", async (name, value) => {
    reflect();
    const first = await callFor("cache-own", { headers: { [name]: value } });
    expect([first.cache, first.body]).toEqual([
      "sluice; fwd=request",
      expect.stringContaining(value.slice(0, 5)),
    ]);
    expect((await callFor("cache-own")).cache).toBe("sluice; fwd=uri-miss; stored");
    expect((await callFor("cache-own", { headers: { [name]: value } })).cache).toBe("sluice; fwd=request");
  });

  test.each(["Accept", "Accept-Language", "Via"])("%s travels, and is in the key", async (name) => {
    reflect();
    const body = async (value: string) => (await callFor("cache-own", { headers: { [name]: value } })).body;
    expect(await body("1.1 alice")).toContain("1.1 alice");
    expect(await body("1.1 bob")).not.toContain("alice");
  });

  test.each(["If-None-Match", "If-Modified-Since"])(
    "%s travels if there is nothing in the cache, and the response is not kept",
    async (name) => {
      reflect();
      const value = name === "If-None-Match" ? '"alice"' : "Sun, 06 Nov 1994 08:49:37 GMT";
      const first = await callFor("cache-own", { headers: { [name]: value } });
      expect([first.cache, first.body.includes(value.slice(1, 6))]).toEqual(["sluice; fwd=uri-miss", true]);
      expect((await callFor("cache-own")).cache).toBe("sluice; fwd=uri-miss; stored");
      expect((await callFor("cache-own", { headers: { [name]: value } })).cache).toBe("sluice; hit");
    },
  );

  test("for any headers: what one caller gets shows nothing of another's headers", async () => {
    const names = [
      "accept accept-language accept-encoding accept-charset via user-agent prefer priority range dnt cookie",
      "x-request-id x-api-key x-custom idempotency-key traceparent tracestate pragma cache-control content-type",
      "if-none-match if-modified-since if-match if-range x-forwarded-for x-http-method-override authorization",
      "origin referer last-event-id",
    ];
    const name = fc.constantFrom(...names.join(" ").split(" "));
    const value = (of: string) =>
      fc.constantFrom(of, `"${of}"`, `gzip, ${of}`, `max-age=9, x="${of}"`, `*;q=0.${of}`);
    const headersOf = (of: string) => fc.dictionary(name, value(of), { maxKeys: 3 });
    reflect();
    let hits = 0;
    let id = 0;
    await fc.assert(
      fc.asyncProperty(headersOf("alice"), headersOf("bob"), async (alice, bob) => {
        path = `/any/${id++}`;
        await callFor("cache-own", { headers: alice });
        const second = await callFor("cache-own", { headers: bob });
        if (second.cache === "sluice; hit") hits++;
        expect(second.body).not.toContain("alice");
      }),
      { numRuns: 100 },
    );
    expect(hits).toBeGreaterThan(3);
  });

  test("with cache_seconds = 0 everything travels", async () => {
    reflect();
    const headers = { "User-Agent": "alice's browser", "X-Request-Id": "alice-1" };
    expect(JSON.parse((await callFor("cache-off", { headers })).body)).toMatchObject({
      "user-agent": "alice's browser",
      "x-request-id": "alice-1",
    });
  });

  test("the upstream's own settings are in the key: another origin or key has other responses", async () => {
    respondWith({ "Cache-Control": "public, max-age=60" });
    await callFor("cache-keyed");
    expect((await callFor("cache-keyed")).cache).toBe("sluice; hit");
    const UPSTREAMS = {
      "cache-keyed": { entrypoint: "ScriptedUpstream", headers: { Authorization: "Bearer another" } },
    };
    const { cache } = await callFor("cache-keyed", { variables: { UPSTREAMS } });
    expect(cache).toBe("sluice; fwd=uri-miss; stored");
  });
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
    ["MAX-AGE", { "Cache-Control": "Public, MAX-AGE=60" }, 200, HIT],
    ["max-age in quotes", { "Cache-Control": 'max-age="60"' }, 200, HIT],
    ["max-age beside what nobody knows", { "Cache-Control": 'community="UCI, x", max-age=60' }, 200, HIT],
    ["max-age, and Age", { "Cache-Control": "max-age=60", Age: "59" }, 200, HIT],
    ["No-Cache", { "Cache-Control": "No-Cache" }, 200, MISS],
    ["NO-STORE", { "Cache-Control": "NO-STORE, Max-Age=60" }, 200, MISS],
    ["Private", { "Cache-Control": "max-age=60; private" }, 200, MISS],
    ["max-age after private", { "Cache-Control": "Private, max-age=60" }, 200, MISS],
    ["private with a field", { "Cache-Control": 'max-age=60, private="X-User"' }, 200, MISS],
    ["no-cache with fields", { "Cache-Control": 'no-cache="Set-Cookie, X-User", max-age=60' }, 200, MISS],
    ["immutable alone", { "Cache-Control": "immutable" }, 200, MISS],
    ["public alone", { "Cache-Control": "public" }, 200, MISS],
    ["two max-ages", { "Cache-Control": "max-age=60, max-age=61" }, 200, MISS],
    ["max-age=1.5", { "Cache-Control": "max-age=1.5" }, 200, MISS],
    ["max-age=-1", { "Cache-Control": "max-age=-1" }, 200, MISS],
    ["max-age without a number", { "Cache-Control": "max-age" }, 200, MISS],
    ["max-age inside another directive", { "Cache-Control": 'x="max-age=60"' }, 200, MISS],
    ["an Age of its max-age", { "Cache-Control": "max-age=60", Age: "60" }, 200, MISS],
    ["a Date that is older than its max-age", { "Cache-Control": "max-age=60", Date: ago(61) }, 200, MISS],
    ["a Date a little ahead", { "Cache-Control": "max-age=60", Date: ago(-30) }, 200, HIT],
    ["Set-Cookie", { "Cache-Control": "public, max-age=60", "Set-Cookie": "a=b" }, 200, MISS],
    ["Expires: 0", { Expires: "0" }, 200, MISS],
    ["Expires as asctime", { Expires: "Sun Nov  6 08:49:37 2089" }, 200, HIT],
    ["max-age=0 beside Expires", { "Cache-Control": "max-age=0", Expires: ago(-600) }, 200, MISS],
    ["max-age, and is a 206", { "Cache-Control": "max-age=60" }, 206, MISS],
    ["max-age, and is a 403", { "Cache-Control": "max-age=60" }, 403, MISS],
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
    ["Pragma: no-cache", { Pragma: "no-cache" }, 200, MISS],
    ["Set-Cookie", { "Set-Cookie": "a=b" }, 200, MISS],
    ["immutable", { "Cache-Control": "immutable" }, 200, MISS],
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
    ["Cache-Control: No-Cache", { headers: { "Cache-Control": "No-Cache" } }, "sluice; fwd=request"],
    ["Cache-Control: max-age=0", { headers: { "Cache-Control": "max-age=0" } }, "sluice; fwd=request"],
    ["Pragma", { headers: { Pragma: "no-cache" } }, "sluice; fwd=request"],
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

describe("a hit says how old it is:", () => {
  const STARTED_AT_MS = Date.parse("2026-11-26T12:00:00Z");
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["Date"], now: STARTED_AT_MS });
  });
  afterEach(() => vi.useRealTimers());

  /** The Age of hits, this many seconds after the response came. */
  async function agesAfter(headers: Record<string, string>, ...seconds: number[]) {
    respondWith({ "Cache-Control": "max-age=60", ...headers });
    expect((await callFor("cache-own")).cache).toBe("sluice; fwd=uri-miss; stored");
    const ages: (string | null)[] = [];
    for (const after of seconds) {
      vi.setSystemTime(STARTED_AT_MS + after * 1000);
      const hit = await callFor("cache-own");
      ages.push(hit.cache === "sluice; hit" ? hit.headers.get("Age") : hit.cache);
    }
    return ages;
  }

  test("the time since it came", async () => {
    expect(await agesAfter({}, 0, 3, 59.9, 60)).toEqual(["0", "3", "59", "sluice; fwd=uri-miss; stored"]);
  });

  test("and the age that it had then, of which the rest of its lifetime is less", async () => {
    expect(await agesAfter({ Age: "20" }, 3, 39, 40)).toEqual(["23", "59", "sluice; fwd=uri-miss; stored"]);
  });

  test("or the time since its Date, if that is longer", async () => {
    const Date = "Thu, 26 Nov 2026 11:59:30 GMT";
    expect(await agesAfter({ Age: "20", Date }, 3)).toEqual(["33"]);
  });

  test("a Date in the future, and an Age that is no number, count as nothing", async () => {
    expect(await agesAfter({ Age: "old", Date: "Thu, 26 Nov 2026 12:10:00 GMT" }, 3)).toEqual(["3"]);
  });

  test("the Date stays the one of the upstream; without one, it is when the response came", async () => {
    await agesAfter({}, 3);
    expect((await callFor("cache-own")).headers.get("Date")).toBe("Thu, 26 Nov 2026 12:00:00 GMT");
  });

  test.each([
    ["max-age=10", "sluice; hit"],
    ["max-age=2", "sluice; fwd=uri-miss; stored"],
    ["min-fresh=50", "sluice; hit"],
    ["min-fresh=58", "sluice; fwd=uri-miss; stored"],
    ["max-age=2, max-stale", "sluice; fwd=uri-miss; stored"],
    ["no-transform", "sluice; hit"],
    ["max-age=soon", "sluice; fwd=request"],
    ["only-if-cached", "sluice; hit"],
    ["ONLY-IF-CACHED, max-age=10", "sluice; hit"],
    ["only-if-cached, max-age=2", "sluice; detail=only-if-cached"],
    ["only-if-cached, no-cache", "sluice; detail=only-if-cached"],
  ])("a request with Cache-Control: %s, 3 s later: %s", async (demand, expected) => {
    await agesAfter({});
    vi.setSystemTime(STARTED_AT_MS + 3000);
    expect((await callFor("cache-own", { headers: { "Cache-Control": demand } })).cache).toBe(expected);
  });
});

test.each([
  ["cache-own", "GET"],
  ["cache-own", "HEAD"],
  ["cache-own", "POST"],
  ["cache-off", "GET"],
])(
  "%s, %s with only-if-cached, and nothing stored: 504, and no call (RFC 9111 §5.2.1.7)",
  async (name, method) => {
    respondWith({ "Cache-Control": "max-age=60" });
    const headers = { "Cache-Control": "only-if-cached" };
    const { status, body, cache } = await callFor(name, { method, headers });
    const kind = method === "HEAD" ? "" : "urn:sluice:problem:not-stored";
    expect([status, cache, body.includes(kind)]).toEqual([504, "sluice; detail=only-if-cached", true]);
    expect(upstream.order).toEqual([]);
  },
);

describe("conditions are answered from the cache:", () => {
  const MODIFIED = "Sun, 06 Nov 1994 08:49:37 GMT";
  beforeEach(async () => {
    respondWith({
      "Cache-Control": "max-age=60",
      ETag: 'W/"1"',
      "Last-Modified": MODIFIED,
      "Content-Type": "text/x-test",
    });
    await callFor("cache-own");
  });

  test.each<[Record<string, string>, number]>([
    [{ "If-None-Match": '"1"' }, 304],
    [{ "If-None-Match": 'W/"1"' }, 304],
    [{ "If-None-Match": '"0", W/"1"' }, 304],
    [{ "If-None-Match": "*" }, 304],
    [{ "If-None-Match": '"2"' }, 200],
    [{ "If-None-Match": "1" }, 200],
    [{ "If-None-Match": '"2"', "If-Modified-Since": MODIFIED }, 200],
    [{ "If-Modified-Since": MODIFIED }, 304],
    [{ "If-Modified-Since": "Sunday, 06-Nov-94 08:49:38 GMT" }, 304],
    [{ "If-Modified-Since": "Sun, 06 Nov 1994 08:49:36 GMT" }, 200],
    [{ "If-Modified-Since": "yesterday" }, 200],
  ])("%j is a %d", async (headers, status) => {
    const got = await callFor("cache-own", { headers });
    expect([got.status, got.cache, got.headers.get("ETag")]).toEqual([status, "sluice; hit", 'W/"1"']);
    expect(got.headers.get("Content-Type")).toBe(status === 304 ? null : "text/x-test");
    expect(got.headers.get("X-Content-Type-Options")).toBe("nosniff");
  });
});

describe("coded bytes are the same the second time:", () => {
  const plain = "hello world ".repeat(200);
  const gzip = async () =>
    new Response(new Response(plain).body?.pipeThrough(new CompressionStream("gzip"))).bytes();

  test.each(["gzip, deflate, br", "*", "GZIP;q=0.5"])("with Accept-Encoding: %s", async (accepted) => {
    const bytes = await gzip();
    let asked: string | null = null;
    resetUpstream(({ headers }) => {
      asked = headers.get("Accept-Encoding");
      return new Response(bytes, {
        headers: { "Content-Encoding": "gzip", "Cache-Control": "max-age=60, no-transform", ETag: '"1"' },
        encodeBody: "manual",
      });
    });
    for (const cache of ["sluice; fwd=uri-miss; stored", "sluice; hit", "sluice; hit"]) {
      const { response, settled } = await callWorker(`/fetch/cache-own${path}`, {
        headers: { "Accept-Encoding": accepted },
      });
      expect(response.headers.get("Cache-Status")).toBe(cache);
      expect(["Content-Encoding", "ETag"].map((name) => response.headers.get(name))).toEqual(["gzip", '"1"']);
      expect(await response.bytes()).toEqual(bytes);
      await settled();
    }
    expect(asked).toBe(accepted.startsWith("GZIP") ? "gzip" : "br, gzip");
  });

  test("a client that accepts another coding does not get them", async () => {
    resetUpstream(({ headers }) =>
      Response.json(headers.get("Accept-Encoding"), { headers: { "Cache-Control": "max-age=60" } }),
    );
    const asks = [{}, { "Accept-Encoding": "gzip" }, { "Accept-Encoding": "br;q=1, gzip;q=0" }];
    const bodies: string[] = [];
    for (const headers of [...asks, ...asks]) bodies.push((await callFor("cache-own", { headers })).body);
    expect(bodies).toEqual(['"identity"', '"gzip"', '"br"', '"identity"', '"gzip"', '"br"']);
    expect(upstream.order).toHaveLength(3);
  });
});
