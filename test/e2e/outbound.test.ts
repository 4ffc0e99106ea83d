/**
 * Calls to an upstream whose every byte is seen, on plain workerd: which messages are whole, which break off, and what
 * is charged to whom.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Workerd } from "../../bench/support/workerd.ts";
import { startBuilt } from "../support/node/built-worker.ts";
import { listen, type RawServer, type Received, send } from "../support/node/raw-http.ts";

const METHODS = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"];
const OK = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";

let upstream: RawServer;
let sluice: Workerd;
let respond: (request: Received) => void;

beforeAll(async () => {
  upstream = await listen((request) => respond(request));
  const raw = { origin: upstream.origin, methods: METHODS, retries: 0 };
  sluice = await startBuilt({ raw, hasty: { ...raw, timeout_ms: 300 } });
});
afterAll(async () => {
  await sluice?.stop();
  await upstream?.[Symbol.asyncDispose]();
});
beforeEach(() => {
  respond = ({ socket }) => socket.end(OK);
});

const call = (target: string, ...rest: string[]) =>
  send(sluice.url, `${target} HTTP/1.1\r\nHost: localhost\r\n${rest.join("")}`);
const chunked = "Transfer-Encoding: chunked\r\n\r\n";
const length = (n: number) => `Content-Length: ${n}\r\n\r\n`;
/** The request that came after these. */
async function nextRequest(known: number): Promise<Received> {
  await expect.poll(() => upstream.requests.length, { timeout: 5000 }).toBe(known + 1);
  const request = upstream.requests[known];
  if (!request) throw new Error("no request");
  return request;
}

interface Status {
  breaker: string;
  held: { count: number };
  totals: { outcomes: Record<string, number> };
}
const statusOf = async (name: string) => (await (await fetch(`${sluice.url}/upstreams/${name}`)).json()) as Status;
/** What has been counted since `before`, once no permit is held. */
async function outcomesSince(name: string, before: Status): Promise<Record<string, number>> {
  await expect.poll(async () => (await statusOf(name)).held.count, { timeout: 5000 }).toBe(0);
  const { outcomes } = (await statusOf(name)).totals;
  const entries = Object.entries(outcomes).map(([is, count]) => [is, count - (before.totals.outcomes[is] ?? 0)]);
  return Object.fromEntries(entries.filter(([, count]) => count !== 0));
}

describe("an upload that breaks off", () => {
  const begin = (framing: string, part: string) => call("POST /fetch/raw/x", framing, part);
  test.each<[string, string, string, (client: Received) => void]>([
    ["chunked, reset", chunked, "3\r\nabc\r\n", ({ socket }) => socket.resetAndDestroy()],
    ["chunked, closed", chunked, "3\r\nabc\r\n", ({ socket }) => void socket.end()],
    ["chunked, in the middle of a chunk", chunked, "3\r\nabc\r\n8\r\nde", ({ socket }) => void socket.end()],
    ["chunked, with a chunk that is none", chunked, "3\r\nabc\r\n", ({ socket }) => void socket.write("zz\r\nabc\r\n")],
    ["with a length, reset", length(300_000), "abc", ({ socket }) => socket.resetAndDestroy()],
    ["with a length, closed", length(300_000), "abc", ({ socket }) => void socket.end()],
  ])("%s: breaks off at the upstream too, and is charged to nobody", async (_name, framing, part, breakOff) => {
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
  });

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

test("x", async () => {
  await sleep(1);
});
