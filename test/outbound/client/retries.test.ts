/** Retries: only of calls that may be repeated, within a budget, with no permit held between tries. */
import { env, reset } from "cloudflare:test";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { type CallOptions, callForJson, callWorker, captureLogs } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { expectRuntimeErrors } from "../../support/runtime-errors.ts";
import { holdUpstream, resetUpstream, upstream } from "../../support/scripted-upstream.ts";
import { IDLE, loadOf } from "../../support/upstreams.ts";

/** Responds with these statuses, one after the other, then with 200. 0 stands for a broken connection. */
function respondWith(...statuses: number[]): void {
  resetUpstream(() => {
    const status = statuses[upstream.order.length - 1] ?? 200;
    if (status === 0) throw new Error("the connection broke");
    return Response.json({ status }, { status });
  });
}

const callAny = async (options?: CallOptions) => callForJson("/fetch/client-any/x", options);
const totalsOf = async (name: string) => (await env.SEMAPHORE.getByName(name).status()).totals;

keepQuiet();
expectRuntimeErrors("the connection broke", "broke off", "Network connection lost", "Connection refused");
beforeEach(async () => {
  await reset();
  resetUpstream();
});

describe("GET is retried", () => {
  test.each([429, 502, 503, 504, 0])("after %d", async (first) => {
    respondWith(first);
    const { status, body, headers } = await callAny();
    expect([status, body, upstream.order.length]).toEqual([200, { status: 200 }, 2]);
    expect(headers.get("Server-Timing")).toMatch(/^queue;dur=\d+, upstream;dur=\d+;desc="2 tries"$/);
    expect(await loadOf("client-any")).toEqual(IDLE);
  });

  test("at most twice by default; the last response is passed on", async () => {
    respondWith(503, 502, 504, 200);
    const { status, body, headers } = await callAny();
    expect([status, body, upstream.order.length]).toEqual([504, { status: 504 }, 3]);
    expect(headers.get("Proxy-Status")).toBe("sluice; received-status=504");
    expect(await loadOf("client-any")).toEqual(IDLE);
  });

  test("never with retries = 0", async () => {
    respondWith(503);
    const { status, body } = await callForJson("/fetch/client-once/x");
    expect([status, body, upstream.order.length]).toEqual([503, { status: 503 }, 1]);
  });

  test("when nobody listens, and then it is a 502", async () => {
    const { value, lines } = await captureLogs(async () => callForJson("/fetch/client-nowhere/x"));
    expect([value.status, value.body.type]).toEqual([502, "urn:sluice:problem:upstream-unreachable"]);
    expect(lines.filter(({ message }) => message === "upstream failed")).toHaveLength(2);
  });
});

test.each([200, 304, 400, 401, 404, 408, 500, 501])("GET is not retried after %d", async (first) => {
  resetUpstream(() => new Response(first === 304 ? null : "{}", { status: first }));
  const { response, settled } = await callWorker("/fetch/client-any/x");
  await response.text();
  await settled();
  expect([response.status, upstream.order.length]).toEqual([first, 1]);
});

describe("other methods", () => {
  const body = "small";
  const length = { "Content-Length": "5" };
  test.each<[string, CallOptions, number]>([
    ["HEAD", { method: "HEAD" }, 2],
    ["OPTIONS", { method: "OPTIONS" }, 2],
    ["DELETE", { method: "DELETE" }, 2],
    ["PUT with a small body", { method: "PUT", body, headers: length }, 2],
    ["PUT with a stream", { method: "PUT", body: new Blob([body]).stream() }, 1],
    ["POST", { method: "POST", body, headers: length }, 1],
    ["POST with no body", { method: "POST" }, 1],
    ["PATCH", { method: "PATCH", body, headers: length }, 1],
    [
      "POST with an Idempotency-Key",
      { method: "POST", body, headers: { ...length, "Idempotency-Key": "k-1" } },
      2,
    ],
    [
      "PATCH with an Idempotency-Key",
      { method: "PATCH", body, headers: { ...length, "Idempotency-Key": "k-1" } },
      2,
    ],
    [
      "POST with an Idempotency-Key and a stream",
      { method: "POST", body: new Blob([body]).stream(), headers: { "Idempotency-Key": "k-1" } },
      1,
    ],
  ])("%s: %o: calls: %i", async (_name, options, calls) => {
    const bodies: string[] = [];
    resetUpstream(async (request) => {
      bodies.push(await request.text());
      return new Response(null, { status: bodies.length === 1 ? 503 : 200 });
    });
    const { response, settled } = await callWorker("/fetch/client-any/x", options);
    await response.text();
    await settled();
    expect([response.status, bodies.length]).toEqual([calls === 2 ? 200 : 503, calls]);
    expect(new Set(bodies)).toEqual(new Set([options.body ? body : ""]));
    expect(await loadOf("client-any")).toEqual(IDLE);
  });

  test("every try has the same Idempotency-Key", async () => {
    const keys: (string | null)[] = [];
    resetUpstream((request) => {
      keys.push(request.headers.get("Idempotency-Key"));
      return Response.json({}, { status: keys.length === 1 ? 503 : 200 });
    });
    await callAny({ method: "POST", headers: { "Idempotency-Key": "k-1" } });
    expect(keys).toEqual(["k-1", "k-1"]);
  });
});

