/** WebSockets to an upstream: passed through message by message, under a permit for as long as they live. */
import { env, reset } from "cloudflare:test";
import { beforeEach, describe, expect, test } from "vitest";
import { asksForWebSocket } from "../../../src/outbound/client/websocket.ts";
import { fetchUpstream } from "../../../src/outbound/index.ts";
import { callForJson, callWorker } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { authorization, TOKENS_BY_SCOPE } from "../../support/scopes.ts";
import { resetUpstream, upstream } from "../../support/scripted-upstream.ts";
import { taskContext } from "../../support/task-context.ts";
import { IDLE, loadOf } from "../../support/upstreams.ts";

const UPGRADE = {
  Upgrade: "websocket",
  "Sec-WebSocket-Version": "13",
  "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
};

/** The request that opened the latest socket, and how the upstream saw that one close. */
let seen: Request | undefined;
let closed: { code: number; reason: string } | undefined;

/** The upstream opens a WebSocket, and sends back what it gets. `close 4000 why` makes it close instead. */
function echo(): void {
  resetUpstream((request) => {
    seen = request;
    const { 0: outer, 1: inner } = new WebSocketPair();
    closed = undefined;
    inner.binaryType = "arraybuffer";
    inner.addEventListener("message", ({ data }) => {
      const [, code, reason] = /^close (\d+) ?(.*)$/.exec(String(data)) ?? [];
      if (code === undefined) return inner.send(data);
      inner.send("last words");
      inner.close(Number(code), reason);
    });
    inner.addEventListener("close", ({ code, reason }) => {
      closed = { code, reason };
    });
    inner.accept();
    const protocol = request.headers.get("Sec-WebSocket-Protocol")?.split(",")[0];
    const headers: HeadersInit = protocol === undefined ? {} : { "Sec-WebSocket-Protocol": protocol };
    return new Response(null, { status: 101, webSocket: outer, headers });
  });
}

keepQuiet();
beforeEach(async () => {
  await reset();
  echo();
});

/** Opens a socket through Sluice. `next` resolves to what comes over it, or to how it closed. */
async function open(headers: Record<string, string> = {}, path = "/fetch/socket/live") {
  const { response } = await callWorker(path, { headers: { ...UPGRADE, ...headers } });
  const socket = response.webSocket;
  if (!socket) throw new Error(`no WebSocket: ${response.status} ${await response.text()}`);
  const waiting: ((event: unknown) => void)[] = [];
  const come: unknown[] = [];
  const put = (event: unknown) => {
    const take = waiting.shift();
    if (take) take(event);
    else come.push(event);
  };
  socket.binaryType = "arraybuffer";
  socket.addEventListener("message", ({ data }) => put(data));
  socket.addEventListener("close", ({ code, reason }) => put({ code, reason }));
  socket.accept();
  const next = async () => (come.length > 0 ? come.shift() : new Promise((resolve) => waiting.push(resolve)));
  return { socket, response, next };
}

const outcomes = async () => {
  const { totals } = await env.SEMAPHORE.getByName("socket").status();
  return Object.fromEntries(Object.entries(totals.outcomes).filter(([, count]) => count > 0));
};

describe("a WebSocket", () => {
  test("carries texts and bytes, in both directions", async () => {
    const { socket, response, next } = await open();
    expect(response.status).toBe(101);
    for (const text of ["hello", "", "ü€😀", "x".repeat(500_000)]) {
      socket.send(text);
      expect(await next()).toBe(text);
    }
    socket.send(new Uint8Array([1, 2, 3]));
    expect(new Uint8Array((await next()) as ArrayBuffer)).toEqual(new Uint8Array([1, 2, 3]));
    socket.close();
  });

  test("is opened on the path, with the configured headers and the subprotocols, without the caller's own headers", async () => {
    const { socket, response } = await open(
      {
        "Sec-WebSocket-Protocol": "chat, superchat",
        "Sec-WebSocket-Version": "13",
        Cookie: "a=b",
        Origin: "http://localhost",
      },
      "/fetch/socket/live?room=1",
    );
    expect(seen?.url).toBe("http://upstream.internal/live?room=1");
    const got = ["Sec-WebSocket-Protocol", "Cookie", "Origin"].map((name) => seen?.headers.get(name));
    expect(got).toEqual(["chat, superchat", null, null]);
    expect(response.headers.get("Sec-WebSocket-Protocol")).toBe("chat");
    socket.close();
  });

  test("holds its permit while it lives, and nobody else gets in", async () => {
    const { socket } = await open();
    expect(await loadOf("socket")).toEqual({ held: 1, waiting: 0 });
    const next = callForJson("/fetch/socket/x");
    await expect.poll(async () => loadOf("socket")).toEqual({ held: 1, waiting: 1 });
    resetUpstream();
    socket.close();
    expect((await next).status).toBe(200);
    expect(await loadOf("socket")).toEqual(IDLE);
  });

  test("is released when the client closes it; the upstream gets the code and the reason", async () => {
    const { socket } = await open();
    socket.close(4001, "enough");
    await expect.poll(() => closed).toEqual({ code: 4001, reason: "enough" });
    await expect.poll(async () => loadOf("socket")).toEqual(IDLE);
    expect(await outcomes()).toEqual({ ok: 1 });
  });

  test("is released when the upstream closes it; the client gets the code and the reason", async () => {
    const { socket, next } = await open();
    socket.send("close 4002 for today");
    expect([await next(), await next()]).toEqual(["last words", { code: 4002, reason: "for today" }]);
    await expect.poll(async () => loadOf("socket")).toEqual(IDLE);
    expect(await outcomes()).toEqual({ ok: 1 });
  });

  test.each([1000, 1001, 1008, 1011, 3000, 4999])("is closed with %i", async (code) => {
    const { socket, next } = await open();
    socket.send(`close ${code}`);
    expect([await next(), await next()]).toEqual(["last words", { code, reason: "" }]);
  });
});

