/** Which answers are kept, for which requests, and that a hit takes no permit. */
import { env, reset } from "cloudflare:test";
import { beforeEach, describe, expect, test } from "vitest";
import { type CallOptions, callWorker } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { resetUpstream, upstream } from "../../support/scripted-upstream.ts";
import { IDLE, loadOf } from "../../support/upstreams.ts";

const MIB = 1024 * 1024;

/** The cache outlives a test, so each has a path of its own. */
let path = "";
let paths = 0;

/** Calls, reads the answer, and waits until it has been put into the cache, if it is. */
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

/** The upstream answers with these headers, and counts. */
function answerWith(headers: HeadersInit, status = 200): void {
  resetUpstream(() => new Response(`answer ${upstream.order.length}`, { status, headers }));
}

/** What two calls in a row get: how the second came about, and how many reached the upstream. */
async function twice(name: string, first?: CallOptions, second = first) {
  await callFor(name, first);
  const { cache } = await callFor(name, second);
  return [cache, upstream.order.length];
}

const HIT = ["sluice; hit", 1];
const MISS = ["sluice; fwd=uri-miss", 2];

keepQuiet();
beforeEach(async () => {
  await reset();
  path = `/${paths++}/x?q=1`;
});

test("an answer is kept as its own Cache-Control says, and given again, without a permit", async () => {
  answerWith({ "Cache-Control": "max-age=60", "X-Custom": "1", "Content-Type": "text/x-test" });
  const first = await callFor("cache-own");
  expect([first.status, first.body, first.cache]).toEqual([200, "answer 1", "sluice; fwd=uri-miss; stored"]);
  const second = await callFor("cache-own");
  expect([second.status, second.body, second.cache]).toEqual([200, "answer 1", "sluice; hit"]);
  expect(
    ["X-Custom", "Content-Type", "X-Content-Type-Options"].map((name) => second.headers.get(name)),
  ).toEqual(["1", "text/x-test", "nosniff"]);
  expect(upstream.order).toHaveLength(1);
  expect((await env.SEMAPHORE.getByName("cache-own").status()).totals.granted).toBe(1);
});

test("a hit is answered while all permits are held", async () => {
  answerWith({ "Cache-Control": "max-age=60" });
  await callFor("cache-own");
  const gate = Promise.withResolvers<void>();
  resetUpstream(async () => {
    await gate.promise;
    return new Response("late");
  });
  const holder = callWorker(`/fetch/cache-own/other${path}`);
  await expect.poll(async () => (await loadOf("cache-own")).held).toBe(1);
  expect((await callFor("cache-own")).body).toBe("answer 1");
  gate.resolve();
  const { response, settled } = await holder;
  expect(await response.text()).toBe("late");
  await settled();
});

test("a hit says nothing of the call that it came from", async () => {
  answerWith({ "Cache-Control": "max-age=60", "Set-Cookie": "a=b" });
  await callFor("cache-own", { headers: { "X-Request-Id": "first" } });
  const { headers } = await callFor("cache-own", { headers: { "X-Request-Id": "second" } });
  expect([headers.get("X-Request-Id"), headers.get("Server-Timing"), headers.get("Set-Cookie")]).toEqual([
    "second",
    null,
    null,
  ]);
});

describe("by its own Cache-Control, an answer", () => {
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
    ["an Expires that is past", { Expires: new Date(0).toUTCString() }, 200, MISS],
    ["only a Last-Modified", { "Last-Modified": new Date(0).toUTCString() }, 200, MISS],
    ["Vary: Origin", { "Cache-Control": "max-age=60", Vary: "Origin" }, 200, MISS],
    ["Vary: Accept, X-User", { "Cache-Control": "max-age=60", Vary: "Accept, X-User" }, 200, MISS],
    ["Vary: *", { "Cache-Control": "max-age=60", Vary: "*" }, 200, MISS],
    ["max-age, and is a 500", { "Cache-Control": "max-age=60" }, 500, MISS],
  ])("that says %s", async (_name, headers, status, expected) => {
    answerWith(headers, status);
    expect(await twice("cache-own")).toEqual(expected);
  });
});

describe("with cache_seconds, an answer", () => {
  test.each<[string, Record<string, string>, number, unknown[]]>([
    ["nothing", {}, 200, HIT],
    ["no-store", { "Cache-Control": "no-store" }, 200, MISS],
    ["private", { "Cache-Control": "private" }, 200, MISS],
    ["max-age=0", { "Cache-Control": "max-age=0" }, 200, MISS],
    ["an Expires that is past", { Expires: new Date(0).toUTCString() }, 200, MISS],
    ["Vary: Cookie", { Vary: "Cookie" }, 200, MISS],
    ["nothing, and is a 404", {}, 404, MISS],
    ["nothing, and is a 500", {}, 500, MISS],
  ])("that says %s", async (_name, headers, status, expected) => {
    answerWith(headers, status);
    expect(await twice("cache-default")).toEqual(expected);
  });

  test("says how long it may be kept", async () => {
    answerWith({});
    expect((await callFor("cache-default")).headers.get("Cache-Control")).toBe("max-age=60");
  });
});

