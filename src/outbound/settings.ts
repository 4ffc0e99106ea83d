/** The limits of an upstream that an operator can change while it runs, and what is in force. */
import { z } from "zod";

export const rateSchema = z.strictObject({
  // With less, the next call would be due centuries from now.
  per_second: z
    .number()
    .min(0.000_01)
    .max(100_000)
    .meta({ description: "Calls begun per second, on average." }),
  // Not `.default(1)`: generated clients would have to send it.
  burst: z.int().min(1).max(100_000).optional().meta({ description: "Calls begun at once. Default: 1." }),
});

const MAX_SHARDS = 64;
/** As many permits as one object may have. */
const MAX_PERMITS = 1000;

export const concurrencySchema = z
  .int()
  .min(1)
  .max(MAX_PERMITS * MAX_SHARDS);
export const shardsSchema = z.int().min(1).max(MAX_SHARDS);

/** How fast calls may begin: per second on average, and at once. */
export interface Rate {
  perSecond: number;
  burst: number;
}

/** The settings in force: the configuration, with the changes of an operator. */
export interface Settings {
  concurrency: number;
  rate: Rate | undefined;
  adaptive: boolean;
  isPaused: boolean;
  maxWaiters: number;
  maxWaitMs: number;
  /** By how many calls of another isolate a waiter may be passed, and for how long. */
  maxPasses: number;
  maxPassMs: number;
  /** What each limit key may have of it. */
  perKey?: PerKey;
  /** How many permits a call may need, if that is less than `concurrency`. */
  maxWeight?: number;
}

/** The limits of each key. Absent: none but those of the upstream. */
export interface PerKey {
  /** Permits. */
  concurrency?: number;
  rate?: Rate;
}

/** What an upstream has in the configuration. */
export interface Configured extends Omit<Settings, "isPaused" | "maxPasses" | "perKey" | "maxWeight"> {
  /** Over how many objects all of this is divided. */
  shards: number;
  /** Default: as many as `PASSES_PER_PERMIT` for each permit. */
  maxPasses: number | undefined;
  perKey?: PerKey | undefined;
}

const PASSES_PER_PERMIT = 8;

/** A change that an operator asks for; null goes back to the configuration. */
export const changeSchema = z
  .strictObject({
    concurrency: concurrencySchema
      .nullable()
      .meta({ description: "Calls in flight at once, over the whole fleet." }),
    rate: rateSchema.nullable(),
    paused: z
      .boolean()
      .nullable()
      .meta({ description: "true grants no permits; false also ends a pause that the upstream asked for." }),
  })
  .partial()
  .meta({
    description: "A member that is left out stays as it is; null goes back to the configuration.",
    example: { concurrency: 5 },
  });

/** What an operator has changed; null or absent is as configured. */
export interface Override {
  concurrency?: number | null | undefined;
  rate?: Rate | null | undefined;
  paused?: boolean | null | undefined;
}

export function toOverride({ rate, ...rest }: z.output<typeof changeSchema>): Override {
  if (!rate) return rate === null ? { ...rest, rate } : rest;
  return { ...rest, rate: toRate(rate) };
}

export const toRate = ({ per_second, burst = 1 }: z.output<typeof rateSchema>): Rate => ({
  perSecond: per_second,
  burst,
});

/** Limits in force for a whole upstream: the configuration, with the changes of an operator. */
export const limitsOf = (
  upstream: Configured,
  override: Override,
): Pick<Settings, "concurrency" | "rate"> => ({
  concurrency: override.concurrency ?? upstream.concurrency,
  rate: override.rate ?? upstream.rate,
});

/** Why limits cannot be divided among so many shards, as what to do about it; undefined if they can. */
export function whyIndivisible(
  { concurrency, rate }: Pick<Settings, "concurrency" | "rate">,
  shards: number,
): { limit: "concurrency" | "rate"; message: string } | undefined {
  if (concurrency > MAX_PERMITS * shards)
    return {
      limit: "concurrency",
      message: `must be at most ${MAX_PERMITS} for each shard, and there ${shards === 1 ? "is 1" : `are ${shards}`}: set shards = ${Math.ceil(concurrency / MAX_PERMITS)} or more`,
    };
  if (rate && rate.burst < shards)
    return {
      limit: "rate",
      message: `must have a burst of at least ${shards}, since each of the ${shards} shards needs one call of it`,
    };
  return undefined;
}

/**
 * What one of the shards has of a whole number. The parts sum to it, and differ by at most one. None shrinks when the
 * whole grows: so while a change is on its way to the shards, they have no more than the larger of the two wholes.
 */
export const partOf = (whole: number, shard: number, shards: number): number =>
  Math.floor(whole / shards) + (shard < whole % shards ? 1 : 0);

/**
 * What is in force at one shard: its part of the configuration, with the changes of an operator. Undefined: at an object
 * that is no shard any longer. That has no permits, and neither has a shard beyond the limit, or beyond the burst.
 */
export function settingsOf(upstream: Configured, override: Override, shard: number | undefined): Settings {
  const { shards } = upstream;
  const limits = limitsOf(upstream, override);
  const part = (whole: number) => (shard === undefined ? 0 : partOf(whole, shard, shards));
  const burst = limits.rate && part(limits.rate.burst);
  const concurrency = burst === 0 ? 0 : part(limits.concurrency);
  return {
    concurrency,
    rate: limits.rate && burst ? { perSecond: limits.rate.perSecond / shards, burst } : undefined,
    isPaused: override.paused ?? false,
    adaptive: upstream.adaptive,
    maxWaiters: part(upstream.maxWaiters),
    maxWaitMs: upstream.maxWaitMs,
    maxPasses: upstream.maxPasses ?? PASSES_PER_PERMIT * concurrency,
    maxPassMs: upstream.maxPassMs,
    // All calls of a key go to one shard, which has the whole of its limits (client/shard-of-key.ts).
    ...(upstream.perKey && { perKey: upstream.perKey }),
    // Each shard must have room for each call.
    ...(shards > 1 && { maxWeight: Math.max(1, Math.floor(limits.concurrency / shards)) }),
  };
}
