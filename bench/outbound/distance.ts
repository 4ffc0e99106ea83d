/**
 * How well permits are used when the semaphore is far away: between the isolates that call and its object lies a link
 * that takes a while, each way. The same number of clients calls through one isolate, or through several.
 *
 * `STRETCH=10 npm run bench -- outbound` makes all times ten times as long. A request to the object is what is billed as
 * one; the calls of its ticket belong to it, and are counted as messages too.
 *
 * Beside it, what Bottleneck and redis-semaphore reach when their Redis is as far away (`fleet.ts`).
 *
 * A call counts as passed when one that asked for its permit later begins before it, by the order at the object.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import autocannon from "autocannon";
import { z } from "zod";
import { CONCURRENCY } from "../contender.ts";
import { CLIENTS, measureCeiling } from "../load.ts";
import { findFreePort, openLink, startAway, startHome } from "../support/gateway.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";
import type { Figure } from "../table.ts";
import { findLibraries, measureFleet } from "./fleet.ts";

/** All times × this. On a busy machine, longer times show what the rules can do, and not what the machine can. */
const STRETCH = Number(process.env["STRETCH"] ?? 1);
const UPSTREAM_MS = 20 * STRETCH;
const WARM_UP_S = 2 * Math.ceil(STRETCH / 3);
const LOAD_S = 8 * Math.ceil(STRETCH / 3);
const EDGE_MS = 1_000;

interface Setting {
  isolates: number;
  /** Each way. */
  linkMs: number;
  /** The least share of what direct callers reach; undefined if there is no target. */
  target: number | undefined;
}

const SETTINGS: Setting[] = [
  { isolates: 1, linkMs: 0, target: 0.95 },
  { isolates: 1, linkMs: 15, target: undefined },
  { isolates: 1, linkMs: 30, target: 0.85 },
  { isolates: 4, linkMs: 15, target: undefined },
  { isolates: 4, linkMs: 30, target: 0.6 },
];

/** How far the fleets of other tools are from their Redis. */
const FLEET_LINKS_MS = [15, 30];

const countedSchema = z.object({
  requests: z.number(),
  messages: z.number(),
  begun: z.number(),
  passes: z.number(),
  mostPasses: z.number(),
});

export async function measureDistance(): Promise<Figure[]> {
  await using upstream = await startUpstream();
  const ceiling = await measureCeiling(upstream, UPSTREAM_MS);
  const figures: Figure[] = [{ what: "direct callers: utilisation", value: ceiling, digits: 3 }];
  for (const setting of SETTINGS) figures.push(...(await measureSetting(setting, upstream, ceiling)));
  for (const library of findLibraries().found)
    for (const linkMs of FLEET_LINKS_MS) {
      console.error(`measuring ${library}, ${linkMs} ms from Redis …`);
      const fleet = await measureFleet(library, upstream, UPSTREAM_MS, linkMs * STRETCH);
      const what = `${library}, ${fleet.processes} processes, ${linkMs} ms each way to Redis`;
      const value = fleet.utilisation / ceiling;
      figures.push({ what: `${what}: utilisation ÷ direct`, value, digits: 3 });
      figures.push({ what: `${what}: most calls in flight`, value: fleet.maxInFlight });
    }
  return figures;
}

async function measureSetting(setting: Setting, upstream: Upstream, ceiling: number): Promise<Figure[]> {
  const { isolates, linkMs, target } = setting;
  await using stack = new AsyncDisposableStack();
  const source = readFileSync(join(import.meta.dirname, "distance-worker.ts"), "utf8");
  const vars = {
    ACCESS: "local",
    DATA_UPSTREAM: "counting",
    UPSTREAMS: {
      counting: {
        origin: upstream.url,
        concurrency: CONCURRENCY,
        cache_seconds: 0,
        max_pass_ms: 1_000 * STRETCH,
      },
    },
  };
  const port = await findFreePort();
  const home = stack.use(await startHome({ vars, source }, `127.0.0.1:${port}`));
  const callers = [];
  for (let i = 0; i < isolates; i++) {
    const link = stack.use(await openLink({ port }, linkMs * STRETCH));
    callers.push(stack.use(await startAway({ vars, source }, link.address)));
  }
  const urls = callers.map(({ url }) => `${url}/fetch/counting/todos/1`);
  const read = async () => countedSchema.parse(await (await fetch(`${home.url}/~counted`)).json());
  await upstream.reset(UPSTREAM_MS);
  await load(urls, WARM_UP_S);
  const loading = load(urls, LOAD_S);
  await sleep(EDGE_MS);
  await Promise.all([upstream.reset(), read()]);
  await sleep(LOAD_S * 1000 - 2 * EDGE_MS);
  const [seen, counted] = await Promise.all([upstream.read(), read()]);
  await loading;
  const what = `${isolates === 1 ? "one isolate" : `${isolates} isolates`}, ${linkMs} ms each way`;
  const share = seen.meanInFlight / CONCURRENCY / ceiling;
  const verdict = target === undefined ? "" : ` (≥ ${target}: ${share >= target ? "met" : "MISSED"})`;
  const perCall = counted.requests / counted.begun;
  return [
    { what: `${what}: utilisation ÷ direct${verdict}`, value: share, digits: 3 },
    {
      what: `${what}: most calls in flight (≤ ${CONCURRENCY}: ${seen.maxInFlight <= CONCURRENCY ? "met" : "MISSED"})`,
      value: seen.maxInFlight,
    },
    {
      what: `${what}: object requests a call (≤ 1: ${perCall <= 1.01 ? "met" : "MISSED"})`,
      value: perCall,
      digits: 2,
    },
    { what: `${what}: messages to the object a call`, value: counted.messages / counted.begun, digits: 2 },
    { what: `${what}: times a call was passed, mean`, value: counted.passes / counted.begun, digits: 2 },
    { what: `${what}: times a call was passed, most`, value: counted.mostPasses },
  ];
}

/** Keeps all clients busy, shared out among the URLs. */
async function load(urls: string[], seconds: number): Promise<void> {
  const results = await Promise.all(
    urls.map(async (url) => autocannon({ url, connections: CLIENTS / urls.length, duration: seconds })),
  );
  for (const { errors, non2xx } of results)
    if (errors + non2xx > 0) throw new Error(`${errors} requests failed, ${non2xx} responses were not 2xx.`);
}
