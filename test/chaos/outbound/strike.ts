/**
 * Chaos for the semaphore: clients that come and go, while it is crashed, holders of its permits are killed and
 * frozen, and the upstream says 429. Then everything is left alone, and must come to rest.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { Random } from "../random.ts";
import { type Call, type Client, keepCalling } from "./clients.ts";
import { Fleet } from "./fleet.ts";
import { Order } from "./order.ts";
import { type ChaosUpstream, startChaosUpstream } from "./upstream.ts";
import type { Blow, Record } from "./verdict.ts";

const LIMIT = 5;
/** As in src/outbound/permit.ts. */
const LEASE_MS = 15_000;
const MAX_WAIT_MS = 20_000;
const CLIENTS = { home: 28, away: 12 } as const;

/** Pauses between one blow and the next of its kind. */
const CRASH_EVERY_MS = [300, 1_500] as const;
const KILL_EVERY_MS = [1_000, 3_000] as const;
const BURST_EVERY_MS = [12_000, 18_000] as const;
/** Early: what follows a burst is over before the freeze of a short run. */
const FIRST_BURST_MS = [200, 500] as const;
const BURST_MS = 300;
/** Longer than a lease: the frozen process must find its permits gone. */
const FREEZE_MS = LEASE_MS + 2_000;
/** One freeze for each so many seconds, or begun. */
const FREEZE_EVERY_S = 60;
/** How long the clients go on after the last thaw. */
const AFTERMATH_MS = 2_000;
/** How long calls may take to end once there is no chaos any more. */
const SETTLE_MS = MAX_WAIT_MS + LEASE_MS;

export interface ChaosOptions {
  seconds: number;
  seed: number;
  /** `memory`: the semaphore forgets its leases when it crashes. */
  leases: "kept" | "memory";
  /** What is done, beside clients that reset their connections. */
  kinds: readonly Blow["is"][];
  onWarning?: (line: string) => void;
}

export async function runChaos(options: ChaosOptions): Promise<Record> {
  await using upstream = await startChaosUpstream(LIMIT);
  const order = new Order();
  const warn = options.onWarning ?? (() => {});
  await using fleet = await Fleet.start({
    vars: variables(upstream.url, options.leases),
    onHomeLine: (line) => {
      order.observe(line);
      warn(`home ${line}`);
    },
    onAwayLine: (line) => warn(`away ${line}`),
  });
  const startedAtMs = Date.now();
  const { calls, unsettled, blows } = await strike(fleet, upstream, options);
  const left = await untilAtRest(fleet);
  const seen = await upstream.read();
  return {
    startedAtMs,
    limit: LIMIT,
    leaseMs: LEASE_MS,
    calls,
    unsettled,
    blows,
    order: order.count(),
    seen,
    left,
  };
}

const variables = (origin: string, leases: ChaosOptions["leases"]) => ({
  ACCESS: "local",
  DATA_UPSTREAM: "chaos",
  CHAOS_LEASES: leases,
  UPSTREAMS: {
    chaos: {
      origin,
      concurrency: LIMIT,
      timeout_ms: 2_000,
      max_wait_ms: MAX_WAIT_MS,
      max_waiters: 200,
      cache_seconds: 0,
      retries: 1,
    },
  },
});

async function strike(fleet: Fleet, upstream: ChaosUpstream, { seconds, seed, kinds }: ChaosOptions) {
  const calls: Call[] = [];
  const blows: Blow[] = [];
  const closing = new AbortController();
  const clients = [
    ...clientsAt("home", () => fleet.homeUrl, seed),
    ...clientsAt("away", () => fleet.awayUrl, seed),
  ];
  let unsettled: number = clients.length;
  const working = clients.map(async (client) => {
    await keepCalling(client, closing.signal, (call) => calls.push(call));
    unsettled--;
  });
  const untilMs = Date.now() + seconds * 1000;
  const dealing = { fleet, upstream, kinds, blows, untilMs };
  const random = (stream: string) => new Random(seed, stream);
  await Promise.all([
    crash(dealing, random("crash")),
    strikeAway(dealing, seconds, random("away")),
    burst(dealing, random("burst")),
    sleep(seconds * 1000),
  ]);
  closing.abort();
  await Promise.race([Promise.all(working), sleep(SETTLE_MS, undefined, { ref: false })]);
  return { calls, blows, unsettled };
}

