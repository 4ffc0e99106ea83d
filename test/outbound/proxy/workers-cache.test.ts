/** Calls through Workers Cache: at every address, one call for all who wait for the same response. */
import { env, reset } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type CallOptions, callWorker } from "../../support/call.ts";
import { platform } from "../../support/platform/platform.ts";
import { clearWorkersCache } from "../../support/platform/workers-cache.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { expectRuntimeErrors } from "../../support/runtime-errors.ts";
import { holdUpstream, resetUpstream, respondAsScripted, upstream } from "../../support/scripted-upstream.ts";
import { IDLE, loadOf } from "../../support/upstreams.ts";

let daysAgo = 0;
let path = "";

keepQuiet();
expectRuntimeErrors("broke off", "Network connection lost");
beforeEach(async () => {
  await reset();
  // On workers.dev. What is found out now about the caches has been forgotten when the next test runs.
  vi.setSystemTime(Date.now() - ++daysAgo * 86_400_000);
  platform.cacheApiWorks = false;
  platform.hasWorkersCache = true;
  platform.origins.set("https://read-only.example.com", respondAsScripted);
  path = `/${daysAgo}`;
  resetUpstream(() => new Response(`response ${upstream.order.length}`));
});
afterEach(() => {
  vi.useRealTimers();
  platform.reset();
  clearWorkersCache();
});

async function callFor(name: string, options: CallOptions = {}) {
  const sent = new Headers(options.headers);
  sent.set("Sec-Fetch-Site", "same-origin");
  const { response, settled } = await callWorker(`/fetch/${name}${path}`, { ...options, headers: sent });
  const body = await response.text();
  await settled();
  return {
    status: response.status,
    headers: response.headers,
    body,
    cache: response.headers.get("Cache-Status"),
  };
}

const HIT = "sluice; hit";
const STORED = "sluice; fwd=uri-miss; stored";
const MISS = "sluice; fwd=uri-miss";

describe("a response", () => {
  test("is kept and served again on workers.dev, without a permit", async () => {
    const [first, second] = [await callFor("cache-through"), await callFor("cache-through")];
    expect([first.body, first.cache]).toEqual(["response 1", STORED]);
    expect([second.body, second.cache, second.headers.get("age")]).toEqual(["response 1", HIT, "0"]);
    expect(second.headers.get("cache-control")).toBe("max-age=60");
    expect((await env.SEMAPHORE.getByName("cache-through").status()).totals.granted).toBe(1);
  });

  test("is the same for all who wait for it: one call, one permit", async () => {
    const open = holdUpstream(() => new Response("the response"));
    const all = Array.from({ length: 5 }, async () => callFor("cache-through"));
    await expect.poll(() => upstream.inFlight).toBe(1);
    await scheduler.wait(50);
    open();
    const responses = await Promise.all(all);
    expect(new Set(responses.map(({ body }) => body))).toEqual(new Set(["the response"]));
    const withStatus = (status: string) => responses.filter(({ cache }) => cache === status).length;
    expect([withStatus(STORED), withStatus(HIT)]).toEqual([1, 4]);
    expect(upstream.order).toHaveLength(1);
    expect(await loadOf("cache-through")).toEqual(IDLE);
  });

  test("is made in the trace of the first that asks, whose spans say what the cache did", async () => {
    const spans: { name: string; attributes: unknown[] }[] = [];
    platform.origins.set("https://otel.example.com", async (request) => {
      const body = await request.json<{ resourceSpans: { scopeSpans: { spans: typeof spans }[] }[] }>();
      spans.push(...body.resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap((one) => one.spans)));
      return Response.json({});
    });
    const seen: string[] = [];
    resetUpstream((request) => {
      seen.push(request.headers.get("traceparent") ?? "");
      return new Response("traced");
    });
    const variables = { OTLP_ENDPOINT: "https://otel.example.com" };
    for (const trace of ["a", "b"]) {
      const traceparent = `00-${trace.repeat(32)}-00f067aa0ba902b7-01`;
      expect((await callFor("cache-through", { variables, headers: { traceparent } })).body).toBe("traced");
    }
    expect(seen).toEqual([expect.stringMatching(/^00-a{32}-(?!00f067aa0ba902b7)/)]);
    const attributes = (did: string) => [
      { key: "sluice.upstream", value: { stringValue: "cache-through" } },
      { key: "sluice.cache", value: { stringValue: did } },
    ];
    const reads = spans.filter(({ name }) => name === "cache read");
    expect(reads.map((read) => read.attributes)).toEqual([attributes("miss"), attributes("hit")]);
  });

  test("is another for another language, path or upstream", async () => {
    await callFor("cache-through", { headers: { "Accept-Language": "en" } });
    expect((await callFor("cache-through", { headers: { "Accept-Language": "de" } })).cache).toBe(STORED);
    path = `${path}/other`;
    expect((await callFor("cache-through")).body).toBe("response 3");
    expect((await callFor("cache-through-too")).body).toBe("response 4");
  });

  test("keeps its status, its headers, its bytes and its coding", async () => {
    const headers = { "Content-Encoding": "gzip", "Content-Type": "text/x-test", "Content-Length": "3" };
    resetUpstream(
      () =>
        new Response("abc", {
          status: 404,
          headers: { ...headers, "Cache-Control": "max-age=9" },
          encodeBody: "manual" as const,
        }),
    );
    const options = { headers: { "Accept-Encoding": "gzip" } };
    for (const cache of [STORED, HIT]) {
      const found = await callFor("cache-through", options);
      expect([found.cache, found.status, found.body]).toEqual([cache, 404, "abc"]);
      expect(Object.fromEntries(found.headers)).toMatchObject({
        "content-encoding": "gzip",
        "content-type": "text/x-test",
        "content-length": "3",
      });
    }
  });

  test.each(["no-store", "private", "max-age=0"])(
    "with Cache-Control: %s is not kept, nor said to be",
    async (value) => {
      resetUpstream(
        () => new Response(String(upstream.order.length), { headers: { "Cache-Control": value } }),
      );
      const [first, second] = [await callFor("cache-through"), await callFor("cache-through")];
      expect([first.cache, second.cache, second.body]).toEqual([MISS, MISS, "2"]);
    },
  );

  test("that is too long is passed on, and not kept", async () => {
    resetUpstream(() => new Response(new Uint8Array(3_000_000)));
    const [first, second] = [await callFor("cache-through"), await callFor("cache-through")];
    expect([first.body.length, first.cache, second.cache]).toEqual([3_000_000, MISS, MISS]);
  });

  test("that breaks off is not kept, and nobody takes its part for the whole", async () => {
    resetUpstream(() => new Response(brokenStream(100)));
    expect((await callFor("cache-through")).status).toBe(502);
    resetUpstream(() => new Response(brokenStream(3_000_000)));
    await expect(callFor("cache-through")).rejects.toThrow();
    await expect.poll(() => loadOf("cache-through")).toEqual(IDLE);
  });
});

