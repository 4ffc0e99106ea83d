/**
 * How an upstream did in the last minutes, computed from the statuses that the page has read: the semaphore keeps totals,
 * and no history. Each status is a sample; a few minutes of them are kept for each upstream, for as long as the page is open.
 *
 * Samples come at any distance. Between two of them a total is taken to have grown evenly, so that what a window of time
 * has is the difference of two totals, and a slow read neither adds nor hides a call.
 */
import type { Status } from "./upstream.ts";

export const WINDOW_MS = 5 * 60_000;
export const BUCKETS = 60;
const BUCKET_MS = WINDOW_MS / BUCKETS;

export interface Sample {
  atMs: number;
  /** When the totals began: they begin anew when the object restarts. */
  since: string;
  granted: number;
  /** Calls that failed or were overloaded, and callers that were refused. */
  errors: number;
  /** How long the one that has waited longest had waited. */
  waitMs: number;
}

export interface Rates {
  /** For each bucket, the oldest first; undefined where nothing was read. */
  callsPerSecond: Series;
  errorsPerSecond: Series;
  waitSeconds: Series;
}
export type Series = readonly (number | undefined)[];

export function toSample({ totals, waiting }: Status, atMs: number): Sample {
  const { granted, outcomes, refused, since } = totals;
  const refusals = Object.values(refused).reduce((sum, count) => sum + count, 0);
  const waits = waiting.callers.map((waiter) => atMs - Date.parse(waiter.since));
  const errors = outcomes.failed + outcomes.overloaded + refusals;
  return { atMs, since, granted, errors, waitMs: Math.max(0, ...waits) };
}

/** The samples with one more, without those that no bucket needs any longer. */
export function addSample(samples: readonly Sample[], sample: Sample): Sample[] {
  const oldestMs = sample.atMs - WINDOW_MS - BUCKET_MS;
  return [...samples.filter(({ atMs }) => atMs >= oldestMs && atMs < sample.atMs), sample];
}

/** What the samples say of the buckets that end with the one that `nowMs` is in. */
export function ratesOf(samples: readonly Sample[], nowMs: number): Rates {
  const endMs = Math.ceil(nowMs / BUCKET_MS) * BUCKET_MS;
  const starts = Array.from({ length: BUCKETS }, (_, i) => endMs - (BUCKETS - i) * BUCKET_MS);
  const rate = (total: "granted" | "errors") => starts.map((startMs) => perSecond(samples, total, startMs));
  return {
    callsPerSecond: rate("granted"),
    errorsPerSecond: rate("errors"),
    waitSeconds: starts.map((startMs) => {
      const inside = samples.filter(({ atMs }) => atMs >= startMs && atMs < startMs + BUCKET_MS);
      return inside.length === 0 ? undefined : Math.max(...inside.map(({ waitMs }) => waitMs)) / 1_000;
    }),
  };
}

/** By how much a total grew in a bucket, for each second of it that is known. */
function perSecond(samples: readonly Sample[], total: "granted" | "errors", startMs: number) {
  let grown = 0;
  let knownMs = 0;
  for (const [i, later] of samples.entries()) {
    const earlier = samples[i - 1];
    if (!earlier || earlier.since !== later.since) continue;
    const ms = Math.min(later.atMs, startMs + BUCKET_MS) - Math.max(earlier.atMs, startMs);
    if (ms <= 0) continue;
    grown += ((later[total] - earlier[total]) * ms) / (later.atMs - earlier.atMs);
    knownMs += ms;
  }
  return knownMs === 0 ? undefined : (grown / knownMs) * 1_000;
}
