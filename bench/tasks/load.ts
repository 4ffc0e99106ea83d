/**
 * Two loads of requests that each ask for one task: a moderate one, at a fixed rate, and one that keeps its clients
 * busy. Both send a number of requests that is known beforehand and have an answer to each, so that what has been
 * acknowledged can be compared, to the last one, with what has been done.
 */
import { Agent, request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import autocannon from "autocannon";
import { SILENT, type Tickets } from "./tickets.ts";

/** Of the tasks of a busy load, one in so many says when it starts: each line costs the same, but is not nothing. */
const TOLD_ONE_IN = 10;

const HEADERS = { "Content-Type": "application/json" };

const bodyFor = (ticket: number) => JSON.stringify({ type: "bench", input: { ticket } });

/** Sends `amount` requests, `perSecond`, however long the answers take. Throws unless each is answered with 202. */
export async function sendAtRate(
  url: string,
  tickets: Tickets,
  amount: number,
  perSecond: number,
): Promise<void> {
  const agent = new Agent({ keepAlive: true });
  const startMs = performance.now();
  const answers: Promise<void>[] = [];
  for (let sent = 0; sent < amount; sent++) {
    const waitMs = startMs + (sent * 1000) / perSecond - performance.now();
    if (waitMs > 0) await sleep(waitMs);
    answers.push(post(url, agent, bodyFor(tickets.issue())));
  }
  await Promise.all(answers);
  agent.destroy();
}

async function post(url: string, agent: Agent, body: string): Promise<void> {
  const answered = Promise.withResolvers<number | undefined>();
  const headers = { ...HEADERS, "Content-Length": body.length };
  request(url, { agent, method: "POST", headers }, (response) => {
    response.resume().once("end", () => answered.resolve(response.statusCode));
  })
    .once("error", answered.reject)
    .end(body);
  const status = await answered.promise;
  if (status !== 202) throw new Error(`${url}: answered with ${status}.`);
}

/** Sends `amount` requests, from `clients` that are kept busy; gives how many were answered in a second. */
export async function sendBusily(
  url: string,
  tickets: Tickets,
  amount: number,
  clients: number,
): Promise<number> {
  let sent = 0;
  const startMs = performance.now();
  let lastAnswerMs = startMs;
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
          body: bodyFor(sent++ % TOLD_ONE_IN === 0 ? tickets.issue() : SILENT),
        }),
        onResponse: () => {
          lastAnswerMs = performance.now();
        },
      },
    ],
  });
  if (result["2xx"] !== amount) throw new Error(`${url}: of ${amount} requests ${result["2xx"]} were taken.`);
  return (amount * 1000) / (lastAnswerMs - startMs);
}