test("each try has a permit of its own, with a higher fence", async () => {
  respondWith(503, 503);
  const { lines } = await captureLogs(async () => callAny());
  const responded = lines.filter(({ message }) => message === "upstream responded");
  expect(responded.map(({ status, fence }) => [status, fence])).toEqual([
    [503, 1],
    [503, 2],
    [200, 3],
  ]);
  expect(await totalsOf("client-any")).toMatchObject({
    granted: 3,
    retries: 2,
    outcomes: { ok: 1, failed: 2 },
  });
});

test("no permit is held between tries: with a concurrency of one, another call goes in between", async () => {
  // The longest possible pause.
  vi.spyOn(Math, "random").mockReturnValue(0.999);
  const gate = Promise.withResolvers<void>();
  resetUpstream(async () => {
    if (upstream.order.length > 1) return Response.json({});
    await gate.promise;
    return Response.json({}, { status: 503 });
  });
  const fetchAs = async (id: string) =>
    callForJson("/fetch/client-single/x", { headers: { "X-Request-Id": id } });
  const retried = fetchAs("retried");
  await expect.poll(() => upstream.order).toEqual(["retried"]);
  const other = fetchAs("other");
  await expect.poll(async () => (await loadOf("client-single")).waiting).toBe(1);
  gate.resolve();
  await other;
  expect(await loadOf("client-single")).toEqual(IDLE);
  expect((await retried).status).toBe(200);
  expect(upstream.order).toEqual(["retried", "other", "retried"]);
  expect(upstream.maxInFlight).toBe(1);
});

test("the pause before a retry has full jitter, and doubles with each try", async () => {
  const pausesMs: number[] = [];
  const random = vi.spyOn(Math, "random").mockReturnValue(0.5);
  const wait = vi.spyOn(scheduler, "wait").mockImplementation(async (ms) => {
    pausesMs.push(ms);
  });
  respondWith(429, 429);
  await callAny();
  random.mockReturnValue(0);
  respondWith(429, 429);
  await callAny();
  wait.mockRestore();
  expect(pausesMs).toEqual([100, 200, 0, 0]);
});

describe("the retry budget", () => {
  test("limits the retries of all calls together; beyond it the upstream's response is passed on, with its body", async () => {
    // 429 without Retry-After: neither a pause nor the breaker interferes.
    resetUpstream(() => Response.json({ why: "too many" }, { status: 429, headers: { "X-Custom": "1" } }));
    const calls = await Promise.all([...Array(20)].map(async () => callForJson("/fetch/client-wide/x")));
    for (const { status, body, headers } of calls) {
      expect([status, body, headers.get("X-Custom")]).toEqual([429, { why: "too many" }, "1"]);
    }
    // Ten in reserve, and at most two that the twenty calls earn.
    expect(upstream.order.length).toBeGreaterThanOrEqual(30);
    expect(upstream.order.length).toBeLessThanOrEqual(32);
    const { retries, retriesRefused } = await totalsOf("client-wide");
    expect([retries, retriesRefused > 0]).toEqual([upstream.order.length - 20, true]);
    const next = await callForJson("/fetch/client-wide/x");
    expect([next.status, next.headers.get("Server-Timing")]).toEqual([
      429,
      expect.not.stringContaining("tries"),
    ]);
    expect(await loadOf("client-wide")).toEqual(IDLE);
  });
});

describe("Retry-After", () => {
  test("is respected before a retry", async () => {
    let firstAtMs = 0;
    resetUpstream(() => {
      if (upstream.order.length > 1) return Response.json({});
      firstAtMs = Date.now();
      return Response.json({}, { status: 429, headers: { "Retry-After": "1" } });
    });
    expect((await callAny()).status).toBe(200);
    expect(Date.now() - firstAtMs).toBeGreaterThanOrEqual(995);
    expect(upstream.order).toHaveLength(2);
  });

  test.each([
    ["in seconds", () => "60"],
    ["as a date", () => new Date(Date.now() + 60_000).toUTCString()],
  ])(
    "%s, longer than max_wait_ms: the response is passed on at once, and the next call is refused",
    async (_name, after) => {
      const retryAfter = after();
      resetUpstream(() =>
        Response.json({ why: "too many" }, { status: 429, headers: { "Retry-After": retryAfter } }),
      );
      const { status, body, headers } = await callForJson("/fetch/client-hasty/x");
      expect([status, body, headers.get("Retry-After")]).toEqual([429, { why: "too many" }, retryAfter]);
      expect(upstream.order).toHaveLength(1);
      const next = await callForJson("/fetch/client-hasty/x");
      expect([next.status, next.body.type]).toEqual([503, "urn:sluice:problem:paused"]);
      expect(Number(next.headers.get("Retry-After"))).toBeGreaterThan(55);
      expect(Number(next.headers.get("Retry-After"))).toBeLessThanOrEqual(61);
      expect(upstream.order).toHaveLength(1);
    },
  );
});

