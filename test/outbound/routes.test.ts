import { abortAllDurableObjects, env, reset } from "cloudflare:test";
import { beforeEach, describe, expect, test } from "vitest";
import { type CallOptions, callForJson, callWorker, captureLogs } from "../support/call.ts";
import { resetUpstream, upstream } from "../support/scripted-upstream.ts";

const fromUpstream = (name: string): CallOptions => ({ variables: { DATA_UPSTREAM: name } });
/** How many hold a permit, and how many wait. */
async function status(name = "scripted") {
  const { held, waiting } = await env.SEMAPHORE.getByName(name).status();
  return { held: held.count, waiting: waiting.count };
}

/** An answer that comes too late for everybody. */
async function slowly(): Promise<Response> {
  await scheduler.wait(20_000);
  return Response.json({});
}

beforeEach(async () => {
  await reset(); // breakers, pauses and leases of the test before
  resetUpstream();
});

test("GET /data gives the upstream's JSON", async () => {
  resetUpstream((request) => Response.json({ path: new URL(request.url).pathname, n: 1 }));
  const { status: code, headers, body } = await callForJson("/data");
  expect([code, headers.get("Content-Type"), body]).toEqual([
    200,
    "application/json",
    { path: "/todos/1", n: 1 },
  ]);
  expect(await status()).toEqual({ held: 0, waiting: 0 });
});

test("the demo upstream answers /todos/{n}, a little late", async () => {
  const { status: code, body } = await callForJson("/data", fromUpstream("demo"));
  expect([code, body.id, body.title]).toEqual([200, 1, expect.any(String)]);
  const missing = await captureLogs(async () =>
    callForJson("/data", { variables: { DATA_UPSTREAM: "demo", DATA_PATH: "/nothing" } }),
  );
  expect(missing.value.status).toBe(503);
});

test("what the caller shows to Sluice does not travel on", async () => {
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
  expect([...seen.keys()].toSorted()).toEqual(["accept", "user-agent", "via", "x-request-id"]);
  expect(seen.get("X-Request-Id")).toBe("trace-42");
});

describe("50 calls at once", () => {
  const names = [...Array(50).keys()].map((n) => `call-${n}`);

  test("never show the upstream more than 5, are served in the order of arrival, and leave nothing behind", async () => {
    resetUpstream(async () => {
      await scheduler.wait(5 + Math.random() * 10);
      return Response.json({});
    });
    const calls = names.map((name) => callForJson("/data", { headers: { "X-Request-Id": name } }));
    const codes = (await Promise.all(calls)).map((answer) => answer.status);
    expect(codes).toEqual(names.map(() => 200));
    expect(upstream.mostInFlight).toBe(5);
    expect(upstream.order).toEqual(names);
    expect(await status()).toEqual({ held: 0, waiting: 0 });
  });

  test("get through, never more than 5 at once, although the semaphore restarts meanwhile", async () => {
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
    const codes = (await Promise.all(calls)).map((answer) => answer.status);
    expect(codes).toEqual(names.map(() => 200));
    expect(upstream.mostInFlight).toBe(5);
    expect(await status()).toEqual({ held: 0, waiting: 0 });
    // A permit that a restart had lost would come back only when its lease ends, after ten seconds.
    expect(Date.now() - startedAtMs).toBeLessThan(6000);
  });
});

test("a permit is held until the body has ended, not only until its head", async () => {
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
  await expect.poll(async () => (await status("single")).waiting).toBe(1);
  expect((await status("single")).held).toBe(1);
  expect(upstream.order).toHaveLength(1);
  more.resolve();
  expect([(await call).status, (await second).status]).toEqual([200, 200]);
  expect(upstream.mostInFlight).toBe(1);
});

test("the upstream's JSON is sent on as it is written: large numbers stay what they are", async () => {
  const text = '{"id": 12345678901234567890, "ratio": 1.0}';
  resetUpstream(() => new Response(text));
  const { response, settled } = await callWorker("/data");
  expect(await response.text()).toBe(text);
  await settled();
});

test("a redirect is not followed", async () => {
  resetUpstream(() => Response.redirect("http://localhost/elsewhere"));
  await captureLogs(async () => callForJson("/data"));
  expect(upstream.order).toHaveLength(1);
});

