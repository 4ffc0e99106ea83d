import { abortAllDurableObjects, env, reset } from "cloudflare:test";
import { beforeEach, describe, expect, test } from "vitest";
import { type CallOptions, callForJson, callWorker, captureLogs } from "../support/call.ts";
import { keepQuiet } from "../support/quiet.ts";
import { expectRuntimeErrors } from "../support/runtime-errors.ts";
import { holdUpstream, resetUpstream, respondTooLate, upstream } from "../support/scripted-upstream.ts";
import { IDLE, loadOf } from "../support/upstreams.ts";

const fromUpstream = (name: string): CallOptions => ({ variables: { DATA_UPSTREAM: name } });
keepQuiet();
expectRuntimeErrors("broke off", "upstream bug", "Network connection lost", "Connection refused");
beforeEach(async () => {
  await reset(); // breakers, pauses and leases of the test before
  resetUpstream();
});

test("GET /data responds with the upstream's JSON", async () => {
  resetUpstream((request) => Response.json({ path: new URL(request.url).pathname, n: 1 }));
  const { status: code, headers, body } = await callForJson("/data");
  expect([code, headers.get("Content-Type"), body]).toEqual([
    200,
    "application/json",
    { path: "/todos/1", n: 1 },
  ]);
  expect(await loadOf("scripted")).toEqual(IDLE);
});

test("the demo upstream has /todos/{n}", async () => {
  const { status: code, body } = await callForJson("/data", fromUpstream("demo"));
  expect([code, body.id, body.title]).toEqual([200, 1, expect.any(String)]);
  const missing = await captureLogs(async () =>
    callForJson("/data", { variables: { DATA_UPSTREAM: "demo", DATA_PATH: "/nothing" } }),
  );
  expect(missing.value.status).toBe(503);
});

test("the caller's credentials do not travel", async () => {
  let seen = new Headers();
  resetUpstream((request) => {
    seen = request.headers;
    return Response.json({});
  });
  const token = "token-0123456789-0123456789-0123456789";
  const variables = { SLUICE_TOKENS: [{ name: "t", scopes: ["read"], token }] };
  const headers = {
    Authorization: `Bearer ${token}`,
    Cookie: "a=b",
    "X-Forwarded-For": "10.0.0.1",
    "X-Request-Id": "trace-42",
  };
  expect((await callForJson("/data", { variables, headers })).status).toBe(200);
  expect([...seen.keys()].toSorted()).toEqual([
    "accept",
    "accept-encoding",
    "user-agent",
    "via",
    "x-request-id",
  ]);
  expect(seen.get("X-Request-Id")).toBe("trace-42");
});

describe("50 calls at once", () => {
  const names = [...Array(50).keys()].map((n) => `call-${n}`);

  test("never exceed 5 at the upstream, are served in the order of arrival, and leave nothing behind", async () => {
    resetUpstream(async () => {
      await scheduler.wait(5 + Math.random() * 10);
      return Response.json({});
    });
    const calls = names.map((name) => callForJson("/data", { headers: { "X-Request-Id": name } }));
    const codes = (await Promise.all(calls)).map((response) => response.status);
    expect(codes).toEqual(names.map(() => 200));
    expect(upstream.maxInFlight).toBe(5);
    expect(upstream.order).toEqual(names);
    expect(await loadOf("scripted")).toEqual(IDLE);
  });

  test("get through, never more than 5 at once, while the semaphore restarts", async () => {
    resetUpstream(async () => {
      await scheduler.wait(30);
      return Response.json({});
    });
    const startedAtMs = Date.now();
    const calls = names.map(() => callForJson("/data"));
    for (let restart = 0; restart < 5; restart++) {
      await scheduler.wait(40);
      await abortAllDurableObjects();
    }
    const codes = (await Promise.all(calls)).map((response) => response.status);
    expect(codes).toEqual(names.map(() => 200));
    expect(upstream.maxInFlight).toBe(5);
    expect(await loadOf("scripted")).toEqual(IDLE);
    // A permit lost by a restart would come back only when its lease ends, after 15 seconds.
    expect(Date.now() - startedAtMs).toBeLessThan(6000);
  });
});

test("a permit is held until the end of the body, not only until the head", async () => {
  const more = Promise.withResolvers<void>();
  resetUpstream(() => {
    const body = new ReadableStream<Uint8Array>({
      async pull(controller) {
        await more.promise;
        controller.enqueue(new TextEncoder().encode("{}"));
        controller.close();
      },
    });
    return new Response(body);
  });
  const call = callForJson("/data", fromUpstream("single"));
  await expect.poll(() => upstream.order.length).toBe(1);
  const second = callForJson("/data", fromUpstream("single"));
  await expect.poll(async () => (await loadOf("single")).waiting).toBe(1);
  expect((await loadOf("single")).held).toBe(1);
  expect(upstream.order).toHaveLength(1);
  more.resolve();
  expect([(await call).status, (await second).status]).toEqual([200, 200]);
  expect(upstream.maxInFlight).toBe(1);
});

