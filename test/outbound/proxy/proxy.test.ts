/** `/fetch/{upstream}/{path}`, through the front door. */
import { env, reset } from "cloudflare:test";
import { beforeEach, describe, expect, test } from "vitest";
import { type CallOptions, callForJson, callWorker } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { expectRuntimeErrors } from "../../support/runtime-errors.ts";
import { authorization, TOKENS_BY_SCOPE } from "../../support/scopes.ts";
import { resetUpstream, respondTooLate, upstream } from "../../support/scripted-upstream.ts";
import { IDLE, loadOf } from "../../support/upstreams.ts";

const encoder = new TextEncoder();
const MIB = 1024 * 1024;

/** Calls, reads the response as text, and waits for everything left behind. */
async function callForText(path: string, options?: CallOptions) {
  const { response, settled } = await callWorker(path, options);
  const text = await response.text();
  await settled();
  return { status: response.status, headers: response.headers, text };
}

/** 80 times 64 KiB of noise, generated while it is read. */
function fiveMebibytes() {
  const chunk = crypto.getRandomValues(new Uint8Array(64 * 1024));
  let left = 80;
  const stream = () =>
    new ReadableStream<Uint8Array>({
      pull(controller) {
        if (left-- > 0) controller.enqueue(chunk.slice());
        else controller.close();
      },
    });
  return { chunk, stream };
}

function expectFiveMebibytes(received: Uint8Array, chunk: Uint8Array): void {
  expect(received.length).toBe(5 * MIB);
  for (let at = 0; at < received.length; at += chunk.length) {
    expect(Buffer.compare(received.subarray(at, at + chunk.length), chunk)).toBe(0);
  }
}

/** A body that begins with "begun " and then waits for the test to resolve or reject `end`. */
function begunBody() {
  const end = Promise.withResolvers<string>();
  let hasBegun = false;
  const body = () =>
    new ReadableStream<Uint8Array>(
      {
        async pull(controller) {
          controller.enqueue(encoder.encode(hasBegun ? await end.promise : "begun "));
          if (hasBegun) controller.close();
          hasBegun = true;
        },
      },
      { highWaterMark: 0 },
    );
  return { body, end };
}

keepQuiet();
expectRuntimeErrors("broke off", "Network connection lost", "Connection refused");
beforeEach(async () => {
  await reset();
  resetUpstream();
});

describe("the method", () => {
  test.each(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])(
    "%s goes to an upstream that allows it",
    async (method) => {
      let seen = "";
      resetUpstream((request) => {
        seen = request.method;
        return new Response(null, { status: 204 });
      });
      const { response, settled } = await callWorker("/fetch/proxy-any/x", { method });
      await settled();
      expect([response.status, seen]).toEqual([204, method]);
    },
  );

  test.each(["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])(
    "%s is a 405 where it is not allowed, with Allow and the line to add to wrangler.toml",
    async (method) => {
      const { status, headers, body } = await callForJson("/fetch/proxy-read/x", { method });
      expect([status, body.type, headers.get("Allow")]).toEqual([
        405,
        "urn:sluice:problem:method-not-allowed",
        "GET, HEAD",
      ]);
      expect(body.detail).toContain(
        `methods = ["GET", "HEAD", "${method}"] under [vars.UPSTREAMS.proxy-read]`,
      );
      expect(body.detail).toContain("wrangler.toml");
      expect(upstream.order).toEqual([]);
    },
  );

  test("that no upstream can allow is a 405 without such advice", async () => {
    const { status, body } = await callForJson("/fetch/proxy-read/x", { method: "PROPFIND" });
    expect([status, body.detail]).toEqual([405, expect.not.stringContaining("wrangler.toml")]);
  });
});

