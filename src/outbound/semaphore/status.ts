/** The status of a semaphore, as `GET /upstreams/{name}` shows it. */
import { z } from "zod";
import { BOUNDS_S } from "../../kernel/tally.ts";
import { concurrencySchema, limitsOf, type Override, type Rate, settingsOf } from "../settings.ts";
import type { Upstream } from "../upstreams.ts";
import type { Permits } from "./permits.ts";
import type { Statistics } from "./statistics.ts";
import { PRIORITIES } from "./wait-queue.ts";

/** At most this many leases, and this many waiters, are listed. All are counted. */
export const MAX_LISTED = 100;
/** So many limit keys are listed. */
const MAX_KEYS = 20;

const time = z.iso.datetime();
const count = z.int().min(0);

const obstacle = z
  .object({
    is: z.enum(["restarted", "paused", "breaker-open", "probe", "concurrency", "rate"]),
    until: time
      .nullable()
      .meta({ description: "When it ends by itself; null if it takes a release or an operator." }),
  })
  .nullable();
const breaker = z.enum(["closed", "open", "half-open"]);
const limitNow = count.meta({ description: "What the ramp and the adaptive limit leave of it right now." });
const totals = z.object({
  since: time,
  granted: count,
  handedOn: count.meta({ description: "Those of them that came from a holder of the same isolate." }),
  expired: count,
  retries: count,
  retriesRefused: count,
  outcomes: z.object({ ok: count, overloaded: count, failed: count, unknown: count }),
  refused: z.object({
    "queue-full": count,
    "too-many-requests": count,
    "wait-limit": count,
    paused: count,
    "breaker-open": count,
    "too-heavy": count,
  }),
  waits: z.array(count).meta({
    description: `How many calls waited for how long for their permit: up to ${BOUNDS_S.join(", ")} s, and longer.`,
  }),
});

const key = z.string().optional().meta({ description: "The limit key of the call; absent if it has none." });
const weight = z
  .int()
  .min(2)
  .optional()
  .meta({ description: "How many permits it takes, if more than one." });
const keysSchema = z
  .object({
    count: count.meta({ description: "How many keys there are, each counted at each shard that knows it." }),
    top: z.array(
      z.object({
        key: z.string(),
        waiting: count.meta({ description: "Its calls that wait." }),
        held: count.meta({ description: "The permits that it has." }),
      }),
    ),
  })
  .meta({
    description: "The limit keys that wait or have permits, those with most first; absent if there are none.",
  });

const shardsSchema = z
  .object({
    count: count.meta({ description: "How many there are." }),
    lost: z.array(count).meta({
      description: "Those that do not respond. What they hold is missing from the sums. See the log.",
    }),
    responding: z.array(
      z.object({
        shard: count.meta({ description: "From 0." }),
        concurrency: count.meta({ description: "Its part of the limit." }),
        limitNow,
        held: count,
        waiting: count,
        obstacle,
        breaker,
        totals,
      }),
    ),
  })
  .meta({
    description:
      "If the upstream has several shards. The rest of the status is then that of all that respond: counts are sums, " +
      "latencies are means, and states are the worst.",
  });

export const statusSchema = z
  .object({
    name: z.string(),
    concurrency: concurrencySchema.meta({ description: "The hard limit in force." }),
    limitNow,
    adaptiveLimit: count
      .nullable()
      .meta({ description: "What AIMD has found; null if the limit is not adaptive." }),
    rate: z.object({ per_second: z.number(), burst: count }).nullable(),
    paused: z.boolean(),
    overridden: z
      .array(z.string())
      .meta({ description: "What an operator has changed. PATCH it with null to reset it." }),
    obstacle: obstacle.meta({
      description:
        "What blocks every grant right now. With several shards: what blocks any of them, but `concurrency` and `rate` " +
        "only if each is blocked.",
    }),
    breaker,
    held: z.object({
      count,
      weight: count.optional().meta({ description: "How many permits they take, if that is not `count`." }),
      leases: z.array(
        z.object({ id: z.string(), fence: count, holder: z.string(), since: time, until: time, key, weight }),
      ),
    }),
    waiting: z.object({
      count,
      callers: z.array(
        z.object({
          position: count,
          id: z.string(),
          holder: z.string(),
          priority: z.enum(PRIORITIES),
          since: time,
          estimatedWaitMs: count,
          key,
          weight,
        }),
      ),
    }),
    keys: keysSchema.optional(),
    totals: totals.meta({ description: "Since the semaphore's object last started." }),
    latencyMs: z
      .object({ p50: z.number(), p90: z.number(), p99: z.number() })
      .nullable()
      .meta({ description: "How long the latest calls held their permits; null before the first." }),
    shards: shardsSchema.optional(),
  })
  .meta({ id: "UpstreamStatus" });

