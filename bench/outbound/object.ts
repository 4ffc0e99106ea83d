/**
 * What the Semaphore object costs, measured from within workerd by the Worker beside this file.
 *
 * Acquire + release is compared with two calls that only write one row each: the least that a durable permit can
 * cost. The two alternate several times, so that other load on the machine slows both. The figures are medians of the
 * rounds.
 */
import { readFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { join } from "node:path";
import { z } from "zod";
import { startWorkerd, type Workerd } from "../support/workerd.ts";
import { type Figure, median } from "../table.ts";

const ALTERNATIONS = 7;
const PAIRS = 1_000;
const PARALLEL = 20;
const SHORT_QUEUE = 10;
const LONG_QUEUE = 10_000;
const GRANTS = 3_000;

const queueSchema = z.object({ roundMs: z.number(), drainMs: z.number() });

export async function measureObject(): Promise<Figure[]> {
  await using worker = await startBenchWorker();
  return [
    ...(await comparePairs(worker, 1)),
    ...(await comparePairs(worker, PARALLEL)),
    ...(await compareQueues(worker)),
  ];
}

async function startBenchWorker(): Promise<Workerd> {
  const source = readFileSync(join(import.meta.dirname, "worker.ts"), "utf8");
  const longWait = { max_waiters: 100_000, max_wait_ms: 300_000 };
  const origin = "http://127.0.0.1:9"; // never called
  return startWorkerd({
    vars: {
      ACCESS: "local",
      DATA_UPSTREAM: "wide",
      UPSTREAMS: { wide: { origin, concurrency: 1_000 }, narrow: { origin, concurrency: 1, ...longWait } },
    },
    around: { code: stripTypeScriptTypes(source), objects: [{ name: "BASELINE", class_name: "Baseline" }] },
  });
}

/** Times pairs of calls, `parallel` at a time. */
async function comparePairs(worker: Workerd, parallel: number): Promise<Figure[]> {
  const timePairs = async (of: string) => {
    const tookMs = await timeGet(`${worker.url}/pairs/${of}?rounds=${PAIRS}&parallel=${parallel}`);
    return (tookMs * 1000) / PAIRS;
  };
  await timePairs("semaphore"); // warms up
  await timePairs("baseline");
  const rounds: { semaphore: number; baseline: number }[] = [];
  for (let i = 0; i < ALTERNATIONS; i++) {
    rounds.push({ semaphore: await timePairs("semaphore"), baseline: await timePairs("baseline") });
  }
  const how = parallel === 1 ? "one at a time" : `${parallel} at a time`;
  return [
    {
      what: `acquire + release, ${how}: µs`,
      value: median(rounds.map((round) => round.semaphore)),
      digits: 0,
    },
    {
      what: `two empty durable calls, ${how}: µs`,
      value: median(rounds.map((round) => round.baseline)),
      digits: 0,
    },
    {
      what: `acquire + release ÷ two empty calls, ${how} (≤ 2.0)`,
      value: median(rounds.map(({ semaphore, baseline }) => semaphore / baseline)),
      digits: 2,
    },
  ];
}

/** A round is a release, the grant of the next in the queue, and a new waiter at the end of the queue. */
async function compareQueues(worker: Workerd): Promise<Figure[]> {
  const timeQueue = async (waiting: number) => {
    const response = await fetch(`${worker.url}/queue?waiting=${waiting}&rounds=${GRANTS}`);
    return queueSchema.parse(await response.json());
  };
  await timeQueue(SHORT_QUEUE); // warms up
  const rounds: Record<"short" | "long", z.output<typeof queueSchema>>[] = [];
  for (let i = 0; i < ALTERNATIONS; i++)
    rounds.push({ short: await timeQueue(SHORT_QUEUE), long: await timeQueue(LONG_QUEUE) });
  const name = (waiting: number) => `${waiting.toLocaleString("en")} waiting`;
  return [
    {
      what: `grant, ${name(SHORT_QUEUE)}: µs`,
      value: 1000 * median(rounds.map(({ short }) => short.roundMs)),
      digits: 0,
    },
    {
      what: `grant, ${name(LONG_QUEUE)}: µs`,
      value: 1000 * median(rounds.map(({ long }) => long.roundMs)),
      digits: 0,
    },
    {
      what: `grant, ${name(LONG_QUEUE)} ÷ ${name(SHORT_QUEUE)} (≤ 1.2)`,
      value: median(rounds.map(({ short, long }) => long.roundMs / short.roundMs)),
      digits: 2,
    },
    {
      what: `grant while ${name(LONG_QUEUE)} are drained: µs`,
      value: 1000 * median(rounds.map(({ long }) => long.drainMs)),
      digits: 0,
    },
  ];
}

async function timeGet(url: string): Promise<number> {
  const startMs = performance.now();
  const response = await fetch(url);
  const text = await response.text();
  if (response.status !== 200) throw new Error(`${url}: ${response.status} ${text}`);
  return performance.now() - startMs;
}