test("the upstream's JSON is passed on byte for byte: large numbers stay what they are", async () => {
  const text = '{"id": 12345678901234567890, "ratio": 1.0}';
  resetUpstream(() => new Response(text));
  const { response, settled } = await callWorker("/data");
  expect(await response.text()).toBe(text);
  await settled();
});

test("a redirect to another origin is not followed", async () => {
  resetUpstream(() => Response.redirect("http://localhost/elsewhere"));
  await captureLogs(async () => callForJson("/data"));
  expect(upstream.order).toHaveLength(1);
});

describe("when the upstream fails, the response is 503 External API request failed, and the permit is free", () => {
  const broken = () =>
    new ReadableStream({
      pull(controller) {
        controller.enqueue(new TextEncoder().encode('{"half":'));
        controller.error(new Error("broke off"));
      },
    });

  test.each<[string, () => Response | Promise<Response>]>([
    ["404", () => Response.json({}, { status: 404 })],
    ["500", () => new Response("oops", { status: 500 })],
    ["a redirect", () => Response.redirect("http://localhost/elsewhere")],
    ["204, which has no JSON", () => new Response(null, { status: 204 })],
    ["no JSON", () => new Response("<html>")],
    ["half a body", () => new Response(broken())],
    [
      "an exception",
      () => {
        throw new Error("upstream bug");
      },
    ],
  ])("%s", async (name, respond) => {
    resetUpstream(respond);
    const { value, lines } = await captureLogs(async () => callForJson("/data"));
    expect([value.status, value.body.detail]).toEqual([503, "External API request failed"]);
    expect(value.headers.get("Content-Type")).toBe("application/problem+json");
    // One line for each try; only connection failures are retried.
    expect(lines.length).toBe(name === "an exception" ? 3 : 1);
    for (const line of lines) expect(line).toMatchObject({ upstream: "scripted", fence: expect.any(Number) });
    expect(await loadOf("scripted")).toEqual(IDLE);
  });

  test("nobody listens there", async () => {
    const { value, lines } = await captureLogs(async () => callForJson("/data", fromUpstream("unreachable")));
    const cause = expect.objectContaining({ error: expect.stringMatching(/network|connect|refused/i) });
    expect(lines).toEqual(
      [1, 2, 3].map(() => expect.objectContaining({ message: "upstream failed", cause })),
    );
    expect([value.status, value.body.detail]).toEqual([503, "External API request failed"]);
    expect(await loadOf("unreachable")).toEqual(IDLE);
  });

  test.each<[string, () => Response | Promise<Response>]>([
    ["no response", respondTooLate],
    ["no end of the body", () => new Response(new ReadableStream({ pull: () => scheduler.wait(20_000) }))],
  ])("%s within its timeout", async (_name, respond) => {
    resetUpstream(respond);
    const startedAtMs = Date.now();
    const { value } = await captureLogs(async () => callForJson("/data", fromUpstream("impatient")));
    expect([value.status, value.body.detail]).toEqual([503, "External API request failed"]);
    expect(Date.now() - startedAtMs).toBeGreaterThanOrEqual(90);
    expect(Date.now() - startedAtMs).toBeLessThan(2000);
    expect(await loadOf("impatient")).toEqual(IDLE);
  });
});

