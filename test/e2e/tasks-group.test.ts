/** Tasks that travel together to the ledger, when the request that carries them goes or dies, on the real runtime. */
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TasksServer } from "../support/node/tasks-server.ts";

/** How long a call to the ledger takes that carries an `e2e-slow`. */
const SLOW_MS = 400;
const server = new TasksServer({});

beforeAll(async () => server.start());
afterAll(async () => server[Symbol.asyncDispose]());

/** Submits some quick tasks at once, and resolves to how long that took, and how long each task took. */
async function submitCrowd(): Promise<number> {
  const beganAtMs = Date.now();
  const ids = await Promise.all(Array.from({ length: 5 }, async () => server.submit("e2e-quick")));
  const tookMs = Date.now() - beganAtMs;
  for (const id of ids) {
    expect(await server.success(id)).toMatchObject({ attempt: 1, crashes: 0 });
    expect(await server.logged(id, "quick", 1)).toHaveLength(1);
  }
  return tookMs;
}

test("what waits for a carrier that is killed goes on without it", async () => {
  await server.fetch("/~die-carrying/100");
  await submitCrowd();
});

test("what a killed carrier has carried is written once, and gets its claims again", async () => {
  // The one after this call, and so the carrier of those that come meanwhile. It is killed in the middle of its own.
  const before = server.submit("e2e-slow");
  await sleep(50);
  await server.fetch(`/~die-carrying/${SLOW_MS + 100}`);
  await submitCrowd();
  await before;
});

test("a client that hangs up while its request carries others' tasks delays none of them", async () => {
  const before = server.submit("e2e-slow");
  await sleep(50);
  const { hostname, port } = new URL(server.url);
  const body = JSON.stringify({ type: "e2e-slow" });
  const socket = connect(Number(port), hostname);
  socket.write(
    `POST /tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
  await sleep(50);
  const crowd = submitCrowd();
  // In the middle of the call that it makes.
  await sleep(SLOW_MS + 50);
  socket.resetAndDestroy();
  // Less than the second for which the others would count on a carrier that has died.
  expect(await crowd).toBeLessThan(SLOW_MS * 2 + 700);
  await before;
});
