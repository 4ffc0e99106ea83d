/**
 * What a user might pick instead of Sluice: a fleet of Node processes that share a limit through Redis, with
 * Bottleneck or with redis-semaphore, on the same job. This is skipped if Redis or a library is not installed:
 *
 *     apt-get install redis-server
 *
 * Redis runs without persistence here, which is its fastest mode. Sluice writes every grant to disk.
 */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { CONCURRENCY } from "../contender.ts";
import { CLIENTS } from "../load.ts";
import { openLink } from "../support/gateway.ts";
import { makeTemporaryFolder, startProcess } from "../support/process.ts";
import type { Upstream } from "../support/upstream.ts";
import type { Column } from "../table.ts";

const PROCESSES = 4;
/** From the start of the processes until all of them are working. */
const WARM_UP_MS = 4_000;
const LOAD_MS = 8_000;
/** How long the calls that still wait at the end of the load may take. */
const SETTLE_MS = 10_000;

const latenciesSchema = z.array(z.number());

/** The libraries that can be measured here, and what is missing for the others. */
export function findLibraries(): { found: string[]; missing: string[] } {
  const hasRedis = spawnSync("redis-server", ["--version"]).status === 0;
  if (!hasRedis) return { found: [], missing: ["redis-server"] };
  const missing = ["ioredis", "bottleneck", "redis-semaphore"].filter((name) => !isInstalled(name));
  return { found: missing.length > 0 ? [] : ["bottleneck", "redis-semaphore"], missing };
}

export interface FleetFigures {
  processes: number;
  callsPerSecond: number;
  p50Ms: number;
  p99Ms: number;
  /** The mean number of calls in flight ÷ the limit. */
  utilisation: number;
  maxInFlight: number;
}

/**
 * Keeps `CLIENTS` clients busy, over all processes of the fleet. `delayMs`: how long the upstream takes; `linkMs`: how
 * long a byte takes to Redis, and back.
 */
export async function measureFleet(
  library: string,
  upstream: Upstream,
  delayMs: number,
  linkMs = 0,
): Promise<FleetFigures> {
  await using redis = await startRedis();
  await using link = linkMs > 0 ? await openLink({ path: redis.socket }, linkMs) : undefined;
  await upstream.reset(delayMs);
  const fromMs = Date.now() + WARM_UP_MS;
  const untilMs = fromMs + LOAD_MS;
  const numbers = [CONCURRENCY, CLIENTS / PROCESSES, fromMs, untilMs].map(String);
  const args = [library, link?.address ?? redis.socket, upstream.url, ...numbers];
  const members = Array.from({ length: PROCESSES }, async () => runMember(args, untilMs + SETTLE_MS));
  const [latencies, seen] = await Promise.all([Promise.all(members), watch(upstream, fromMs, untilMs)]);
  const sortedMs = latencies.flat().toSorted((a, b) => a - b);
  const percentile = (share: number) => sortedMs[Math.floor(share * sortedMs.length)] ?? Number.NaN;
  return {
    processes: PROCESSES,
    callsPerSecond: sortedMs.length / (LOAD_MS / 1000),
    p50Ms: percentile(0.5),
    p99Ms: percentile(0.99),
    utilisation: seen.meanInFlight / CONCURRENCY,
    maxInFlight: seen.maxInFlight,
  };
}

/** The figures of a fleet as a column of the table. `what` is the job's name in it. */
export const fleetColumn = (library: string, fleet: FleetFigures, what: string): Column => ({
  name: library,
  figures: [
    { what: `${what}: requests/s`, value: fleet.callsPerSecond },
    { what: `${what}: latency p50, ms`, value: fleet.p50Ms },
    { what: `${what}: latency p99, ms`, value: fleet.p99Ms },
    { what: `${what}: permit utilisation`, value: fleet.utilisation, digits: 3 },
    { what: `${what}: calls in flight, max`, value: fleet.maxInFlight },
  ],
});

async function watch(upstream: Upstream, fromMs: number, untilMs: number) {
  await sleep(fromMs - Date.now());
  await upstream.reset();
  await sleep(untilMs - Date.now());
  return upstream.read();
}

/** Runs one process of the fleet. Resolves to the latencies that it measured, in ms. */
async function runMember(args: string[], deadlineMs: number): Promise<number[]> {
  const output = Promise.withResolvers<string>();
  const child = await startProcess({
    command: process.execPath,
    args: [join(import.meta.dirname, "fleet-member.ts"), ...args],
    onLine: (line) => {
      if (line.startsWith("[")) output.resolve(line);
    },
  });
  const timer = setTimeout(() => {
    output.reject(new Error(`A process of the fleet (${args[0]}) did not finish in time.`));
  }, deadlineMs - Date.now());
  try {
    return latenciesSchema.parse(JSON.parse(await Promise.race([output.promise, child.failed])));
  } finally {
    clearTimeout(timer);
    await child.stop();
  }
}

/** An empty Redis on a Unix socket, so that there is no network in between. */
async function startRedis() {
  const folder = makeTemporaryFolder();
  const socket = join(folder.path, "redis.sock");
  const ready = Promise.withResolvers<void>();
  const child = await startProcess({
    command: "redis-server",
    args: ["--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no", "--dir", folder.path],
    onLine: (line) => {
      if (line.includes("eady to accept connections")) ready.resolve();
    },
  });
  await Promise.race([ready.promise, child.failed]);
  return {
    socket,
    [Symbol.asyncDispose]: async () => {
      await child.stop();
      folder.remove();
    },
  };
}

function isInstalled(name: string): boolean {
  try {
    import.meta.resolve(name);
    return true;
  } catch {
    return false;
  }
}