describe("when there is no permit", () => {
  test("a full queue is a 503 of its own type, with Retry-After", async () => {
    const open = holdUpstream();
    const inside = [...Array(3)].map(() => callForJson("/data", fromUpstream("single")));
    await expect.poll(async () => (await loadOf("single")).waiting).toBe(2);
    const { status: code, headers, body } = await callForJson("/data", fromUpstream("single"));
    expect([code, body.type]).toEqual([503, "urn:sluice:problem:queue-full"]);
    expect(Number(headers.get("Retry-After"))).toBeGreaterThanOrEqual(1);
    open();
    expect((await Promise.all(inside)).map((response) => response.status)).toEqual([200, 200, 200]);
  });

  test("a token that has its share of the queue gets a 429, and another token a place in it", async () => {
    const token = (name: string) => `${name}-token-0123456789-0123456789-0123456789`;
    const SLUICE_TOKENS = ["a", "b"].map((name) => ({ name, scopes: ["read"], token: token(name) }));
    const as = (name: string) => ({
      site: "https://sluice.example.com",
      variables: { ...fromUpstream("single").variables, ACCESS: "tokens", SLUICE_TOKENS },
      headers: { Authorization: `Bearer ${token(name)}` },
    });
    const open = holdUpstream();
    const inside = [...Array(2)].map(() => callForJson("/data", as("a")));
    await expect.poll(async () => (await loadOf("single")).waiting).toBe(1);
    const { status: code, headers, body } = await callForJson("/data", as("a"));
    expect([code, body.type]).toEqual([429, "urn:sluice:problem:too-many-requests"]);
    const seconds = headers.get("Retry-After");
    expect(Number(seconds)).toBeGreaterThanOrEqual(1);
    expect(headers.get("RateLimit-Policy")).toBe('"queue";q=1;qu="concurrent-requests"');
    expect(headers.get("RateLimit")).toBe(`"queue";r=0;t=${seconds}`);
    inside.push(callForJson("/data", as("b")));
    await expect.poll(async () => (await loadOf("single")).waiting).toBe(2);
    open();
    expect((await Promise.all(inside)).map((response) => response.status)).toEqual([200, 200, 200]);
  });

  test("too long a wait is a 503 of its own type, with Retry-After", async () => {
    resetUpstream(respondTooLate);
    const holder = captureLogs(async () => callForJson("/data", fromUpstream("short-wait")));
    await expect.poll(async () => (await loadOf("short-wait")).held).toBe(1);
    const { status: code, headers, body } = await callForJson("/data", fromUpstream("short-wait"));
    expect([code, body.type, headers.get("Retry-After")]).toEqual([
      503,
      "urn:sluice:problem:wait-limit",
      "1",
    ]);
    await holder;
  });
});

describe("a pause", () => {
  const pause = async (paused: boolean | null) => {
    const headers = { "Content-Type": "application/json" };
    const body = JSON.stringify({ paused });
    return callForJson("/upstreams/short-wait", { method: "PATCH", headers, body });
  };

  test("by an operator says so, and that nobody knows how long it lasts", async () => {
    await pause(true);
    const { status: code, headers, body } = await callForJson("/fetch/short-wait/x");
    expect([code, body.type, headers.get("Retry-After")]).toEqual([503, "urn:sluice:problem:paused", "60"]);
    expect(body.detail).toMatch(/operator.*unknown time/);
    await pause(null);
    expect((await callForJson("/fetch/short-wait/x")).status).toBe(200);
  });

  test("by an operator says so to those that waited when it began", async () => {
    const open = holdUpstream();
    const holder = callForJson("/fetch/short-wait/x");
    await expect.poll(() => upstream.inFlight).toBe(1);
    const waiter = callForJson("/fetch/short-wait/x");
    await expect.poll(async () => (await loadOf("short-wait")).waiting).toBe(1);
    await pause(true);
    const { headers, body } = await waiter;
    expect([body.type, headers.get("Retry-After")]).toEqual(["urn:sluice:problem:paused", "60"]);
    expect(body.detail).toContain("operator");
    open();
    await holder;
  });

  test("by the upstream says so, and how long it lasts", async () => {
    resetUpstream(() => Response.json({}, { status: 429, headers: { "Retry-After": "30" } }));
    await callForJson("/fetch/short-wait/x");
    const { headers, body } = await callForJson("/fetch/short-wait/x");
    expect(Number(headers.get("Retry-After"))).toBeGreaterThan(25);
    expect(body.detail).toContain("because the upstream asked for it");
  });
});

describe("the list of upstreams", () => {
  const list = async (options?: CallOptions) => {
    const { status: code, body } = await callForJson("/upstreams", options);
    const { upstreams, unavailable } = body as { upstreams: { name: string }[]; unavailable: string[] };
    return { code, names: upstreams.map(({ name }) => name), unavailable };
  };

  test("has all of them", async () => {
    const { code, names, unavailable } = await list();
    expect([code, names.includes("scripted"), names.includes("single"), unavailable]).toEqual([
      200,
      true,
      true,
      [],
    ]);
  });

  test("has the others when a semaphore does not respond, and names that one", async () => {
    const broken = {
      idFromName: (name: string) => env.SEMAPHORE.idFromName(name),
      getByName: (name: string) =>
        name === "single"
          ? { status: async () => Promise.reject(new Error("it is away")) }
          : env.SEMAPHORE.getByName(name),
    };
    const { value, lines } = await captureLogs(async () => list({ variables: { SEMAPHORE: broken } }));
    expect([value.code, value.names.includes("scripted"), value.names.includes("single")]).toEqual([
      200,
      true,
      false,
    ]);
    expect(value.unavailable).toEqual(["single"]);
    expect(lines).toContainEqual(
      expect.objectContaining({ message: "semaphore unavailable", upstream: "single" }),
    );
  });

  test("has an upstream whose next call is due later than a Date can say", async () => {
    // Such a rate is refused. One may be left from a time when it was not.
    await env.SEMAPHORE.getByName("single").configure({ rate: { perSecond: 1e-13, burst: 1 } });
    await callForJson("/data", fromUpstream("single"));
    const { code, names } = await list();
    expect([code, names.includes("single")]).toEqual([200, true]);
    expect((await callForJson("/upstreams/single")).status).toBe(200);
  });
});

