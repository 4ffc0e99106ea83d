/**
 * How an upstream did in the last minutes, computed from the statuses that the page has read: the semaphore keeps totals,
 * and no history. Each status is a sample; a few minutes of them are kept for each upstream, for as long as the page is open.
 *
 * Samples come at any distance. Between two of them a total is taken to have grown evenly, so that what a window of time
 * has is the difference of two totals, and a slow read neither adds nor hides a call.
 */
import { type Status, WAIT_BOUNDS_S } from "./upstream.ts";

export const WINDOW_MS = 5 * 60_000;
export const BUCKETS = 60;
const BUCKET_MS = WINDOW_MS / BUCKETS;
/** Samples that come sooner than this replace each other. */
const MIN_DISTANCE_MS = 1_000;

export interface Sample {
  atMs: number;
  /** When the totals began: they begin anew when the object restarts. */
  since: string;
  granted: number;
  /** Calls that failed or were overloaded, and callers that were refused. */
  errors: number;
  /** How long the one that has waited longest had waited. */
  waitMs: number;
  /** How many calls have waited for how long, by buckets. */
  waits: readonly number[];
}

export interface Rates {
  /** For each bucket, the oldest first; undefined where nothing was read. */
  callsPerSecond: Series;
  errorsPerSecond: Series;
  waitSeconds: Series;
  /** Of the calls that got a permit: half of them waited no longer, and all but one in a hundred. */
  waitP50Seconds: Series;
  waitP99Seconds: Series;
}
export type Series = readonly (number | undefined)[];

export function toSample({ totals, waiting }: Status, atMs: number): Sample {
  const { granted, outcomes, refused, since } = totals;
  const refusals = Object.values(refused).reduce((sum, count) => sum + count, 0);
  const waits = waiting.callers.map((waiter) => atMs - Date.parse(waiter.since));
  const errors = outcomes.failed + outcomes.overloaded + refusals;
  return { atMs, since, granted, errors, waitMs: Math.max(0, ...waits), waits: totals.waits ?? [] };
}

/** The samples with one more, without those that no bucket needs any longer, nor any that came within a second. */
export function addSample(samples: readonly Sample[], sample: Sample): Sample[] {
  const oldestMs = sample.atMs - WINDOW_MS - BUCKET_MS;
  const kept = samples.filter(({ atMs }) => atMs >= oldestMs && atMs < sample.atMs);
  const [before, last] = kept.slice(-2);
  if (!before || !last || sample.atMs - before.atMs >= MIN_DISTANCE_MS || last.since !== sample.since)
    return [...kept, sample];
  return [...kept.slice(0, -1), { ...sample, waitMs: Math.max(last.waitMs, sample.waitMs) }];
}

/** What is known of a bucket. */
interface Bucket {
  /** How much of its time lies between two samples. */
  knownMs: number;
  granted: number;
  errors: number;
  waits: number[];
  /** The longest wait that was seen; undefined if no sample is in it. */
  waitMs: number | undefined;
}

/** What the samples say of the buckets that end with the one that `nowMs` is in. */
export function ratesOf(samples: readonly Sample[], nowMs: number): Rates {
  const buckets = bucketsOf(samples, (Math.ceil(nowMs / BUCKET_MS) - BUCKETS) * BUCKET_MS);
  const perSecond = (total: "granted" | "errors") =>
    buckets.map((bucket) => (bucket.knownMs === 0 ? undefined : (bucket[total] / bucket.knownMs) * 1_000));
  return {
    callsPerSecond: perSecond("granted"),
    errorsPerSecond: perSecond("errors"),
    waitSeconds: buckets.map(({ waitMs }) => (waitMs === undefined ? undefined : waitMs / 1_000)),
    waitP50Seconds: buckets.map(({ waits }) => quantile(waits, 0.5)),
    waitP99Seconds: buckets.map(({ waits }) => quantile(waits, 0.99)),
  };
}

function bucketsOf(samples: readonly Sample[], startMs: number): Bucket[] {
  const buckets = Array.from(
    { length: BUCKETS },
    (): Bucket => ({ knownMs: 0, granted: 0, errors: 0, waits: [], waitMs: undefined }),
  );
  for (const [i, sample] of samples.entries()) {
    const bucket = buckets[Math.floor((sample.atMs - startMs) / BUCKET_MS)];
    if (bucket) bucket.waitMs = Math.max(bucket.waitMs ?? 0, sample.waitMs);
    const earlier = samples[i - 1];
    if (earlier && isContinued(earlier, sample)) spread(buckets, startMs, earlier, sample);
  }
  return buckets;
}

/**
 * Whether the totals of the later sample count on from those of the earlier. Those of a restarted object begin anew; and
 * they are lower while a shard does not respond, or where a status is older than one that came before it.
 */
function isContinued(earlier: Sample, later: Sample): boolean {
  return (
    earlier.since === later.since &&
    later.granted >= earlier.granted &&
    later.errors >= earlier.errors &&
    later.waits.every((count, i) => count >= (earlier.waits[i] ?? 0))
  );
}

/** Spreads what came between two samples over the buckets between them. */
function spread(buckets: readonly Bucket[], startMs: number, earlier: Sample, later: Sample): void {
  const wholeMs = later.atMs - earlier.atMs;
  const first = Math.max(0, Math.floor((earlier.atMs - startMs) / BUCKET_MS));
  for (const [i, bucket] of buckets.slice(first).entries()) {
    const fromMs = startMs + (first + i) * BUCKET_MS;
    const ms = Math.min(later.atMs, fromMs + BUCKET_MS) - Math.max(earlier.atMs, fromMs);
    if (ms <= 0) return;
    const part = ms / wholeMs;
    bucket.knownMs += ms;
    bucket.granted += (later.granted - earlier.granted) * part;
    bucket.errors += (later.errors - earlier.errors) * part;
    for (const [n, count] of later.waits.entries())
      bucket.waits[n] = (bucket.waits[n] ?? 0) + (count - (earlier.waits[n] ?? count)) * part;
  }
}

/**
 * A quantile of waits, in seconds, from how many were in each bucket: within one, they are taken to be spread evenly.
 * Undefined if there were none. Above the last bound, it is that bound.
 */
export function quantile(counts: readonly number[], share: number): number | undefined {
  const all = counts.reduce((sum, count) => sum + count, 0);
  if (all === 0) return undefined;
  let below = 0;
  for (const [i, count] of counts.entries()) {
    const from = WAIT_BOUNDS_S[i - 1] ?? 0;
    const to = WAIT_BOUNDS_S[i] ?? from;
    if (count > 0 && below + count >= share * all)
      return from + ((to - from) * (share * all - below)) / count;
    below += count;
  }
  return WAIT_BOUNDS_S.at(-1);
}
