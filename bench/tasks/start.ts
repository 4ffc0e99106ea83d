/**
 * How soon a task starts, and how many run per second: Sluice, and everything that could be used in its place.
 *
 * All servers run all the time. In each round each of them gets the same loads, one after the other, so that all have
 * the same conditions. A load is over when every acknowledged task has finished.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { type Column, type Figure, median } from "../table.ts";
import { sendAtRate, sendBusily } from "./load.ts";
import type { TaskServer } from "./servers.ts";

const ROUNDS = 5;
export const RATE = 200;
const RATE_S = 2;
export const CLIENTS = 40;
const BUSY_S = 2;
const WARM_UP_REQUESTS = 400;
/** How long after the last response all tasks must have finished. */
const SETTLE_MS = 20_000;
const POLL_MS = 10;
export const UNFINISHED = "acknowledged, not done";

export interface Way {
  name: string;
  server: TaskServer;
  path: string;
  /** Returns how many tasks have finished, as a number in JSON. */
  finishedPath: string;
}

/** The result of one busy load. */
interface Busy {
  requestsPerSecond: number;
  finishedPerSecond: number;
}

class Results {
  readonly busy: Busy[] = [];
  readonly startsAtRateMs: number[] = [];
  readonly startsBusyMs: number[] = [];
  unfinished = 0;
}

export interface Comparison {
  columns: Column[];
  /** Sluice's figure ÷ the figure of the way with this name: the median of all rounds. */
  ratioTo: (name: string, figure: keyof Busy) => number;
}

/** Measures the ways. The first one is Sluice. */
export async function compareStarts(ways: Way[]): Promise<Comparison> {
  const runs: { way: Way; results: Results; amount: number }[] = [];
  for (const way of ways) runs.push({ way, results: new Results(), amount: await warmUp(way) });
  for (let round = 1; round <= ROUNDS; round++) {
    for (const { way, results, amount } of runs) {
      console.error(`round ${round} of ${ROUNDS}: ${way.name} …`);
      await loadAtRate(way, results);
      await loadBusily(way, results, amount);
    }
  }
  const resultsOf = (name: string) => runs.find(({ way }) => way.name === name)?.results.busy ?? [];
  const ours = runs[0]?.results.busy ?? [];
  return {
    columns: runs.map(({ way, results }) => ({ name: way.name, figures: describe(results) })),
    ratioTo: (name, figure) => {
      const theirs = resultsOf(name);
      return median(ours.map((busy, i) => busy[figure] / (theirs[i]?.[figure] ?? Number.NaN)));
    },
  };
}

/**
 * Returns how many tasks keep the server busy for `BUSY_S`. A queue accepts messages faster than it delivers them, so
 * its responses come sooner; sending more would only make the rest of the round wait.
 */
async function warmUp(way: Way): Promise<number> {
  console.error(`warming up: ${way.name} …`);
  const send = async (amount: number) => {
    const before = await readFinished(way);
    const startMs = performance.now();
    await sendBusily(url(way), way.server.tickets, amount, CLIENTS);
    await untilFinished(way, before + amount);
    return (amount * 1000) / (performance.now() - startMs);
  };
  const first = await send(WARM_UP_REQUESTS);
  const second = await send(Math.max(WARM_UP_REQUESTS, Math.round(first)));
  way.server.tickets.takeStartsMs();
  return Math.max(WARM_UP_REQUESTS, Math.round(second * BUSY_S));
}

async function loadAtRate(way: Way, results: Results): Promise<void> {
  const { server } = way;
  const before = await readFinished(way);
  const amount = RATE * RATE_S;
  await sendAtRate(url(way), server.tickets, amount, RATE);
  results.unfinished += await untilFinished(way, before + amount);
  results.startsAtRateMs.push(...server.tickets.takeStartsMs());
}

async function loadBusily(way: Way, results: Results, amount: number): Promise<void> {
  const { server } = way;
  const before = await readFinished(way);
  const startMs = performance.now();
  const requestsPerSecond = await sendBusily(url(way), server.tickets, amount, CLIENTS);
  const unfinished = await untilFinished(way, before + amount);
  const tookS = (performance.now() - startMs) / 1000;
  results.unfinished += unfinished;
  results.startsBusyMs.push(...server.tickets.takeStartsMs());
  results.busy.push({ requestsPerSecond, finishedPerSecond: (amount - unfinished) / tookS });
}

/** Waits until `expected` tasks have finished. Returns how many have not after `SETTLE_MS`. */
async function untilFinished(way: Way, expected: number): Promise<number> {
  const deadlineMs = performance.now() + SETTLE_MS;
  for (;;) {
    const missing = expected - (await readFinished(way));
    if (missing <= 0 || performance.now() > deadlineMs) return Math.max(0, missing);
    await sleep(POLL_MS);
  }
}

async function readFinished({ server, finishedPath }: Way): Promise<number> {
  const response = await fetch(`${server.url}${finishedPath}`);
  return z.number().parse(await response.json());
}

const url = ({ server, path }: Way) => `${server.url}${path}`;

function describe({ busy, startsAtRateMs, startsBusyMs, unfinished }: Results): Figure[] {
  return [
    ...describeStarts(`${RATE} requests/s`, startsAtRateMs),
    {
      what: `${CLIENTS} clients: requests/s`,
      value: median(busy.map((b) => b.requestsPerSecond)),
      digits: 0,
    },
    { what: `${CLIENTS} clients: done/s`, value: median(busy.map((b) => b.finishedPerSecond)), digits: 0 },
    ...describeStarts(`${CLIENTS} clients`, startsBusyMs),
    { what: UNFINISHED, value: unfinished },
  ];
}

/** Empty for a way that starts no task. */
function describeStarts(load: string, startsMs: number[]): Figure[] {
  const sortedMs = startsMs.toSorted((a, b) => a - b);
  const percentile = (share: number) => sortedMs[Math.floor(share * sortedMs.length)] ?? Number.NaN;
  return sortedMs.length === 0
    ? []
    : [
        { what: `${load}: start p50, ms`, value: percentile(0.5) },
        { what: `${load}: start p99, ms`, value: percentile(0.99) },
      ];
}
