/**
 * Chaos for the semaphore: clients come and go while the semaphore crashes, holders of its permits are killed and
 * frozen, and the upstream sends 429. Then the faults stop, and everything must come to rest.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { Random } from "../random.ts";
import { type Call, type Client, keepCalling } from "./clients.ts";
import { Fleet } from "./fleet.ts";
import { Order } from "./order.ts";
import { type ChaosUpstream, startChaosUpstream } from "./upstream.ts";
import type { Fault, Record } from "./verdict.ts";

const LIMIT = 5;
/** Of an upstream whose semaphore is several objects: two of them have three permits, and two have two. */
const SHARDED = { limit: 10, shards: 4 };
/** There, each limit key has so many permits at most. */
const PER_KEY = 2;
const SEMAPHORES = ["chaos", ...Array.from({ length: SHARDED.shards }, (_, shard) => `sharded#${shard}`)];
/** As in src/outbound/client/hand-over.ts. */
const LEASE_MS = 15_000;
const MAX_WAIT_MS = 20_000;
/** Few, so that more would be noticed. */
const MAX_PASSES = 10;
const CLIENTS = { home: 36, away: 16 } as const;

/** Pauses between one fault and the next of its kind; for crashes, of one object and any. */
const CRASH_EVERY_MS = [150, 750] as const;
/** How many of the crashes are of the semaphore that is one object. */
const CRASHES_OF_ONE = 0.5;
const KILL_EVERY_MS = [1_000, 3_000] as const;
const BURST_EVERY_MS = [12_000, 18_000] as const;
/** Early, so that the pause and the ramp after a burst end before the freeze of a short run. */
const FIRST_BURST_MS = [200, 500] as const;
const BURST_MS = 300;
/** Longer than a lease, so that the frozen process finds its permits expired. */
const FREEZE_MS = LEASE_MS + 2_000;
/** One freeze for each such interval that begins. */
const FREEZE_EVERY_S = 60;
/** How long the clients continue after the last thaw. */
const AFTERMATH_MS = 2_000;
/** How long calls may take to end after the last fault. */
const SETTLE_MS = MAX_WAIT_MS + LEASE_MS;

export interface ChaosOptions {
  seconds: number;
  seed: number;
  /**
   * `memory`: the semaphore forgets its leases when it crashes. `doubled`: it grants once more what is handed on. `keyless`: it
   * takes each call for one permit of no key.
   */
  leases: "kept" | "memory" | "doubled" | "keyless";
  /** How many of the calls go to the upstream whose semaphore has several shards. */
  shardedShare: number;
  /** Which faults happen. Clients that reset their connections always do. */
  kinds: readonly Fault["is"][];
  onWarning?: (line: string) => void;
}

export async function runChaos(options: ChaosOptions): Promise<Record> {
  await using upstream = await startChaosUpstream(LIMIT);
  await using sharded = await startChaosUpstream(SHARDED.limit);
  const order = new Order("chaos");
  const warn = options.onWarning ?? (() => {});
  await using fleet = await Fleet.start({
    vars: variables(upstream.url, sharded.url, options.leases),
    onHomeLine: (line) => {
      order.observe(line);
      warn(`home ${line}`);
    },
    onAwayLine: (line) => warn(`away ${line}`),
  });
  const startedAtMs = Date.now();
  const { calls, unsettled, faults } = await inject(fleet, [upstream, sharded], options);
  const left = await untilAtRest(fleet);
  const [seen, seenSharded] = await Promise.all([upstream.read(), sharded.read()]);
  return {
    startedAtMs,
    limit: LIMIT,
    shardedLimit: SHARDED.limit,
    perKey: PER_KEY,
    maxPasses: MAX_PASSES,
    leaseMs: LEASE_MS,
    calls,
    unsettled,
    faults,
    order: order.count(),
    seen,
    seenSharded,
    left,
  };
}

const SETTINGS = {
  timeout_ms: 2_000,
  max_wait_ms: MAX_WAIT_MS,
  max_waiters: 200,
  max_passes: MAX_PASSES,
  methods: ["GET", "POST"],
  cache_seconds: 0,
  retries: 1,
};

const variables = (origin: string, shardedOrigin: string, leases: ChaosOptions["leases"]) => ({
  ACCESS: "local",
  DATA_UPSTREAM: "chaos",
  CHAOS_LEASES: leases,
  UPSTREAMS: {
    chaos: { ...SETTINGS, origin, concurrency: LIMIT },
    sharded: {
      ...SETTINGS,
      origin: shardedOrigin,
      concurrency: SHARDED.limit,
      shards: SHARDED.shards,
      per_key: { concurrency: PER_KEY },
    },
  },
});

