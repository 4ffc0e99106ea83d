/** WebSockets through `/fetch`, between a client and a server of another implementation than the runtime's. */
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type Server, startHurried } from "../support/node/built-worker.ts";
import { HURRIED } from "../support/node/hurried.ts";
import { send } from "../support/node/raw-http.ts";
import {
  type End,
  listenForWebSockets,
  openWebSocket,
  type WebSocketServer,
} from "../support/node/websocket-server.ts";

/** As `expect.poll`, for a machine that is busy with other tests. */
const eventually = <T>(read: () => T) => expect.poll(read, { timeout: 10_000 });

/** A permit that is not renewed ends after this long. */
const { LEASE_MS } = HURRIED["src/outbound/client/hand-over.ts"];

let server: WebSocketServer;
let sluice: Server;

beforeAll(async () => {
  server = await listenForWebSockets();
  const { origin } = server;
  sluice = await startHurried({
    UPSTREAMS: {
      live: { origin, websocket: true },
      none: { origin },
      gone: { origin: "http://127.0.0.1:1", websocket: true, retries: 0 },
    },
  });
});
afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
});

// A test that fails must not leave its permit to the next.
afterEach(async () => {
  for (const { socket } of server.ends) socket.terminate();
  await eventually(held).toBe(0);
});

/** Both ends of a WebSocket that leads through Sluice. */
async function open(protocols: string[] = []): Promise<{ client: End; far: End }> {
  const client = openWebSocket(`${sluice.url.replace("http", "ws")}/fetch/live/chat`, protocols);
  await eventually(() => client.isOpen).toBe(true);
  const far = server.ends.at(-1);
  if (!far) throw new Error("The server has no socket.");
  return { client, far };
}

interface Status {
  held: { count: number };
  totals: { outcomes: Record<string, number>; expired: number };
}
const statusOf = async (): Promise<Status> => {
  const response = await fetch(`${sluice.url}/upstreams/live`);
  return (await response.json()) as Status;
};
const held = async () => (await statusOf()).held.count;

/** Does this, waits until no permit is held, and says how the call was counted. */
async function outcomeOf(end: () => void): Promise<string[]> {
  const before = (await statusOf()).totals.outcomes;
  expect(await held()).toBe(1);
  end();
  await eventually(held).toBe(0);
  const after = (await statusOf()).totals.outcomes;
  return Object.keys(after).filter((is) => after[is] !== before[is]);
}

test("carries texts and bytes, with the subprotocol that was chosen", async () => {
  const { client } = await open(["other", "chat"]);
  const sent = ["hello", "", "ü€😀", "x".repeat(2_000_000), Buffer.from([0, 1, 255])];
  for (const message of sent) client.socket.send(message);
  await eventually(() => client.messages.length).toBe(sent.length);
  expect([client.messages, client.socket.protocol]).toEqual([sent, "chat"]);
  client.socket.close();
  await eventually(held).toBe(0);
});

describe("its permit is free when", () => {
  test("the client closes it", async () => {
    const { client, far } = await open();
    expect(await outcomeOf(() => client.socket.close(4001, "enough"))).toEqual(["ok"]);
    const how = { code: 4001, reason: "enough" };
    await eventually(() => [far.closed, client.closed]).toEqual([how, how]);
  });

  test("the client closes it without a code", async () => {
    const { client, far } = await open();
    expect(await outcomeOf(() => client.socket.close())).toEqual(["ok"]);
    await eventually(() => far.closed?.code).toBe(1005);
  });

  test("the upstream closes it", async () => {
    const { client, far } = await open();
    expect(await outcomeOf(() => far.socket.close(4002, "for today"))).toEqual(["ok"]);
    await eventually(() => client.closed).toEqual({ code: 4002, reason: "for today" });
  });

  test("the client vanishes", async () => {
    const { client, far } = await open();
    expect(await outcomeOf(() => client.socket.terminate())).toEqual(["unknown"]);
    await eventually(() => far.closed?.code).toBe(1001);
  });

  test("the upstream vanishes, which is its failure", async () => {
    const { client, far } = await open();
    expect(await outcomeOf(() => far.socket.terminate())).toEqual(["failed"]);
    await eventually(() => client.closed?.code).toBe(1011);
  });
});

test("may be silent, and keeps its permit by renewing it", async () => {
  const { client } = await open();
  await sleep(LEASE_MS + 1_000);
  const { held: now, totals } = await statusOf();
  expect([now.count, totals.expired]).toEqual([1, 0]);
  client.socket.send("still here");
  await eventually(() => client.messages).toEqual(["still here"]);
  client.socket.close();
  await eventually(held).toBe(0);
});

test("an upstream that cannot be reached is a 502, and one without WebSockets a 501", async () => {
  const handshake = [
    "Host: localhost",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
  ].join("\r\n");
  for (const [name, status] of [
    ["gone", 502],
    ["none", 501],
  ]) {
    const received = send(sluice.url, `GET /fetch/${name}/chat HTTP/1.1\r\n${handshake}\r\n\r\n`);
    await received.until(({ isWhole }) => isWhole);
    expect(received.status).toBe(status);
    received.socket.destroy();
  }
});

test.each([
  ["nothing else", "", 426],
  ["no version", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", 426],
  ["no key", "Sec-WebSocket-Version: 13\r\n", 400],
])("a handshake with %s is refused, and holds no permit", async (_name, headers, status) => {
  const upgrade = "Host: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
  const received = send(sluice.url, `GET /fetch/live/chat HTTP/1.1\r\n${upgrade}${headers}\r\n`);
  await received.until(({ head }) => head !== "");
  received.socket.destroy();
  expect([received.status, await held()]).toEqual([status, 0]);
});

test("a response that is no WebSocket is passed on", async () => {
  const response = await fetch(`${sluice.url}/fetch/live/chat`);
  expect([response.status, await response.text()]).toEqual([200, "no WebSocket"]);
});