describe("the scope", () => {
  test.each([
    ["GET", "read", 200],
    ["HEAD", "read", 200],
    ["OPTIONS", "read", 200],
    ["POST", "write+read", 200],
    ["POST", "write", 403],
    ["PUT", "write+read", 200],
    ["PUT", "write", 403],
    ["PATCH", "write+read", 200],
    ["PATCH", "write", 403],
    ["DELETE", "write+read", 200],
    ["DELETE", "write", 403],
    ["GET", "write", 403],
    ["HEAD", "write", 403],
    ["GET", "admin", 403],
    ["POST", "read", 403],
    ["PUT", "read", 403],
    ["PATCH", "read", 403],
    ["DELETE", "read", 403],
    ["DELETE", "admin", 403],
    ["GET", "no", 401],
  ])("%s with a token for %s is a %d", async (method, scope, status) => {
    const options = { method, headers: authorization(scope), variables: TOKENS_BY_SCOPE };
    const { status: got } = await callForText("/fetch/proxy-any/x", options);
    expect(got).toBe(status);
    expect(upstream.order).toHaveLength(status === 200 ? 1 : 0);
  });
});

test("an upstream that is not configured is a 404", async () => {
  const { status, body } = await callForJson("/fetch/nobody/x");
  expect([status, body.type]).toEqual([404, "urn:sluice:problem:not-found"]);
  expect((await callForJson("/fetch/constructor/x")).status).toBe(404);
});

describe("a request", () => {
  test("arrives with its path, query and headers, and the configured headers", async () => {
    let seen: Request | undefined;
    resetUpstream((request) => {
      seen = request;
      return Response.json({});
    });
    const headers = { "X-Custom": "1", "X-Api-Key": "the caller's", Cookie: "a=b" };
    await callForJson("/fetch/proxy-any/a/b?x=1&x=2&y=%2F", { headers });
    expect(seen?.url).toBe("http://upstream.internal/a/b?x=1&x=2&y=%2F");
    const got = ["X-Custom", "X-Api-Key", "Cookie"].map((name) => seen?.headers.get(name));
    expect(got).toEqual(["1", "key-of-the-tests", null]);
  });

  test("has a body that arrives byte for byte if it is small", async () => {
    resetUpstream(async (request) => new Response(await request.arrayBuffer()));
    const bytes = crypto.getRandomValues(new Uint8Array(1000));
    const headers = { "Content-Length": "1000" };
    const { response, settled } = await callWorker("/fetch/proxy-any/x", {
      method: "POST",
      body: bytes,
      headers,
    });
    expect(new Uint8Array(await response.arrayBuffer())).toEqual(bytes);
    await settled();
  });

  test("has a body that arrives byte for byte if it is streamed", async () => {
    let received = new Uint8Array();
    resetUpstream(async (request) => {
      received = new Uint8Array(await request.arrayBuffer());
      return Response.json({});
    });
    const { chunk, stream } = fiveMebibytes();
    expect((await callForJson("/fetch/proxy-any/x", { method: "PUT", body: stream() })).status).toBe(200);
    expectFiveMebibytes(received, chunk);
  });

  test("reaches the upstream while it is still being sent", async () => {
    let received = "";
    resetUpstream(async (request) => {
      const decoder = new TextDecoder();
      for await (const chunk of request.body ?? []) received += decoder.decode(chunk);
      return new Response(received);
    });
    let sent = 0;
    const body = new ReadableStream<Uint8Array>({
      async pull(controller) {
        // The end is sent once the beginning has arrived.
        if (sent++ > 0) await expect.poll(() => received).toBe("begun ");
        controller.enqueue(encoder.encode(sent === 1 ? "begun " : "and ended"));
        if (sent === 2) controller.close();
      },
    });
    const { text } = await callForText("/fetch/proxy-any/x", { method: "POST", body });
    expect(text).toBe("begun and ended");
  });
});

