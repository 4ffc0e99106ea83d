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

export const concurrencySchema = z.int().min(1).max(1000);

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
}

/** What an upstream has in the configuration. */
export interface Configured extends Omit<Settings, "isPaused" | "maxPasses"> {
  /** Default: as many as `PASSES_PER_PERMIT` for each permit. */
  maxPasses: number | undefined;
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

/** The configuration, with the changes of an operator. */
export function settingsOf(upstream: Configured, override: Override): Settings {
  const concurrency = override.concurrency ?? upstream.concurrency;
  return {
    concurrency,
    rate: override.rate ?? upstream.rate,
    isPaused: override.paused ?? false,
    adaptive: upstream.adaptive,
    maxWaiters: upstream.maxWaiters,
    maxWaitMs: upstream.maxWaitMs,
    maxPasses: upstream.maxPasses ?? PASSES_PER_PERMIT * concurrency,
    maxPassMs: upstream.maxPassMs,
  };
}