async function inject(
  fleet: Fleet,
  upstreams: readonly ChaosUpstream[],
  { seconds, seed, shardedShare, kinds }: ChaosOptions,
) {
  const calls: Call[] = [];
  const faults: Fault[] = [];
  const closing = new AbortController();
  const clients = [
    ...clientsAt("home", () => fleet.homeUrl, shardedShare, seed),
    ...clientsAt("away", () => fleet.awayUrl, shardedShare, seed),
  ];
  let unsettled: number = clients.length;
  const working = clients.map(async (client) => {
    await keepCalling(client, closing.signal, (call) => calls.push(call));
    unsettled--;
  });
  const untilMs = Date.now() + seconds * 1000;
  const injection = { fleet, upstreams, kinds, faults, untilMs };
  const random = (stream: string) => new Random(seed, stream);
  await Promise.all([
    crash(injection, random("crash")),
    injectAway(injection, seconds, random("away")),
    burst(injection, random("burst")),
    sleep(seconds * 1000),
  ]);
  closing.abort();
  await Promise.race([Promise.all(working), sleep(SETTLE_MS, undefined, { ref: false })]);
  return { calls, faults, unsettled };
}

function clientsAt(
  at: keyof typeof CLIENTS,
  url: () => string,
  shardedShare: number,
  seed: number,
): Client[] {
  return Array.from({ length: CLIENTS[at] }, (_, i) => ({
    name: `${at}${i}`,
    at,
    url,
    shardedShare,
    maxWeight: PER_KEY,
    random: new Random(seed, `${at}${i}`),
  }));
}

interface Injection {
  fleet: Fleet;
  upstreams: readonly ChaosUpstream[];
  kinds: readonly Fault["is"][];
  faults: Fault[];
  untilMs: number;
}

async function crash({ fleet, kinds, faults, untilMs }: Injection, random: Random): Promise<void> {
  if (!kinds.includes("crash")) return;
  for (;;) {
    await sleep(random.between(...CRASH_EVERY_MS));
    if (Date.now() >= untilMs) return;
    const atMs = Date.now();
    const isOne = random.chance(CRASHES_OF_ONE);
    await fleet.crashSemaphore(SEMAPHORES[isOne ? 0 : random.between(1, SHARDED.shards)] ?? "");
    faults.push({ is: "crash", atMs, untilMs: Date.now() });
  }
}

async function burst({ upstreams, kinds, faults, untilMs }: Injection, random: Random): Promise<void> {
  if (!kinds.includes("burst")) return;
  await sleep(random.between(...FIRST_BURST_MS));
  while (Date.now() < untilMs) {
    const atMs = Date.now();
    faults.push({ is: "burst", atMs, untilMs: atMs + BURST_MS });
    await Promise.all(upstreams.map(async (upstream) => upstream.burst(BURST_MS)));
    await sleep(Math.min(random.between(...BURST_EVERY_MS), Math.max(0, untilMs - Date.now())));
  }
}

/** Kills the process away from the semaphore again and again, and freezes it in between. */
async function injectAway(
  { fleet, kinds, faults, untilMs }: Injection,
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
      const fault: Fault = { is: "freeze", atMs, untilMs: Infinity };
      faults.push(fault);
      fleet.freezeAway();
      await sleep(FREEZE_MS);
      fleet.thawAway();
      fault.untilMs = Date.now();
      await sleep(AFTERMATH_MS);
    } else if (kinds.includes("kill")) {
      const fault: Fault = { is: "kill", atMs, untilMs: Infinity };
      faults.push(fault);
      await fleet.killAway();
      await fleet.restartAway();
      fault.untilMs = Date.now();
    }
  }
}

const statusSchema = z.object({
  held: z.object({ count: z.number() }),
  waiting: z.object({ count: z.number() }),
});

/** Polls the semaphores until they hold nothing, for at most a lease and a little longer. */
async function untilAtRest(fleet: Fleet): Promise<Record["left"]> {
  const startMs = Date.now();
  for (;;) {
    const all = await Promise.all(["chaos", "sharded"].map(async (name) => statusOf(fleet, name)));
    const sum = (of: "held" | "waiting") => all.reduce((total, status) => total + status[of].count, 0);
    const left = { held: sum("held"), waiting: sum("waiting"), afterMs: Date.now() - startMs };
    if (left.held + left.waiting === 0 || left.afterMs > LEASE_MS + AFTERMATH_MS) return left;
    await sleep(100);
  }
}

async function statusOf(fleet: Fleet, name: string) {
  const response = await fetch(`${fleet.homeUrl}/upstreams/${name}`);
  return statusSchema.parse(await response.json());
}
