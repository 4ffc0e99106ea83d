/**
 * One process of a fleet that shares a limit through Redis. Each of its clients calls the upstream again as soon as
 * its last call is over. The process begins at once, and prints one line of JSON: the latencies of the calls that
 * began and ended within a given time span. Then it idles until it is stopped.
 *
 *     fleet-member.ts <library> <redis> <upstream> <limit> <clients> <from> <until>    (ms since the epoch)
 *
 * Redis is given as the path of its socket, or as host and port.
 */
import Bottleneck from "bottleneck";
import { Redis } from "ioredis";
import { Semaphore } from "redis-semaphore";

/** Runs a call under a permit. */
type Limiter = (call: () => Promise<void>) => Promise<void>;

const LEASE_MS = 15_000;
const MAX_WAIT_MS = 60_000;

const [library = "", address = "", upstream = "", ...numbers] = process.argv.slice(2);
const [limit = 0, clients = 0, fromMs = 0, untilMs = 0] = numbers.map(Number);

const [host = "", port] = address.split(":");
const redisOptions = address.startsWith("/") ? { path: address } : { host, port: Number(port) };

const LIBRARIES: Record<string, () => Promise<Limiter>> = {
  bottleneck: async () => {
    const limiter = new Bottleneck({
      id: "bench",
      maxConcurrent: limit,
      datastore: "ioredis",
      Redis,
      clientOptions: redisOptions,
    });
    await limiter.ready();
    return async (call) => limiter.schedule(call);
  },
  "redis-semaphore": async () => {
    const redis = new Redis(redisOptions);
    return async (call) => {
      const options = { lockTimeout: LEASE_MS, acquireTimeout: MAX_WAIT_MS };
      const semaphore = new Semaphore(redis, "bench", limit, options);
      await semaphore.acquire();
      try {
        await call();
      } finally {
        await semaphore.release();
      }
    };
  },
};

const limiter = await LIBRARIES[library]?.();
if (!limiter) throw new Error(`Unknown library: ${library}.`);
const latenciesMs: number[] = [];
await Promise.all(Array.from({ length: clients }, async () => keepBusy(limiter)));
console.log(JSON.stringify(latenciesMs));

async function keepBusy(limited: Limiter): Promise<void> {
  for (let beganMs = Date.now(); beganMs < untilMs; beganMs = Date.now()) {
    const startMs = performance.now();
    await limited(async () => {
      await (await fetch(upstream)).arrayBuffer();
    });
    if (beganMs >= fromMs && Date.now() <= untilMs) latenciesMs.push(performance.now() - startMs);
  }
}