/** A body that breaks off after so many bytes. */
function brokenStream(length: number): ReadableStream<Uint8Array> {
  let left = length;
  return new ReadableStream({
    pull(controller) {
      if (left === 0) return controller.error(new Error("broke off"));
      const bytes = Math.min(left, 65_536);
      left -= bytes;
      controller.enqueue(new Uint8Array(bytes));
    },
  });
}

describe("a request", () => {
  test("that wants a newer response than is stored goes past the cache", async () => {
    await callFor("cache-through");
    vi.setSystemTime(Date.now() + 5_000);
    expect((await callFor("cache-through", { headers: { "Cache-Control": "max-age=9" } })).cache).toBe(HIT);
    const newer = await callFor("cache-through", { headers: { "Cache-Control": "max-age=2" } });
    expect([newer.cache, newer.body]).toEqual([MISS, "response 2"]);
  });

  test("that takes only what is stored calls nobody", async () => {
    const headers = { "Cache-Control": "only-if-cached" };
    expect((await callFor("cache-through", { headers })).status).toBe(504);
    expect(upstream.order).toHaveLength(0);
    await callFor("cache-through");
    expect((await callFor("cache-through", { headers })).cache).toBe(HIT);
  });

  test("with a condition is answered from the cache, or travels", async () => {
    const seen: (string | null)[] = [];
    resetUpstream(({ headers }) => {
      seen.push(headers.get("if-none-match"));
      return new Response("x", { headers: { ETag: '"1"' } });
    });
    const headers = { "If-None-Match": '"1"' };
    expect((await callFor("cache-through", { headers })).cache).toBe(MISS);
    await callFor("cache-through");
    expect((await callFor("cache-through", { headers })).status).toBe(304);
    expect(seen).toEqual(['"1"', null]);
  });

  test("that fails gets the problem, as without a cache, and the next may succeed", async () => {
    resetUpstream(() => new Response(null, { status: 104 }));
    const failed = await callFor("cache-through");
    expect([failed.status, JSON.parse(failed.body).type]).toEqual([
      502,
      "urn:sluice:problem:upstream-unreachable",
    ]);
    expect(failed.headers.get("proxy-status")).toContain("error=");
    await env.SEMAPHORE.getByName("cache-through").configure({ paused: true });
    const paused = await callFor("cache-through");
    expect([paused.status, paused.headers.get("retry-after")]).toEqual([503, "60"]);
    await env.SEMAPHORE.getByName("cache-through").configure({ paused: null });
    resetUpstream();
    expect((await callFor("cache-through")).cache).toBe(STORED);
  });
});

test("an upstream that is changed through Sluice, or sets no cache_seconds, does not use it", async () => {
  for (const name of ["cache-default", "cache-wide"]) {
    resetUpstream(() => new Response("x", { headers: { "Cache-Control": "max-age=60" } }));
    await callFor(name);
    expect([(await callFor(name)).cache, upstream.order.length]).toEqual([MISS, 2]);
  }
});

test("where there is no such cache, as under npm run dev, the Cache API is used", async () => {
  platform.hasWorkersCache = false;
  platform.cacheApiWorks = true;
  await callFor("cache-through");
  expect([(await callFor("cache-through")).cache, upstream.order.length]).toEqual([HIT, 1]);
});
