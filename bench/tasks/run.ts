/**
 * Tasks: how soon they start and how many run per second, compared with everything else that could start them;
 * `/run-tasks` compared with FastAPI; and what the ledger's work costs when it keeps many tasks.
 */
import { findPython, PACKAGES, startFastApi } from "../fastapi/start.ts";
import { measureRunTasks } from "../load.ts";
import { startSluice as startExamples } from "../sluice.ts";
import { type Column, renderTable } from "../table.ts";
import { CLAIMS, measureDepth, SIZES } from "./depth.ts";
import { startRivals, startSluice } from "./servers.ts";
import { CLIENTS, compareStarts, RATE, UNFINISHED, type Way } from "./start.ts";

/** The targets, each with what it was before submissions and reports travelled together. */
const MIN_SHARE_OF_INSERTS = { target: 1.2, before: "0.41–0.59" };
const MIN_SHARE_OF_FASTAPI = { target: 0.6, before: "0.17–0.30" };
const MAX_START_MS = { target: 10, before: "1.3" };
const MAX_BUSY_START_MS = { target: 10, before: "14–40" };
const MAX_GROWTH = { target: 2, before: "0.95–1.02" };
const NONE = { target: 0, before: "0" };

const INSERT = "one insert";

const MEANING = [
  "All of these run on Miniflare, over a socket straight to the Worker, past Miniflare's proxy: Sluice in one workerd,",
  "the workflow in another, the rest in a third. A start is the time from sending a request to the first line of the",
  "task's code, measured from outside by the line that it logs. The start of waitUntil, which stores nothing, is the",
  "floor. Done/s counts until every acknowledged task has finished. One insert is a call to an object that inserts a row",
  "like that of a task, and runs nothing. The queues are Miniflare's, in memory, with max_batch_timeout 0 (the platform's",
  "default is 5 s) and max_batch_size 10 and 1. They accept messages faster than they deliver them, so under load their",
  "starts reflect how long the load was. The workflow has one step. Everything that is stored is on this machine's disk,",
  "in TMPDIR.",
].join("\n");

/** Measures everything about tasks, and returns the text to print. */
export async function benchTasks(): Promise<string> {
  return [await benchStarts(), await benchExample(), await benchDepth()].join("\n\n");
}

async function benchStarts(): Promise<string> {
  await using stack = new AsyncDisposableStack();
  const sluice = stack.use(await startSluice());
  const rivals = stack.use(await startRivals());
  const workflows = stack.use(await startRivals());
  const rival = (name: string, path: string, server = rivals): Way => ({
    name,
    server,
    path,
    finishedPath: path,
  });
  const { columns, ratioTo } = await compareStarts([
    { name: "Sluice", server: sluice, path: "/tasks", finishedPath: "/bench/finished" },
    rival("waitUntil", "/wait-until"),
    rival(INSERT, "/insert"),
    rival("Queue", "/queue"),
    rival("Queue, 1", "/queue-1"),
    rival("Workflow", "/workflow", workflows),
  ]);
  const figure = (what: string) => columns[0]?.figures.find((f) => f.what === what)?.value ?? Number.NaN;
  const startMs = figure(`${RATE} requests/s: start p50, ms`);
  const busyStartMs = figure(`${CLIENTS} clients: start p50, ms`);
  return [
    renderTable(columns),
    "",
    atLeast(
      "POST /tasks ÷ one insert, requests/s",
      ratioTo(INSERT, "requestsPerSecond"),
      MIN_SHARE_OF_INSERTS,
    ),
    atLeast("POST /tasks ÷ one insert, done/s", ratioTo(INSERT, "finishedPerSecond"), MIN_SHARE_OF_INSERTS),
    atMost(`start p50 at ${RATE} requests/s, ms`, startMs, MAX_START_MS),
    atMost(`start p50 with ${CLIENTS} clients kept busy, ms`, busyStartMs, MAX_BUSY_START_MS),
    atMost(UNFINISHED, figure(UNFINISHED), NONE),
    "",
    MEANING,
  ].join("\n");
}

/** The example of FastAPI's BackgroundTasks, on both. */
async function benchExample(): Promise<string> {
  const python = findPython();
  const upstreamUrl = "http://127.0.0.1:9"; // never called
  await using sluice = await startExamples(upstreamUrl);
  await using fastApi = python && (await startFastApi(python, upstreamUrl));
  const columns: Column[] = [];
  for (const contender of fastApi ? [sluice, fastApi] : [sluice]) {
    console.error(`measuring /run-tasks on ${contender.name} …`);
    columns.push({ name: contender.name, figures: await measureRunTasks(contender) });
  }
  const missing = `not measured: Python 3 lacks some of ${PACKAGES.join(", ")} here`;
  const [ours, theirs] = columns.map(({ figures }) => figures[0]?.value ?? Number.NaN);
  const share = (ours ?? Number.NaN) / (theirs ?? Number.NaN);
  return [
    renderTable(columns),
    "",
    ...(fastApi ? [atLeast("/run-tasks ÷ FastAPI, requests/s", share, MIN_SHARE_OF_FASTAPI)] : []),
    `FastAPI: ${python?.description ?? missing}`,
  ].join("\n");
}

async function benchDepth(): Promise<string> {
  await using sluice = await startSluice();
  const { columns, growth } = await measureDepth(sluice);
  const [smallest, largest] = [SIZES[0], SIZES.at(-1)].map((size) => size?.toLocaleString("en"));
  return [
    "Tasks in one ledger:",
    renderTable(columns),
    "",
    ...CLAIMS.map((action) =>
      atMost(`${action}, ${largest} tasks ÷ ${smallest} tasks`, growth(action), MAX_GROWTH),
    ),
  ].join("\n");
}

interface Target {
  target: number;
  /** What was measured before. */
  before: string;
}

const atLeast = (what: string, value: number, { target, before }: Target): string =>
  `${what}: ${format(value)} (target ≥ ${target}: ${value >= target ? "met" : "missed"}; before: ${before})`;

const atMost = (what: string, value: number, { target, before }: Target): string =>
  `${what}: ${format(value)} (target ≤ ${target}: ${value <= target ? "met" : "missed"}; before: ${before})`;

const format = (value: number): string => value.toFixed(Number.isInteger(value) ? 0 : 2);