describe("the name of an upstream", () => {
  test.each([
    "/fetch/%73cripted/todos/1",
    "/fetch/scripte%64/todos/1",
    "/fetch/%73%63%72%69%70%74%65%64/todos/1",
  ])("%s is decoded, and the path is whole", async (path) => {
    resetUpstream(({ url }) => Response.json({ path: new URL(url).pathname }));
    const { status: code, body } = await callForJson(path);
    expect([code, body]).toEqual([200, { path: "/todos/1" }]);
  });

  test.each(["/fetch/%6f8/x", "/fetch/scripted%2F/x", "/fetch/%00/x", "/fetch/%ff/x", "/fetch/Scripted/x"])(
    "%s is nobody's: 404",
    async (path) => {
      expect((await callForJson(path)).status).toBe(404);
      expect(upstream.order).toEqual([]);
    },
  );
});

describe("a caller that goes away", () => {
  test("while it waits leaves the queue at once", async () => {
    const open = holdUpstream();
    const client = new AbortController();
    const holder = callForJson("/data", fromUpstream("single"));
    await expect.poll(async () => (await loadOf("single")).held).toBe(1);
    const waiter = captureLogs(async () =>
      callForJson("/data", { ...fromUpstream("single"), signal: client.signal }),
    );
    await expect.poll(async () => (await loadOf("single")).waiting).toBe(1);
    client.abort();
    await expect.poll(async () => (await loadOf("single")).waiting).toBe(0);
    await waiter;
    expect(upstream.order).toHaveLength(1);
    open();
    expect((await holder).status).toBe(200);
  });

  test("during its call keeps its permit until the upstream responds, which may still be at work", async () => {
    const open = holdUpstream();
    const client = new AbortController();
    const { variables } = fromUpstream("single");
    const call = callForJson("/data", { variables: variables ?? {}, signal: client.signal });
    await expect.poll(() => upstream.inFlight).toBe(1);
    client.abort();
    const next = callForJson("/data", fromUpstream("single"));
    await expect.poll(async () => (await loadOf("single")).waiting).toBe(1);
    expect(upstream.maxInFlight).toBe(1);
    open();
    await call;
    expect((await next).status).toBe(200);
    expect(upstream.maxInFlight).toBe(1);
  });
});

test("a semaphore that does not respond is a 503, not a 500", async () => {
  const broken = {
    idFromName: (name: string) => env.SEMAPHORE.idFromName(name),
    getByName: () => ({ acquire: async () => Promise.reject(new Error("it is away")) }),
  };
  const { value } = await captureLogs(async () => callForJson("/data", { variables: { SEMAPHORE: broken } }));
  expect([value.status, value.body.type, value.headers.get("Retry-After")]).toEqual([
    503,
    "urn:sluice:problem:semaphore-unavailable",
    "5",
  ]);
});

test("a permit is released by id, on a fresh stub, when the first release fails", async () => {
  let failures = 0;
  const released: string[] = [];
  const flaky = {
    idFromName: (name: string) => env.SEMAPHORE.idFromName(name),
    getByName: (name: string) => {
      const stub = env.SEMAPHORE.getByName(name);
      return {
        acquire: async (request: Parameters<typeof stub.acquire>[0]) => {
          const acquired = await stub.acquire(request);
          if (acquired.is === "refused") return acquired;
          const brokenTicket = {
            release: async () => Promise.reject(new Error("the object has restarted")),
            [Symbol.dispose]: () => acquired.ticket[Symbol.dispose](),
          };
          return { ...acquired, ticket: brokenTicket };
        },
        release: async (leaseId: string) => {
          if (failures++ === 0) throw new Error("the object restarts");
          released.push(leaseId);
          return stub.release(leaseId);
        },
      };
    },
  };
  expect((await callForJson("/data", { variables: { SEMAPHORE: flaky } })).status).toBe(200);
  expect([failures, released.length]).toEqual([2, 1]);
  expect(await loadOf("scripted")).toEqual(IDLE);
});

test("a call that has passed through this Sluice before is refused, by /data too", async () => {
  let via = "";
  resetUpstream((request) => {
    via = request.headers.get("via") ?? "";
    return Response.json({});
  });
  await callForJson("/data");
  const { status: code } = await callForJson("/fetch/scripted/x", { headers: { Via: via } });
  expect(code).toBe(508);
  const looped = await captureLogs(async () => callForJson("/data", { headers: { Via: via } }));
  expect(looped.value.status).toBe(503);
  expect(upstream.order).toHaveLength(1);
});
