/**
 * Two loads of requests, each for one task: a moderate load at a fixed rate, and one that keeps its clients busy.
 * Both send a known number of requests and get a response to each. So the acknowledged tasks can be compared exactly
 * with the finished ones.
 */
import { Agent, request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import autocannon from "autocannon";
import { SILENT, type Tickets } from "./tickets.ts";

/** In a busy load, only one in ten tasks logs its start: each log line has a cost. */
const LOGGED_ONE_IN = 10;

const HEADERS = { "Content-Type": "application/json" };

const bodyFor = (ticket: number) => JSON.stringify({ type: "bench", input: { ticket } });

/** Sends `amount` requests at `perSecond`, however long the responses take. Throws unless each response is a 202. */
export async function sendAtRate(
  url: string,
  tickets: Tickets,
  amount: number,
  perSecond: number,
): Promise<void> {
  const agent = new Agent({ keepAlive: true });
  const startMs = performance.now();
  const responses: Promise<void>[] = [];
  for (let sent = 0; sent < amount; sent++) {
    const waitMs = startMs + (sent * 1000) / perSecond - performance.now();
    if (waitMs > 0) await sleep(waitMs);
    responses.push(post(url, agent, bodyFor(tickets.issue())));
  }
  await Promise.all(responses);
  agent.destroy();
}

async function post(url: string, agent: Agent, body: string): Promise<void> {
  const responded = Promise.withResolvers<number | undefined>();
  const headers = { ...HEADERS, "Content-Length": body.length };
  request(url, { agent, method: "POST", headers }, (response) => {
    response.resume().once("end", () => responded.resolve(response.statusCode));
  })
    .once("error", responded.reject)
    .end(body);
  const status = await responded.promise;
  if (status !== 202) throw new Error(`${url}: the status was ${status}.`);
}

/** Sends `amount` requests from busy `clients`. Returns the number of responses per second. */
export async function sendBusily(
  url: string,
  tickets: Tickets,
  amount: number,
  clients: number,
): Promise<number> {
  let sent = 0;
  const startMs = performance.now();
  let lastResponseMs = startMs;
  const result = await autocannon({
    url,
    connections: clients,
    amount,
    sampleInt: 10,
    method: "POST",
    headers: HEADERS,
    requests: [
      {
        setupRequest: (next) => ({
          ...next,
          body: bodyFor(sent++ % LOGGED_ONE_IN === 0 ? tickets.issue() : SILENT),
        }),
        onResponse: () => {
          lastResponseMs = performance.now();
        },
      },
    ],
  });
  if (result["2xx"] !== amount)
    throw new Error(`${url}: of ${amount} requests ${result["2xx"]} were accepted.`);
  return (amount * 1000) / (lastResponseMs - startMs);
}
