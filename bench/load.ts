/**
 * Requests per second and latency, under a load that keeps a fixed number of clients busy.
 *
 * A response that is not 2xx ends the bench: errors are quick, and would look fast.
 */
import { setTimeout as sleep } from "node:timers/promises";
import autocannon, { type Result } from "autocannon";
import { CONCURRENCY, type Contender } from "./contender.ts";
import type { Upstream } from "./support/upstream.ts";
import type { Figure } from "./table.ts";

export const CLIENTS = 40;
const WARM_UP_S = 2;
const LOAD_S = 10;
const CEILING_S = 4;
const RATE_WARM_UP_S = 1;
const RATE_S = 4;
/** How long the load is not steady, at its beginning and at its end. */
const EDGE_MS = 1_000;
/** How long after the last response every task should have finished: the longer one takes 3 s. */
const TASKS_SETTLE_MS = 5_000;

/** `/run-tasks`: each request starts two background tasks, of 2 s and 3 s. */
export async function measureRunTasks({ server, finishedTasks }: Contender): Promise<Figure[]> {
  const url = `${server.url}/run-tasks`;
  const warmUp = await load(url, WARM_UP_S);
  const result = await load(url, LOAD_S);
  await sleep(TASKS_SETTLE_MS);
  const acknowledged = 2 * (warmUp["2xx"] + result["2xx"]);
  return [
    ...describeLoad("/run-tasks", result),
    {
      what: `/run-tasks: tasks not finished ${TASKS_SETTLE_MS / 1000} s later`,
      value: Math.max(0, acknowledged - finishedTasks()),
    },
  ];
}

/**
 * A route that calls an upstream which takes `delayMs`. The upstream itself measures how well its permits were used.
 * `what` is the name in the table.
 */
export async function measureCalls(
  what: string,
  url: string,
  upstream: Upstream,
  delayMs: number,
): Promise<Figure[]> {
  await upstream.reset(delayMs);
  await load(url, WARM_UP_S);
  await sleep(EDGE_MS);
  const [result, steady] = await Promise.all([load(url, LOAD_S), readSteady(upstream, LOAD_S)]);
  const { maxInFlight } = await upstream.read();
  return [
    ...describeLoad(what, result),
    { what: `${what}: permit utilisation`, value: steady / CONCURRENCY, digits: 3 },
    { what: `${what}: most calls in flight`, value: maxInFlight },
  ];
}

/** The highest utilisation that this machine allows: as many clients as permits call the upstream directly. */
export async function measureCeiling(upstream: Upstream, delayMs: number): Promise<number> {
  await upstream.reset(delayMs);
  const direct = load(`${upstream.url}/todos/1`, CEILING_S, CONCURRENCY);
  const [, steady] = await Promise.all([direct, readSteady(upstream, CEILING_S)]);
  return steady / CONCURRENCY;
}

/** Requests per second, for a few seconds. */
export async function measureRate(url: string): Promise<number> {
  await load(url, RATE_WARM_UP_S);
  const result = await load(url, RATE_S);
  return result["2xx"] / result.duration;
}

async function load(url: string, seconds: number, clients = CLIENTS): Promise<Result> {
  const result = await autocannon({ url, connections: clients, duration: seconds });
  if (result.errors > 0 || result.non2xx > 0) {
    throw new Error(`${url}: ${result.errors} requests failed, ${result.non2xx} responses were not 2xx.`);
  }
  return result;
}

/** The mean number of calls in flight, during the steady part of a load that starts now. */
async function readSteady(upstream: Upstream, seconds: number): Promise<number> {
  await sleep(EDGE_MS);
  await upstream.reset();
  await sleep(seconds * 1000 - 2 * EDGE_MS);
  return (await upstream.read()).meanInFlight;
}

function describeLoad(what: string, result: Result): Figure[] {
  return [
    { what: `${what}: requests/s`, value: result["2xx"] / result.duration },
    { what: `${what}: latency p50, ms`, value: result.latency.p50 },
    { what: `${what}: latency p99, ms`, value: result.latency.p99 },
  ];
}