test("with cache_seconds = 0 nothing is kept", async () => {
  answerWith({ "Cache-Control": "max-age=60" });
  expect(await twice("cache-off")).toEqual(["sluice; fwd=bypass", 2]);
});

describe("answers that a key of the upstream's has opened", () => {
  test("are not kept by themselves", async () => {
    answerWith({ "Cache-Control": "max-age=60" });
    expect(await twice("cache-keyed")).toEqual(MISS);
  });

  test("are kept if they say that they are for all", async () => {
    answerWith({ "Cache-Control": "public, max-age=60" });
    expect(await twice("cache-keyed")).toEqual(HIT);
  });
});

describe("what a request says", () => {
  beforeEach(() => answerWith({ "Cache-Control": "max-age=60", ETag: '"1"' }));

  test.each<[string, CallOptions, string]>([
    ["Range", { headers: { Range: "bytes=0-1" } }, "sluice; fwd=request"],
    ["Cache-Control: no-cache", { headers: { "Cache-Control": "no-cache" } }, "sluice; fwd=request"],
    ["Cache-Control: no-store", { headers: { "Cache-Control": "no-store" } }, "sluice; fwd=request"],
    ["HEAD", { method: "HEAD" }, "sluice; fwd=method"],
    ["POST", { method: "POST" }, "sluice; fwd=method"],
    ["DELETE", { method: "DELETE" }, "sluice; fwd=method"],
  ])("%s goes past the cache, both ways", async (_name, options, expected) => {
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
  ])("another %s has an answer of its own", async (_name, first, second) => {
    const stored = ["sluice; fwd=uri-miss; stored", 2];
    expect(await twice("cache-own", { headers: first }, { headers: second })).toEqual(stored);
    expect((await callFor("cache-own", { headers: first })).body).toBe("answer 1");
    expect((await callFor("cache-own", { headers: second })).body).toBe("answer 2");
  });

  test("another query or path has an answer of its own, and so has another upstream", async () => {
    await callFor("cache-own");
    for (const other of [`${path}&r`, path.replace("q=1", "q=2"), path.replace("x?", "y?")]) {
      path = other;
      expect((await callFor("cache-own")).cache).toBe("sluice; fwd=uri-miss; stored");
    }
    expect((await callFor("cache-default")).cache).toBe("sluice; fwd=uri-miss; stored");
  });

  test("If-None-Match gets a 304 from what is kept", async () => {
    await callFor("cache-own");
    const same = await callFor("cache-own", { headers: { "If-None-Match": '"1"' } });
    expect([same.status, same.body, same.cache]).toEqual([304, "", "sluice; hit"]);
    const other = await callFor("cache-own", { headers: { "If-None-Match": '"2"' } });
    expect([other.status, other.body, other.cache]).toEqual([200, "answer 1", "sluice; hit"]);
    expect(upstream.order).toHaveLength(1);
  });
});

test("an upstream's 304 to a caller's own condition is not kept", async () => {
  resetUpstream(({ headers }) =>
    headers.has("If-None-Match")
      ? new Response(null, { status: 304, headers: { "Cache-Control": "max-age=60" } })
      : new Response("whole", { headers: { "Cache-Control": "max-age=60" } }),
  );
  expect((await callFor("cache-own", { headers: { "If-None-Match": '"1"' } })).status).toBe(304);
  const { status, body } = await callFor("cache-own");
  expect([status, body]).toEqual([200, "whole"]);
});

describe("an answer that is long", () => {
  /** Made while it is read. */
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
    ["2 MiB are kept", 2 * MIB, 1],
    ["more is not kept, but passed on whole", 2 * MIB + 1, 2],
    ["much more is not kept, but passed on whole", 5 * MIB, 2],
  ])("%s", async (_name, bytes, calls) => {
    resetUpstream(() => long(bytes));
    expect((await callFor("cache-own")).length).toBe(bytes);
    expect((await callFor("cache-own")).length).toBe(bytes);
    expect(upstream.order).toHaveLength(calls);
    await expect.poll(async () => loadOf("cache-own")).toEqual(IDLE);
  });

  test("and says so is not even tried", async () => {
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

test("an answer that breaks off is not kept", async () => {
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

test("an answer to a caller's own key is neither kept nor taken from the cache", async () => {
  resetUpstream((request) =>
    Response.json(request.headers.get("x-api-key"), { headers: { "Cache-Control": "max-age=60" } }),
  );
  const ask = async (key: string) => {
    const { response, settled } = await callWorker("/fetch/cache-own/mine", {
      headers: { "X-Api-Key": key },
    });
    const told = [await response.json(), response.headers.get("Cache-Status")];
    await settled();
    return told;
  };
  expect(await ask("alice")).toEqual(["alice", "sluice; fwd=request"]);
  expect(await ask("bob")).toEqual(["bob", "sluice; fwd=request"]);
});

test("an answer that was reached by a redirect is not kept: the redirect may lead elsewhere tomorrow", async () => {
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