export type SemaphoreStatus = z.output<typeof statusSchema>;

/** That of one object. `whole`: the limits of which a shard has a part. */
export type ShardStatus = SemaphoreStatus & { whole?: Pick<SemaphoreStatus, "concurrency" | "rate"> };

export function describe(
  { upstream, shard }: { upstream: Upstream; shard: number | undefined },
  override: Override,
  permits: Permits,
  statistics: Statistics,
  nowMs: number,
): ShardStatus {
  const { concurrency, rate, isPaused } = settingsOf(upstream, override, shard);
  const whole = limitsOf(upstream, override);
  const block = permits.outlook.blockAt(nowMs);
  return {
    name: upstream.name,
    concurrency,
    limitNow: permits.outlook.limitAt(nowMs),
    adaptiveLimit: permits.outlook.adaptiveLimit ?? null,
    rate: describeRate(rate),
    paused: isPaused,
    overridden: Object.entries(override).flatMap(([name, value]) => (value === null ? [] : [name])),
    obstacle: block
      ? { is: block.by, until: Number.isFinite(block.untilMs) ? iso(block.untilMs) : null }
      : null,
    breaker: permits.outlook.breakerAt(nowMs),
    held: {
      count: permits.held.size,
      ...(permits.heldWeight !== permits.held.size && { weight: permits.heldWeight }),
      leases: [...permits.held.values()].slice(0, MAX_LISTED).map((lease) => ({
        id: lease.id,
        fence: lease.fence,
        holder: lease.holder,
        since: iso(lease.grantedAtMs),
        until: iso(lease.endsAtMs),
        ...claimOf(lease),
      })),
    },
    waiting: {
      count: permits.queue.length,
      callers: [...take(permits.queue, MAX_LISTED)].map((waiter, position) => ({
        position: position + 1,
        id: waiter.leaseId,
        holder: waiter.holder,
        priority: waiter.priority,
        since: iso(waiter.arrivedAtMs),
        estimatedWaitMs: Math.min(permits.outlook.estimateWaitMs(position, nowMs), Number.MAX_SAFE_INTEGER),
        ...claimOf(waiter),
      })),
    },
    ...describeKeys(permits),
    totals: { since: iso(statistics.sinceMs), ...statistics.totals },
    latencyMs: statistics.percentiles() ?? null,
    ...(upstream.shards > 1 && {
      whole: { concurrency: whole.concurrency, rate: describeRate(whole.rate) },
    }),
  };
}

const claimOf = ({ key: under, weight: permits = 1 }: { key?: string; weight?: number }) => ({
  ...(under !== undefined && { key: under }),
  ...(permits > 1 && { weight: permits }),
});

type Keys = z.output<typeof keysSchema>;

function describeKeys({ keys }: Permits): { keys?: Keys } {
  return keys.length === 0 ? {} : { keys: { count: keys.length, top: topKeys(keys) } };
}

/** Those with most calls that wait and permits. */
export const topKeys = (keys: Keys["top"]): Keys["top"] =>
  keys
    .toSorted((a, b) => b.waiting - a.waiting || b.held - a.held || (a.key < b.key ? -1 : 1))
    .slice(0, MAX_KEYS);

const describeRate = (rate: Rate | undefined): SemaphoreStatus["rate"] =>
  rate ? { per_second: rate.perSecond, burst: rate.burst } : null;

function* take<T>(items: Iterable<T>, max: number): Generator<T> {
  let taken = 0;
  for (const item of items) {
    if (taken++ >= max) return;
    yield item;
  }
}

/** The latest time that a `Date` can hold. Beyond it, `toISOString` throws. */
const MAX_TIME_MS = 8.64e15;
const iso = (ms: number): string => new Date(Math.min(ms, MAX_TIME_MS)).toISOString();