describe("a response", () => {
  test.each([200, 201, 206, 400, 401, 403, 404, 409, 418, 422, 500, 501])(
    "with %d is passed on, with its body",
    async (status) => {
      resetUpstream(
        () =>
          new Response("as it is", { status, headers: { "Content-Type": "text/x-test", "X-Custom": "1" } }),
      );
      const { status: got, headers, text } = await callForText("/fetch/proxy-any/x");
      expect([got, text, headers.get("Content-Type"), headers.get("X-Custom")]).toEqual([
        status,
        "as it is",
        "text/x-test",
        "1",
      ]);
      expect(headers.get("Proxy-Status")).toBe(status >= 400 ? `sluice; received-status=${status}` : null);
      expect(await loadOf("proxy-any")).toEqual(IDLE);
    },
  );

  test.each([204, 304])("with %d has no body", async (status) => {
    resetUpstream(() => new Response(null, { status, headers: { ETag: '"1"' } }));
    const { status: got, headers, text } = await callForText("/fetch/proxy-any/x");
    expect([got, text, headers.get("ETag")]).toEqual([status, "", '"1"']);
    expect(await loadOf("proxy-any")).toEqual(IDLE);
  });

  test("is passed on byte for byte, however long it is", async () => {
    const { chunk, stream } = fiveMebibytes();
    resetUpstream(() => new Response(stream()));
    const { response, settled } = await callWorker("/fetch/proxy-any/x");
    expectFiveMebibytes(new Uint8Array(await response.arrayBuffer()), chunk);
    await settled();
  });

  test("is passed on while it is still being sent", async () => {
    const { body, end } = begunBody();
    resetUpstream(() => new Response(body()));
    const { response, settled } = await callWorker("/fetch/proxy-any/x");
    const reader = response.body?.getReader();
    expect(new TextDecoder().decode((await reader?.read())?.value)).toBe("begun ");
    end.resolve("and ended");
    expect(new TextDecoder().decode((await reader?.read())?.value)).toBe("and ended");
    expect((await reader?.read())?.done).toBe(true);
    await settled();
  });

  test("to HEAD has headers and no body, and its permit is free at once", async () => {
    resetUpstream(
      ({ method }) => new Response(method === "HEAD" ? null : "body", { headers: { "X-Method": method } }),
    );
    const { status, headers, text } = await callForText("/fetch/proxy-single/x", { method: "HEAD" });
    expect([status, headers.get("X-Method"), text]).toEqual([200, "HEAD", ""]);
    expect(await loadOf("proxy-single")).toEqual(IDLE);
  });

  test("to HEAD that wrongly has a body leaves no permit behind", async () => {
    resetUpstream(() => new Response("a body"));
    const { response } = await callWorker("/fetch/proxy-single/x", { method: "HEAD" });
    expect(await response.text()).toBe("");
    await expect.poll(async () => loadOf("proxy-single")).toEqual(IDLE);
  });

  test("says how long the call queued and how long the upstream took", async () => {
    resetUpstream(async () => {
      await scheduler.wait(30);
      return Response.json({});
    });
    const { headers } = await callForJson("/fetch/proxy-single/x", {});
    const [, queueMs, upstreamMs] =
      /^queue;dur=(\d+), upstream;dur=(\d+)$/.exec(headers.get("Server-Timing") ?? "") ?? [];
    expect(Number(queueMs)).toBeLessThan(1000);
    expect(Number(upstreamMs)).toBeGreaterThanOrEqual(25);
  });

  test("says so when the call queued", async () => {
    resetUpstream(async () => {
      await scheduler.wait(50);
      return Response.json({});
    });
    const [first, second] = await Promise.all([
      callForJson("/fetch/proxy-single/x"),
      callForJson("/fetch/proxy-single/x"),
    ]);
    const queued = [first, second].map(({ headers }) =>
      Number(/queue;dur=(\d+)/.exec(headers.get("Server-Timing") ?? "")?.[1]),
    );
    expect(Math.max(...queued)).toBeGreaterThanOrEqual(40);
  });

  test("cannot set a cookie or run in Sluice's origin", async () => {
    resetUpstream(
      () => new Response("<script>", { headers: { "Set-Cookie": "a=b", "Content-Type": "text/html" } }),
    );
    const { headers } = await callForText("/fetch/proxy-any/x");
    expect(headers.getSetCookie()).toEqual([]);
    expect(headers.get("Content-Security-Policy")).toBe("default-src 'none'; sandbox");
    expect(headers.get("X-Content-Type-Options")).toBe("nosniff");
  });

  test("has the request id that the upstream saw", async () => {
    const { headers } = await callForJson("/fetch/proxy-any/x", { headers: { "X-Request-Id": "trace-1" } });
    expect([upstream.order, headers.get("X-Request-Id")]).toEqual([["trace-1"], "trace-1"]);
  });
});

