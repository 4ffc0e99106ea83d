/**
 * Calls to an upstream whose every byte is seen, on plain workerd: which messages are whole, which break off, and what
 * is charged to whom.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type Server, startHurried, startOnWorkerd } from "../support/node/built-worker.ts";
import { listen, type RawServer, type Received, send } from "../support/node/raw-http.ts";

const METHODS = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"];
const OK = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";

let upstream: RawServer;
let sluice: Server;
/** With shorter times. */
let hurried: Server;
let respond: (request: Received) => void;

beforeAll(async () => {
  upstream = await listen((request) => respond(request));
  const raw = { origin: upstream.origin, methods: METHODS, retries: 0 };
  sluice = await startOnWorkerd({
    UPSTREAMS: { raw, hasty: { ...raw, timeout_ms: 300 }, calm: { ...raw, timeout_ms: 2000 } },
  });
  hurried = await startHurried({ UPSTREAMS: { raw } });
});
afterAll(async () => {
  await upstream?.[Symbol.asyncDispose]();
});
beforeEach(() => {
  respond = ({ socket }) => socket.end(OK);
});

const call = (target: string, ...rest: string[]) => callTo(sluice, target, ...rest);
const callTo = ({ url }: Server, target: string, ...rest: string[]) =>
  send(url, `${target} HTTP/1.1\r\nHost: localhost\r\n${rest.join("")}`);
const chunked = "Transfer-Encoding: chunked\r\n\r\n";
const length = (n: number) => `Content-Length: ${n}\r\n\r\n`;
/** The request that came after these. */
async function nextRequest(known: number): Promise<Received> {
  await expect.poll(() => upstream.requests.length, { timeout: 10_000 }).toBe(known + 1);
  const request = upstream.requests[known];
  if (!request) throw new Error("no request");
  return request;
}

interface Status {
  breaker: string;
  held: { count: number };
  totals: { outcomes: Record<string, number> };
}
const statusOf = async (name: string, { url } = sluice) =>
  (await (await fetch(`${url}/upstreams/${name}`)).json()) as Status;
/** What has been counted since `before`, once something has, and no permit is held. */
async function outcomesSince(name: string, before: Status, server = sluice): Promise<Record<string, number>> {
  const counted = ({ totals }: Status) =>
    Object.entries(totals.outcomes)
      .map(([is, count]): [string, number] => [is, count - (before.totals.outcomes[is] ?? 0)])
      .filter(([, count]) => count !== 0);
  let status = before;
  await expect
    .poll(
      async () => {
        status = await statusOf(name, server);
        return [status.held.count, counted(status).length > 0];
      },
      { timeout: 10_000 },
    )
    .toEqual([0, true]);
  return Object.fromEntries(counted(status));
}

describe("an upload that breaks off", () => {
  const begin = (framing: string, part: string) => call("POST /fetch/raw/x", framing, part);
  test.each<[string, string, string, (client: Received) => void]>([
    ["chunked, reset", chunked, "3\r\nabc\r\n", ({ socket }) => socket.resetAndDestroy()],
    ["chunked, closed", chunked, "3\r\nabc\r\n", ({ socket }) => void socket.end()],
    ["chunked, in the middle of a chunk", chunked, "3\r\nabc\r\n8\r\nde", ({ socket }) => void socket.end()],
    [
      "chunked, with a chunk that is none",
      chunked,
      "3\r\nabc\r\n",
      ({ socket }) => void socket.write("zz\r\nabc\r\n"),
    ],
    ["with a length, reset", length(300_000), "abc", ({ socket }) => socket.resetAndDestroy()],
    ["with a length, closed", length(300_000), "abc", ({ socket }) => void socket.end()],
  ])(
    "%s: breaks off at the upstream too, and is charged to nobody",
    async (_name, framing, part, breakOff) => {
      const before = await statusOf("raw");
      const known = upstream.requests.length;
      respond = () => {};
      const client = begin(framing, part);
      const request = await nextRequest(known);
      await request.until(({ body }) => body.includes("abc"));
      breakOff(client);
      await request.until(({ end }) => end !== undefined);
      expect(request.isWhole).toBe(false);
      expect(await outcomesSince("raw", before)).toEqual({ unknown: 1 });
    },
  );

  test.each([
    ["chunked", chunked, "3\r\nabc\r\n0\r\n\r\n"],
    ["with a length", length(3), "abc"],
    ["with a length, long", length(300_000), "abc".repeat(100_000)],
  ])("but one that is whole arrives whole: %s", async (_name, framing, body) => {
    const before = await statusOf("raw");
    const known = upstream.requests.length;
    respond = (request) => void request.until(({ isWhole }) => isWhole).then(({ socket }) => socket.end(OK));
    const client = begin(framing, body);
    await client.until(({ isWhole }) => isWhole);
    expect(client.status).toBe(200);
    const request = await nextRequest(known);
    expect(request.isWhole).toBe(true);
    expect(request.header("Content-Length")).toBe(framing === chunked ? undefined : /\d+/.exec(framing)?.[0]);
    expect(await outcomesSince("raw", before)).toEqual({ ok: 1 });
    client.socket.destroy();
  });
});