describe("when the upstream fails, the answer is 503 External API request failed, and the permit is free again", () => {
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
    ["204, and so no JSON", () => new Response(null, { status: 204 })],
    ["no JSON", () => new Response("<html>")],
    ["half a body", () => new Response(broken())],
    [
      "an exception",
      () => {
        throw new Error("upstream bug");
      },
    ],
  ])("%s", async (name, answer) => {
    resetUpstream(answer);
    const { value, lines } = await captureLogs(async () => callForJson("/data"));
    expect([value.status, value.body.detail]).toEqual([503, "External API request failed"]);
    expect(value.headers.get("Content-Type")).toBe("application/problem+json");
    // One line for each try, with what came of it; only connection failures are worth another.
    expect(lines.length).toBe(name === "an exception" ? 3 : 1);
    for (const line of lines) expect(line).toMatchObject({ upstream: "scripted", fence: expect.any(Number) });
    expect(await status()).toEqual({ held: 0, waiting: 0 });
  });

  test("nobody listens there", async () => {
    const { value, lines } = await captureLogs(async () => callForJson("/data", fromUpstream("unreachable")));
    const cause = expect.objectContaining({ error: expect.stringMatching(/network|connect|refused/i) });
    expect(lines).toEqual(
      [1, 2, 3].map(() => expect.objectContaining({ message: "upstream failed", cause })),
    );
    expect([value.status, value.body.detail]).toEqual([503, "External API request failed"]);
    expect(await status("unreachable")).toEqual({ held: 0, waiting: 0 });
  });

  test.each<[string, () => Response | Promise<Response>]>([
    ["no answer", slowly],
    ["no end of the body", () => new Response(new ReadableStream({ pull: () => scheduler.wait(20_000) }))],
  ])("%s within its timeout", async (_name, answer) => {
    resetUpstream(answer);
    const startedAtMs = Date.now();
    const { value } = await captureLogs(async () => callForJson("/data", fromUpstream("impatient")));
    expect([value.status, value.body.detail]).toEqual([503, "External API request failed"]);
    expect(Date.now() - startedAtMs).toBeGreaterThanOrEqual(90);
    expect(Date.now() - startedAtMs).toBeLessThan(2000);
    expect(await status("impatient")).toEqual({ held: 0, waiting: 0 });
  });
});

describe("when there is no permit", () => {
  test("a full queue is a 503 of its own type, with Retry-After", async () => {
    const gate = Promise.withResolvers<void>();
    resetUpstream(async () => {
      await gate.promise;
      return Response.json({});
    });
    const inside = [...Array(3)].map(() => callForJson("/data", fromUpstream("single")));
    await expect.poll(async () => (await status("single")).waiting).toBe(2);
    const { status: code, headers, body } = await callForJson("/data", fromUpstream("single"));
    expect([code, body.type]).toEqual([503, "urn:sluice:problem:queue-full"]);
    expect(Number(headers.get("Retry-After"))).toBeGreaterThanOrEqual(1);
    gate.resolve();
    expect((await Promise.all(inside)).map((answer) => answer.status)).toEqual([200, 200, 200]);
  });

  test("a wait that takes too long is a 503 of its own type, with Retry-After", async () => {
    resetUpstream(slowly);
    const holder = captureLogs(async () => callForJson("/data", fromUpstream("short-wait")));
    await expect.poll(async () => (await status("short-wait")).held).toBe(1);
    const { status: code, headers, body } = await callForJson("/data", fromUpstream("short-wait"));
    expect([code, body.type, headers.get("Retry-After")]).toEqual([
      503,
      "urn:sluice:problem:wait-limit",
      "1",
    ]);
    await holder;
  });
});

describe("a caller that goes away", () => {
  test("while it waits leaves the line at once", async () => {
    const gate = Promise.withResolvers<void>();
    resetUpstream(async () => {
      await gate.promise;
      return Response.json({});
    });
    const client = new AbortController();
    const holder = callForJson("/data", fromUpstream("single"));
    await expect.poll(async () => (await status("single")).held).toBe(1);
    const waiter = captureLogs(async () =>
      callForJson("/data", { ...fromUpstream("single"), signal: client.signal }),
    );
    await expect.poll(async () => (await status("single")).waiting).toBe(1);
    client.abort();
    await expect.poll(async () => (await status("single")).waiting).toBe(0);
    await waiter;
    expect(upstream.order).toHaveLength(1);
    gate.resolve();
    expect((await holder).status).toBe(200);
  });

  test("during its call keeps its permit until the upstream has answered: it may well be at work", async () => {
    const gate = Promise.withResolvers<void>();
    resetUpstream(async () => {
      await gate.promise;
      return Response.json({});
    });
    const client = new AbortController();
    const { variables } = fromUpstream("single");
    const call = callForJson("/data", { variables: variables ?? {}, signal: client.signal });
    await expect.poll(() => upstream.inFlight).toBe(1);
    client.abort();
    const next = callForJson("/data", fromUpstream("single"));
    await expect.poll(async () => (await status("single")).waiting).toBe(1);
    expect(upstream.mostInFlight).toBe(1);
    gate.resolve();
    await call;
    expect((await next).status).toBe(200);
    expect(upstream.mostInFlight).toBe(1);
  });
});

test("a semaphore that does not answer is a 503, not a bug", async () => {
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

test("a permit is given back by id, on a fresh stub, when the first release fails", async () => {
  let failures = 0;
  const released: string[] = [];
  const flaky = {
    idFromName: (name: string) => env.SEMAPHORE.idFromName(name),
    getByName: (name: string) => {
      const stub = env.SEMAPHORE.getByName(name);
      return {
        acquire: (request: Parameters<typeof stub.acquire>[0]) => stub.acquire(request),
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
  expect(await status()).toEqual({ held: 0, waiting: 0 });
});

test("a call that has come through this Sluice before is a 508, at /data too", async () => {
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