describe("without a usable response:", () => {
  test("nobody listens: 502", async () => {
    const { status, headers, body } = await callForJson("/fetch/proxy-nowhere/x");
    expect([status, body.type]).toEqual([502, "urn:sluice:problem:upstream-unreachable"]);
    expect(headers.get("Proxy-Status")).toBe("sluice; error=destination_unavailable");
    expect(await loadOf("proxy-nowhere")).toEqual(IDLE);
  });

  test("no head in time: 504, and the permit is free", async () => {
    resetUpstream(respondTooLate);
    const { status, headers, body } = await callForJson("/fetch/proxy-timed/x");
    expect([status, body.type]).toEqual([504, "urn:sluice:problem:upstream-timeout"]);
    expect(headers.get("Proxy-Status")).toBe("sluice; error=http_response_timeout");
    expect(await loadOf("proxy-timed")).toEqual(IDLE);
  });

  test("a body that stalls: it breaks off, and the permit is free", async () => {
    const { body } = begunBody();
    resetUpstream(() => new Response(body()));
    const { response } = await callWorker("/fetch/proxy-timed/x");
    expect(response.status).toBe(200);
    await expect(response.text()).rejects.toThrow();
    await expect.poll(async () => loadOf("proxy-timed")).toEqual(IDLE);
  });

  test("a body that keeps coming may take longer than the timeout", async () => {
    let left = 6;
    const body = () =>
      new ReadableStream<Uint8Array>({
        async pull(controller) {
          await scheduler.wait(40);
          if (left-- > 0) controller.enqueue(encoder.encode("."));
          else controller.close();
        },
      });
    resetUpstream(() => new Response(body()));
    expect((await callForText("/fetch/proxy-timed/x")).text).toBe("......");
  });

  test("a Content-Length above max_response_bytes: 502, and the permit is free", async () => {
    resetUpstream(() => new Response(new Uint8Array(1001), { headers: { "Content-Length": "1001" } }));
    const { response } = await callWorker("/fetch/proxy-small/x");
    const body: unknown = await response.json().catch(() => "not JSON");
    expect([response.status, body]).toEqual([
      502,
      expect.objectContaining({ type: "urn:sluice:problem:response-too-large" }),
    ]);
    expect(response.headers.get("Proxy-Status")).toBe("sluice; error=http_response_body_size");
    await expect.poll(async () => loadOf("proxy-small")).toEqual(IDLE);
  });

  test("a body that grows above max_response_bytes: it breaks off there, and the permit is free", async () => {
    let sent = 0;
    const body = () =>
      new ReadableStream<Uint8Array>({
        pull(controller) {
          sent += 100;
          controller.enqueue(new Uint8Array(100));
        },
      });
    resetUpstream(() => new Response(body()));
    const { response } = await callWorker("/fetch/proxy-small/x");
    let received = 0;
    const reader = response.body?.getReader();
    await expect(
      (async () => {
        for (let next = await reader?.read(); next && !next.done; next = await reader?.read())
          received += next.value.length;
      })(),
    ).rejects.toThrow();
    expect(received).toBeLessThanOrEqual(1000);
    expect(sent).toBeLessThan(64 * 1024);
    await expect.poll(async () => loadOf("proxy-small")).toEqual(IDLE);
  });

  test("a body of exactly max_response_bytes is passed on whole", async () => {
    resetUpstream(() => new Response(new Uint8Array(1000), { headers: { "Content-Length": "1000" } }));
    expect((await callForText("/fetch/proxy-small/x")).text).toHaveLength(1000);
  });

  test("a body that the upstream breaks off: it breaks off here too, and the permit is free", async () => {
    const { body, end } = begunBody();
    resetUpstream(() => new Response(body()));
    const { response } = await callWorker("/fetch/proxy-single/x");
    const text = expect(response.text()).rejects.toThrow();
    end.reject(new Error("broke off"));
    await text;
    await expect.poll(async () => loadOf("proxy-single")).toEqual(IDLE);
  });
});