describe("the handshake", () => {
  test("with an upstream that has no WebSockets is a 501 that says how to allow them", async () => {
    const { status, body } = await callForJson("/fetch/socket-none/live", { headers: UPGRADE });
    expect([status, body.type]).toEqual([501, "urn:sluice:problem:not-implemented"]);
    expect(body.detail).toContain("websocket = true under [vars.UPSTREAMS.socket-none]");
    expect(upstream.order).toEqual([]);
  });

  test("of another version is a 426", async () => {
    const headers = { ...UPGRADE, "Sec-WebSocket-Version": "8" };
    const { status, headers: got } = await callForJson("/fetch/socket/live", { headers });
    expect([status, got.get("Sec-WebSocket-Version"), got.get("Upgrade")]).toEqual([426, "13", "websocket"]);
    expect(upstream.order).toEqual([]);
  });

  test.each<[string, number, Record<string, string>]>([
    ["without a version", 426, { "Sec-WebSocket-Version": "" }],
    ["of two versions", 426, { "Sec-WebSocket-Version": "13, 8" }],
    ["without a key", 400, { "Sec-WebSocket-Key": "" }],
    ["with a short key", 400, { "Sec-WebSocket-Key": "dGhlIHNhbXBs" }],
    ["with a key that is not base64", 400, { "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZ!==" }],
    ["beside another protocol", 400, { Upgrade: "h2c, websocket" }],
  ])("%s is a %i, and takes no permit", async (_name, status, headers) => {
    const response = await callForJson("/fetch/socket/live", { headers: { ...UPGRADE, ...headers } });
    expect(response.status).toBe(status);
    expect(upstream.order).toEqual([]);
  });

  test("that the upstream refuses is passed on, and its permit is free", async () => {
    resetUpstream(() => Response.json({ why: "no" }, { status: 403 }));
    const { status, body } = await callForJson("/fetch/socket/live", { headers: UPGRADE });
    expect([status, body]).toEqual([403, { why: "no" }]);
    expect(await loadOf("socket")).toEqual(IDLE);
  });

  test.each([
    ["read", 403],
    ["write", 403],
  ])("with a token for %s alone is a %i: it reads, and writes", async (scope, status) => {
    const options = { headers: { ...UPGRADE, ...authorization(scope) }, variables: TOKENS_BY_SCOPE };
    expect((await callWorker("/fetch/socket/live", options)).response.status).toBe(status);
    expect(upstream.order).toEqual([]);
  });

  test("is not answered from the cache", async () => {
    resetUpstream(() => Response.json({}, { headers: { "Cache-Control": "max-age=60" } }));
    await callForJson("/fetch/socket/cached");
    echo();
    (await open({}, "/fetch/socket/cached")).socket.close();
  });

  test("can be made from code", async () => {
    const headers = { Upgrade: "websocket" };
    const response = await fetchUpstream(taskContext(), "socket", "/live", { headers });
    expect([response.status, response.webSocket !== null]).toEqual([101, true]);
    response.webSocket?.accept();
    response.webSocket?.close();
    await expect.poll(async () => loadOf("socket")).toEqual(IDLE);
  });

  test.each<[string, string, boolean]>([
    ["GET", "websocket", true],
    ["GET", "WebSocket", true],
    ["GET", "h2c, websocket", true],
    ["GET", "h2c", false],
    ["GET", "websockets", false],
    ["GET", "", false],
    ["POST", "websocket", false],
  ])("%s with Upgrade: %s: %s", (method, value, asks) => {
    expect(asksForWebSocket(method, new Headers({ Upgrade: value }))).toBe(asks);
  });
});