function clientsAt(at: keyof typeof CLIENTS, url: () => string, seed: number): Client[] {
  return Array.from({ length: CLIENTS[at] }, (_, i) => ({
    name: `${at}${i}`,
    at,
    url,
    random: new Random(seed, `${at}${i}`),
  }));
}

interface Dealing {
  fleet: Fleet;
  upstream: ChaosUpstream;
  kinds: readonly Blow["is"][];
  blows: Blow[];
  untilMs: number;
}

async function crash({ fleet, kinds, blows, untilMs }: Dealing, random: Random): Promise<void> {
  if (!kinds.includes("crash")) return;
  for (;;) {
    await sleep(random.between(...CRASH_EVERY_MS));
    if (Date.now() >= untilMs) return;
    const atMs = Date.now();
    await fleet.crashSemaphore("chaos");
    blows.push({ is: "crash", atMs, untilMs: Date.now() });
  }
}

async function burst({ upstream, kinds, blows, untilMs }: Dealing, random: Random): Promise<void> {
  if (!kinds.includes("burst")) return;
  await sleep(random.between(...FIRST_BURST_MS));
  while (Date.now() < untilMs) {
    const atMs = Date.now();
    blows.push({ is: "burst", atMs, untilMs: atMs + BURST_MS });
    await upstream.burst(BURST_MS);
    await sleep(Math.min(random.between(...BURST_EVERY_MS), Math.max(0, untilMs - Date.now())));
  }
}

/** Kills the process away from the semaphore again and again, and freezes it in between. */
async function strikeAway(
  { fleet, kinds, blows, untilMs }: Dealing,
  seconds: number,
  random: Random,
): Promise<void> {
  const startMs = untilMs - seconds * 1000;
  const freezes = kinds.includes("freeze") ? Math.ceil(seconds / FREEZE_EVERY_S) : 0;
  const freezeAtMs = Array.from(
    { length: freezes },
    (_, i) => startMs + (seconds * 1000 * (i + 0.7 + 0.1 * random.next())) / freezes,
  );
  for (;;) {
    await sleep(random.between(...KILL_EVERY_MS));
    const atMs = Date.now();
    const isFreeze = atMs >= (freezeAtMs[0] ?? Infinity);
    if (!isFreeze && atMs >= untilMs) return;
    if (isFreeze) {
      freezeAtMs.shift();
      const blow: Blow = { is: "freeze", atMs, untilMs: Infinity };
      blows.push(blow);
      fleet.freezeAway();
      await sleep(FREEZE_MS);
      fleet.thawAway();
      blow.untilMs = Date.now();
      await sleep(AFTERMATH_MS);
    } else if (kinds.includes("kill")) {
      const blow: Blow = { is: "kill", atMs, untilMs: Infinity };
      blows.push(blow);
      await fleet.killAway();
      await fleet.restartAway();
      blow.untilMs = Date.now();
    }
  }
}

const statusSchema = z.object({
  held: z.object({ count: z.number() }),
  waiting: z.object({ count: z.number() }),
});

/** Asks the semaphore until it holds nothing, or for a lease and a little longer. */
async function untilAtRest(fleet: Fleet): Promise<Record["left"]> {
  const startMs = Date.now();
  for (;;) {
    const response = await fetch(`${fleet.homeUrl}/upstreams/chaos`);
    const { held, waiting } = statusSchema.parse(await response.json());
    const left = { held: held.count, waiting: waiting.count, afterMs: Date.now() - startMs };
    if (left.held + left.waiting === 0 || left.afterMs > LEASE_MS + AFTERMATH_MS) return left;
    await sleep(100);
  }
}