describe("a loop", () => {
  test("back to this Sluice is a 508, and goes no further", async () => {
    let via = "";
    resetUpstream((request) => {
      via = request.headers.get("Via") ?? "";
      return Response.json({});
    });
    await callForJson("/fetch/proxy-any/x");
    const { status, headers, body } = await callForJson("/fetch/proxy-any/x", {
      headers: { Via: `1.1 other, ${via}` },
    });
    expect([status, body.type]).toEqual([508, "urn:sluice:problem:loop-detected"]);
    expect(headers.get("Proxy-Status")).toBe("sluice; error=proxy_loop_detected");
    expect(upstream.order).toHaveLength(1);
  });

  test("is not a call that has come through others", async () => {
    let via = "";
    resetUpstream((request) => {
      via = request.headers.get("Via") ?? "";
      return Response.json({});
    });
    expect((await callForJson("/fetch/proxy-any/x", { headers: { Via: "1.1 sluice-0000" } })).status).toBe(
      200,
    );
    expect(via).toMatch(/^1\.1 sluice-0000, 1\.1 sluice-[0-9a-f]{16}$/);
  });

  test("through the upstream itself ends at once", async () => {
    resetUpstream(async (request) => {
      const { response } = await callWorker("/fetch/proxy-any/again", {
        headers: new Headers(request.headers),
      });
      return new Response(await response.text(), response);
    });
    const { status } = await callForJson("/fetch/proxy-any/x");
    expect([status, upstream.order.length]).toEqual([508, 1]);
  });
});

describe("the permit", () => {
  test("is held while the body is being read, and free afterwards", async () => {
    const { body, end } = begunBody();
    resetUpstream(() => new Response(body()));
    const { response, settled } = await callWorker("/fetch/proxy-single/x");
    const next = callForText("/fetch/proxy-single/x");
    await expect.poll(async () => loadOf("proxy-single")).toEqual({ held: 1, waiting: 1 });
    expect(upstream.order).toHaveLength(1);
    resetUpstream();
    end.resolve("and ended");
    expect(await response.text()).toBe("begun and ended");
    await settled();
    expect((await next).status).toBe(200);
    expect(await loadOf("proxy-single")).toEqual(IDLE);
  });

  test("is free at once when the client goes away in the middle of the body; the outcome is unknown", async () => {
    const { body } = begunBody();
    resetUpstream(() => new Response(body()));
    const { response, settled } = await callWorker("/fetch/proxy-single/x");
    const reader = response.body?.getReader();
    await reader?.read();
    expect((await loadOf("proxy-single")).held).toBe(1);
    await reader?.cancel();
    await settled();
    const { held, totals } = await env.SEMAPHORE.getByName("proxy-single").status();
    expect([held.count, totals.outcomes]).toEqual([0, { ok: 0, overloaded: 0, failed: 0, unknown: 1 }]);
  });

  test("is free at once when the client goes away before it has read anything", async () => {
    const { body } = begunBody();
    resetUpstream(() => new Response(body()));
    const { response, settled } = await callWorker("/fetch/proxy-single/x");
    await response.body?.cancel(new Error("the client has gone"));
    await settled();
    expect(await loadOf("proxy-single")).toEqual(IDLE);
  });
});
