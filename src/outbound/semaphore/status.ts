/** What `GET /upstreams/{name}` shows of a semaphore. */
import { z } from "zod";
import { concurrencySchema, type Override, rateSchema, settingsOf, type Upstream } from "../upstreams.ts";
import type { Permits } from "./permits.ts";
import type { Statistics } from "./statistics.ts";
import { PRIORITIES } from "./wait-queue.ts";

/** More than these are counted, not listed. */
const MOST_LISTED = 100;

const time = z.iso.datetime();
const count = z.int().min(0);

export const statusSchema = z
  .object({
    name: z.string(),
    concurrency: concurrencySchema.meta({ description: "The hard limit in force." }),
    limitNow: count.meta({ description: "What the ramp and the adaptive limit leave of it at the moment." }),
    adaptiveLimit: count
      .nullable()
      .meta({ description: "What AIMD has found; null if the limit is not adaptive." }),
    rate: rateSchema.nullable(),
    paused: z.boolean(),
    overridden: z
      .array(z.string())
      .meta({ description: "What an operator has changed; PATCH it with null to reset." }),
    obstacle: z
      .object({
        is: z.enum(["restarted", "paused", "breaker-open", "probe", "concurrency", "rate"]),
        until: time
          .nullable()
          .meta({ description: "When it ends by itself; null if it takes a release, or an operator." }),
      })
      .nullable()
      .meta({ description: "What keeps callers from a permit right now." }),
    breaker: z.enum(["closed", "open", "half-open"]),
    held: z.object({
      count,
      leases: z.array(
        z.object({ id: z.string(), fence: count, holder: z.string(), since: time, until: time }),
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
        }),
      ),
    }),
    totals: z.object({
      since: time,
      granted: count,
      expired: count,
      retries: count,
      retriesRefused: count,
      outcomes: z.object({ ok: count, overloaded: count, failed: count, unknown: count }),
      refused: z.object({ "queue-full": count, "wait-limit": count, paused: count, "breaker-open": count }),
    }),
    latencyMs: z.object({ p50: z.number(), p90: z.number(), p99: z.number() }).nullable(),
  })
  .meta({ id: "UpstreamStatus" });

export type SemaphoreStatus = z.output<typeof statusSchema>;

export function describe(
  upstream: Upstream,
  override: Override,
  permits: Permits,
  statistics: Statistics,
  nowMs: number,
): SemaphoreStatus {
  const { concurrency, rate, isPaused } = settingsOf(upstream, override);
  const obstacle = permits.obstacleAt(nowMs);
  return {
    name: upstream.name,
    concurrency,
    limitNow: permits.limitAt(nowMs),
    adaptiveLimit: permits.adaptiveLimit ?? null,
    rate: rate ? { per_second: rate.perSecond, burst: rate.burst } : null,
    paused: isPaused,
    overridden: Object.entries(override).flatMap(([name, value]) => (value === null ? [] : [name])),
    obstacle: obstacle
      ? { is: obstacle.is, until: Number.isFinite(obstacle.untilMs) ? iso(obstacle.untilMs) : null }
      : null,
    breaker: permits.breakerAt(nowMs),
    held: {
      count: permits.held.size,
      leases: [...permits.held.values()].slice(0, MOST_LISTED).map((lease) => ({
        id: lease.id,
        fence: lease.fence,
        holder: lease.holder,
        since: iso(lease.grantedAtMs),
        until: iso(lease.endsAtMs),
      })),
    },
    waiting: {
      count: permits.line.length,
      callers: [...firstOf(permits.line, MOST_LISTED)].map((waiter, position) => ({
        position: position + 1,
        id: waiter.leaseId,
        holder: waiter.holder,
        priority: waiter.priority,
        since: iso(waiter.arrivedAtMs),
        estimatedWaitMs: permits.estimateWaitMs(position, nowMs),
      })),
    },
    totals: { since: iso(statistics.sinceMs), ...statistics.totals },
    latencyMs: statistics.percentiles() ?? null,
  };
}

function* firstOf<T>(items: Iterable<T>, most: number): Generator<T> {
  let taken = 0;
  for (const item of items) {
    if (taken++ >= most) return;
    yield item;
  }
}

const iso = (ms: number): string => new Date(ms).toISOString();