/** Without a length, the runtime would end what has been sent so far as if it were whole. */
describe("an upload without a length whose upstream responds before its end", () => {
  const early = [
    ["at once", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"],
    ["in chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"],
  ];

  test.each(early)("%s: is sent whole, and then the response passes", async (_name, response) => {
    const before = await statusOf("raw");
    const known = upstream.requests.length;
    respond = ({ socket }) => void socket.write(response);
    const client = call("POST /fetch/raw/x", chunked, "3\r\nabc\r\n");
    const request = await nextRequest(known);
    for (const part of ["3\r\ndef\r\n", "3\r\nghi\r\n", "0\r\n\r\n"]) {
      await sleep(50);
      client.socket.write(part);
    }
    await request.until(({ isWhole }) => isWhole);
    expect(request.body.replaceAll(/[^a-i]/g, "")).toBe("abcdefghi");
    await client.until(({ isWhole, body }) => isWhole && body.includes("ok"));
    expect(client.status).toBe(200);
    expect(await outcomesSince("raw", before)).toEqual({ ok: 1 });
    client.socket.destroy();
    request.socket.destroy();
  });

  test.each(early)("%s: is no success if it breaks off", async (_name, response) => {
    const before = await statusOf("raw");
    const known = upstream.requests.length;
    respond = ({ socket }) => void socket.write(response);
    const client = call("POST /fetch/raw/x", chunked, "3\r\nabc\r\n");
    const request = await nextRequest(known);
    await sleep(100);
    client.socket.end();
    await client.until(({ isWhole }) => isWhole);
    expect([client.status, client.body.includes("client-gone")]).toEqual([400, true]);
    expect(await outcomesSince("raw", before)).toEqual({ unknown: 1 });
    request.socket.destroy();
  });

  test("is cut off if that is a refusal, which passes at once", async () => {
    const refusal = "HTTP/1.1 413 Too\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno";
    respond = ({ socket }) => void socket.end(refusal);
    const client = call("POST /fetch/raw/x", chunked, "3\r\nabc\r\n");
    await client.until(({ isWhole }) => isWhole);
    expect([client.status, client.body]).toEqual([413, "no"]);
    client.socket.destroy();
  });
});

describe("an upload that stalls or crawls is the client's affair: 408, and the permit is free", () => {
  test.each([
    ["chunked", chunked, "3\r\nabc\r\n"],
    ["with a length", length(300_000), "abc"],
  ])("%s, no more comes", async (_name, framing, part) => {
    const before = await statusOf("hasty");
    const known = upstream.requests.length;
    respond = () => {};
    const client = call("POST /fetch/hasty/x", framing, part);
    await client.until(({ isWhole }) => isWhole);
    expect([client.status, client.body.includes("request-timeout")]).toEqual([408, true]);
    expect((await (await nextRequest(known)).until(({ end }) => end !== undefined)).isWhole).toBe(false);
    expect(await outcomesSince("hasty", before)).toEqual({ unknown: 1 });
    client.socket.destroy();
  });

  test("a small one with a length, before it has a permit", async () => {
    const known = upstream.requests.length;
    const client = call("POST /fetch/hasty/x", length(1000), "abc");
    await client.until(({ isWhole }) => isWhole);
    expect([client.status, upstream.requests.length]).toEqual([408, known]);
    client.socket.destroy();
  });

  test("one byte every 200 ms", async () => {
    const before = await statusOf("raw", hurried);
    respond = () => {};
    const client = callTo(hurried, "POST /fetch/raw/x", chunked);
    const timer = setInterval(() => client.socket.write("1\r\na\r\n"), 200);
    await client.until(({ isWhole }) => isWhole).finally(() => clearInterval(timer));
    expect(client.status).toBe(408);
    expect(await outcomesSince("raw", before, hurried)).toEqual({ unknown: 1 });
    client.socket.destroy();
  });
});

describe("an upload that the upstream fails is the upstream's affair:", () => {
  test.each<[string, string, number, (request: Received) => void]>([
    ["it takes nothing more: 504", "hasty", 504, ({ socket }) => void socket.pause()],
    ["it has all, and does not respond: 504", "hasty", 504, () => {}],
    ["it closes the connection: 502", "raw", 502, ({ socket }) => void socket.destroy()],
    ["it resets the connection: 502", "raw", 502, ({ socket }) => void socket.resetAndDestroy()],
  ])("%s", async (name, where, status, then) => {
    const before = await statusOf(where);
    respond = then;
    const bytes = "x".repeat(name.includes("nothing") ? 20_000_000 : 300_000);
    const client = call(`POST /fetch/${where}/x`, length(bytes.length), bytes);
    await client.until(({ isWhole }) => isWhole);
    expect(client.status).toBe(status);
    expect(await outcomesSince(where, before)).toEqual({ failed: 1 });
    client.socket.destroy();
  });

  test("a refusal before the end of the upload is passed on", async () => {
    const before = await statusOf("raw");
    respond = ({ socket }) =>
      socket.end("HTTP/1.1 413 Too\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno");
    const client = call("POST /fetch/raw/x", length(5_000_000), "x".repeat(1_000_000));
    await client.until(({ isWhole }) => isWhole);
    expect([client.status, client.body]).toEqual([413, "no"]);
    client.socket.destroy();
    expect(await outcomesSince("raw", before)).toEqual({ ok: 1 });
  });

  test("a response before the end of the upload ends the call", async () => {
    const before = await statusOf("raw");
    const known = upstream.requests.length;
    respond = ({ socket }) => void socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    const client = call("POST /fetch/raw/x", length(300_000), "a".repeat(100_000));
    await client.until(({ isWhole }) => isWhole);
    expect(client.status).toBe(200);
    expect(await outcomesSince("raw", before)).toEqual({ ok: 1 });
    await (await nextRequest(known)).until(({ end }) => end !== undefined);
    client.socket.destroy();
  });
});

describe("a GET or HEAD with a body", () => {
  test.each([
    ["GET", "with a length", length(1), "x"],
    ["GET", "chunked", chunked, "1\r\nx\r\n0\r\n\r\n"],
    ["HEAD", "with a length", length(1), "x"],
    ["GET", "with a length, long", length(500_000), "x".repeat(500_000)],
  ])("%s, %s: 400, and the upstream hears nothing of it", async (method, _name, framing, body) => {
    const before = await statusOf("raw");
    const known = upstream.requests.length;
    const client = call(`${method} /fetch/raw/x`, framing, body);
    await client.until(({ head }) => head !== "");
    expect([client.status, upstream.requests.length]).toEqual([400, known]);
    expect((await statusOf("raw")).totals).toEqual(before.totals);
    client.socket.destroy();
  });

  test.each([
    ["GET", "with the length 0", length(0), ""],
    ["GET", "chunked, with no chunk", chunked, "0\r\n\r\n"],
    ["DELETE", "with a length", length(1), "x"],
    ["OPTIONS", "with a length", length(1), "x"],
  ])("%s, %s, is none, or may be", async (method, _name, framing, body) => {
    const client = call(`${method} /fetch/raw/x`, framing, body);
    await client.until(({ isWhole }) => isWhole);
    expect(client.status).toBe(200);
    client.socket.destroy();
  });
});

test("a small upload that ends too early is a client that has gone, not a bug", async () => {
  const known = upstream.requests.length;
  const client = call("POST /fetch/raw/x", length(1000), "abc");
  client.socket.end();
  await client.until(({ isWhole }) => isWhole);
  expect([client.status, client.body.includes("client-gone")]).toEqual([400, true]);
  expect(upstream.requests).toHaveLength(known);
});

describe("lengths", () => {
  test.each([0, 1, 65_536, 65_537, 1_000_000])("of a response with %i bytes are kept", async (bytes) => {
    respond = ({ socket }) =>
      socket.end(
        `HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: ${bytes}\r\n\r\n${"x".repeat(bytes)}`,
      );
    const client = call("GET /fetch/raw/x", "\r\n");
    await client.until(({ isWhole }) => isWhole);
    expect([client.header("Content-Length"), client.header("Transfer-Encoding"), client.body.length]).toEqual(
      [String(bytes), undefined, bytes],
    );
    client.socket.destroy();
  });

  test.each([
    ["HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "5"],
    ["HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 500000000\r\n\r\n", "500000000"],
    ["GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", "5"],
    ["GET", "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello", "5"],
    [
      "GET",
      "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
      undefined,
    ],
    ["GET", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello", undefined],
  ])("%s, %j: %s", async (method, response, expected) => {
    respond = ({ socket }) => socket.end(response);
    const client = call(`${method} /fetch/raw/x`, "\r\n");
    await client.until(({ isWhole, head }) => (method === "HEAD" ? head !== "" : isWhole));
    expect([client.status, client.header("Content-Length")]).toEqual([200, expected]);
    if (method === "GET") expect(client.body).toContain("hello");
    client.socket.destroy();
  });
});

test.each(["O\tK", "  ", "", "a\tb\tc", "Größe"])(
  "the reason phrase %j is no reason to fail",
  async (reason) => {
    respond = ({ socket }) =>
      socket.end(`HTTP/1.1 200 ${reason}\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok`);
    const client = call("GET /fetch/raw/x", "\r\n");
    await client.until(({ isWhole }) => isWhole);
    expect([client.status, client.body]).toEqual([200, "ok"]);
    client.socket.destroy();
  },
);

describe("a response that breaks off", () => {
  const long = "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nabc";
  const parts = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";

  test.each([
    ["with a length", long],
    ["chunked", parts],
  ])("%s: breaks off for the client too, and is charged to the upstream", async (_name, begun) => {
    const before = await statusOf("raw");
    respond = ({ socket }) => void socket.write(begun, () => setTimeout(() => socket.destroy(), 50));
    const client = call("GET /fetch/raw/x", "\r\n");
    await client.until(({ end }) => end !== undefined);
    expect([client.status, client.isWhole]).toEqual([200, false]);
    expect(await outcomesSince("raw", before)).toEqual({ failed: 1 });
  });

  test.each([
    ["with a length", long],
    ["chunked", parts],
  ])(
    "%s, because its client has gone: ends at the upstream, and is charged to nobody",
    async (_name, begun) => {
      const before = await statusOf("raw");
      const known = upstream.requests.length;
      respond = ({ socket }) => void socket.write(begun);
      const client = call("GET /fetch/raw/x", "\r\n");
      await client.until(({ body }) => body.includes("abc"));
      client.socket.resetAndDestroy();
      await (await nextRequest(known)).until(({ end }) => end !== undefined);
      expect(await outcomesSince("raw", before)).toEqual({ unknown: 1 });
    },
  );

  test("stalls: is charged to the upstream", async () => {
    const before = await statusOf("hasty");
    respond = ({ socket }) => void socket.write(long);
    const client = call("GET /fetch/hasty/x", "\r\n");
    await client.until(({ end }) => end !== undefined);
    expect(await outcomesSince("hasty", before)).toEqual({ failed: 1 });
  });

  test("is not read: is charged to nobody", async () => {
    const before = await statusOf("calm");
    const bytes = Buffer.alloc(20_000_000, "x");
    respond = ({ socket }) => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${bytes.length}\r\n\r\n`);
      socket.write(bytes);
    };
    const client = call("GET /fetch/calm/x", "\r\n");
    client.socket.pause();
    expect(await outcomesSince("calm", before)).toEqual({ unknown: 1 });
    client.socket.destroy();
  });
});
