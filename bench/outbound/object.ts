/**
 * What the Semaphore object costs, measured from within workerd by the Worker beside this file.
 *
 * Acquire + release is compared with two calls that do nothing but write one row each: that much a durable permit
 * costs however little is decided. Both alternate, several times, so that whatever else the machine does at the
 * moment slows both. The figures are medians of what each round gave.
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
const SHORT_LINE = 10;
const LONG_LINE = 10_000;
const GRANTS = 3_000;

const lineSchema = z.object({ roundMs: z.number(), drainMs: z.number() });

export async function measureObject(): Promise<Figure[]> {
  await using worker = await startBenchWorker();
  return [
    ...(await comparePairs(worker, 1)),
    ...(await comparePairs(worker, PARALLEL)),
    ...(await compareLines(worker)),
  ];
}

async function startBenchWorker(): Promise<Workerd> {
  const source = readFileSync(join(import.meta.dirname, "worker.ts"), "utf8");
  const patience = { max_waiters: 100_000, max_wait_ms: 300_000 };
  const origin = "http://127.0.0.1:9"; // never called
  return startWorkerd({
    vars: {
      ACCESS: "local",
      DATA_UPSTREAM: "wide",
      UPSTREAMS: { wide: { origin, concurrency: 1_000 }, narrow: { origin, concurrency: 1, ...patience } },
    },
    around: { code: stripTypeScriptTypes(source), objects: [{ name: "BASELINE", class_name: "Baseline" }] },
  });
}

/** One pair after the other, or `parallel` at a time. */
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

/** A round is: a release, the grant of the next in line, and somebody new at the end of the line. */
async function compareLines(worker: Workerd): Promise<Figure[]> {
  const timeLine = async (waiting: number) => {
    const response = await fetch(`${worker.url}/line?waiting=${waiting}&rounds=${GRANTS}`);
    return lineSchema.parse(await response.json());
  };
  await timeLine(SHORT_LINE); // warms up
  const rounds: Record<"short" | "long", z.output<typeof lineSchema>>[] = [];
  for (let i = 0; i < ALTERNATIONS; i++)
    rounds.push({ short: await timeLine(SHORT_LINE), long: await timeLine(LONG_LINE) });
  const name = (waiting: number) => `${waiting.toLocaleString("en")} waiting`;
  return [
    {
      what: `grant, ${name(SHORT_LINE)}: µs`,
      value: 1000 * median(rounds.map(({ short }) => short.roundMs)),
      digits: 0,
    },
    {
      what: `grant, ${name(LONG_LINE)}: µs`,
      value: 1000 * median(rounds.map(({ long }) => long.roundMs)),
      digits: 0,
    },
    {
      what: `grant, ${name(LONG_LINE)} ÷ ${name(SHORT_LINE)} (≤ 1.2)`,
      value: median(rounds.map(({ short, long }) => long.roundMs / short.roundMs)),
      digits: 2,
    },
    {
      what: `grant while ${name(LONG_LINE)} are drained: µs`,
      value: 1000 * median(rounds.map(({ long }) => long.drainMs)),
      digits: 0,
    },
  ];
}

async function timeGet(url: string): Promise<number> {
  const startMs = performance.now();
  const response = await fetch(url);
  const said = await response.text();
  if (response.status !== 200) throw new Error(`${url}: ${response.status} ${said}`);
  return performance.now() - startMs;
}