test("nothing of a failed try shows in the response of the one that succeeds", async () => {
  resetUpstream(() =>
    upstream.order.length === 1
      ? new Response("busy", { status: 503, headers: { "X-Busy": "1" } })
      : Response.json({ fine: true }),
  );
  const { status, headers, body } = await callAny();
  expect([status, headers.get("X-Busy"), headers.get("Proxy-Status"), body]).toEqual([
    200,
    null,
    null,
    { fine: true },
  ]);
});

test("a call whose client has gone is not retried", async () => {
  const open = holdUpstream(() => Response.json({}, { status: 503 }));
  const client = new AbortController();
  const call = callWorker("/fetch/client-any/x", { signal: client.signal });
  await expect.poll(() => upstream.inFlight).toBe(1);
  client.abort();
  open();
  const { response, settled } = await call;
  await response.text();
  await settled();
  expect(upstream.order).toHaveLength(1);
  expect(await loadOf("client-any")).toEqual(IDLE);
});

test("an upstream that fails opens the breaker: calls are refused at once, and do not reach it", async () => {
  resetUpstream(() => Response.json({}, { status: 500 }));
  for (let call = 0; call < 10; call++) await callForJson("/fetch/client-once/x");
  const { status, body, headers } = await callForJson("/fetch/client-once/x");
  expect([status, body.type, headers.get("Retry-After")]).toEqual([
    503,
    "urn:sluice:problem:breaker-open",
    "2",
  ]);
  expect(upstream.order).toHaveLength(10);
});

describe("a small response with a Content-Length", () => {
  /** Ten bytes are announced and four are sent. Then nothing follows, or the connection ends. */
  function half(then: "stalls" | "breaks off"): Response {
    const { readable, writable } = new FixedLengthStream(10);
    const writer = writable.getWriter();
    const rest = async () => {
      await writer.write(new TextEncoder().encode("half"));
      if (then === "stalls") await scheduler.wait(20_000);
      await writer.abort(new Error("broke off"));
    };
    rest().catch(() => {});
    return new Response(readable, { headers: { "Content-Length": "10" } });
  }

  test("is fetched again when it breaks off, since nothing of it has been passed on", async () => {
    resetUpstream(() => (upstream.order.length === 1 ? half("breaks off") : Response.json({ whole: true })));
    const { status, body } = await callAny();
    expect([status, body, upstream.order.length]).toEqual([200, { whole: true }, 2]);
    expect(await loadOf("client-any")).toEqual(IDLE);
  });

  test("is a 504 when it stalls", async () => {
    resetUpstream(() => half("stalls"));
    const { status, body } = await callForJson("/fetch/client-impatient/x");
    expect([status, body.type]).toEqual([504, "urn:sluice:problem:upstream-timeout"]);
    expect(await loadOf("client-impatient")).toEqual(IDLE);
  });

  test("releases its permit before a slow client has read it", async () => {
    resetUpstream(() => new Response("x".repeat(1000), { headers: { "Content-Length": "1000" } }));
    const { response } = await callWorker("/fetch/client-any/x");
    await expect.poll(async () => loadOf("client-any")).toEqual(IDLE);
    expect((await response.text()).length).toBe(1000);
  });
});

test("refused redirects of one path do not count as failures of the upstream", async () => {
  resetUpstream((request) =>
    new URL(request.url).pathname === "/away"
      ? new Response(null, { status: 302, headers: { Location: "https://elsewhere.example/" } })
      : Response.json({ fine: true }),
  );
  for (let i = 0; i < 12; i++) expect((await callForJson("/fetch/client-any/away")).status).toBe(502);
  expect((await callForJson("/fetch/client-any/x")).status).toBe(200);
  expect((await totalsOf("client-any")).outcomes).toMatchObject({ failed: 0, unknown: 12, ok: 1 });
});

test("a 429 that is too long to read ahead is passed on whole, and still pauses the upstream", async () => {
  const long = "x".repeat(100_000);
  resetUpstream(() => {
    const body = new Blob([long]).stream();
    return new Response(body, { status: 429, headers: { "Retry-After": "5" } });
  });
  const { response, settled } = await callWorker("/fetch/client-any/x");
  expect([response.status, (await response.text()).length]).toEqual([429, long.length]);
  await settled();
  expect((await env.SEMAPHORE.getByName("client-any").status()).obstacle?.is).toBe("paused");
});

test("an error response has Server-Timing", async () => {
  respondWith(0, 0, 0);
  const { status, headers } = await callAny();
  expect([status, headers.get("Server-Timing")]).toEqual([
    502,
    expect.stringMatching(/^queue;dur=\d+, upstream;dur=\d+;desc="3 tries"$/),
  ]);
});
