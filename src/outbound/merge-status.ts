/**
 * The status of an upstream with several shards, from those of its shards: counts are summed, latencies averaged, and the
 * worst state shown. A shard that does not respond is named; what it has is missing from the sums, but not from the limit.
 */
import { MAX_LISTED, type SemaphoreStatus, type ShardStatus, topKeys } from "./semaphore/status.ts";
import { partOf } from "./settings.ts";

/** That of each shard, in their order; undefined for one that does not respond. */
export type ShardStatuses = readonly (ShardStatus | undefined)[];

type Obstacle = NonNullable<SemaphoreStatus["obstacle"]>;

/** From the mildest to the worst. */
const BREAKERS = ["closed", "half-open", "open"] as const;
const OBSTACLES = ["concurrency", "rate", "restarted", "probe", "breaker-open", "paused"] as const;
/** What is in the way at one shard only is worth knowing, but for these: there, a call goes to another. */
const MILD: readonly Obstacle["is"][] = ["concurrency", "rate"];

/** Undefined if no shard responds. */
export function mergeStatus(shards: ShardStatuses): SemaphoreStatus | undefined {
  const all = shards.filter((status) => status !== undefined);
  const [first] = all;
  if (!first) return undefined;
  const sum = (of: (status: ShardStatus) => number) => all.reduce((total, status) => total + of(status), 0);
  return {
    name: first.name,
    concurrency: sum(({ concurrency }) => concurrency) + limitOfLost(shards, first),
    limitNow: sum(({ limitNow }) => limitNow),
    adaptiveLimit: first.adaptiveLimit === null ? null : sum(({ adaptiveLimit }) => adaptiveLimit ?? 0),
    rate: first.whole?.rate ?? null,
    paused: all.some(({ paused }) => paused),
    overridden: [...new Set(all.flatMap(({ overridden }) => overridden))],
    obstacle: worstObstacle(all),
    breaker: worst(
      BREAKERS,
      all.map(({ breaker }) => breaker),
    ),
    held: {
      count: sum(({ held }) => held.count),
      ...(all.some(({ held }) => held.weight !== undefined) && {
        weight: sum(({ held }) => held.weight ?? held.count),
      }),
      leases: mergeLists(all.map(({ held }) => held.leases)),
    },
    waiting: { count: sum(({ waiting }) => waiting.count), callers: mergeCallers(all) },
    ...mergeKeys(all),
    totals: mergeTotals(all),
    latencyMs: meanLatencies(all),
    shards: {
      count: shards.length,
      lost: [...shards.keys()].filter((shard) => shards[shard] === undefined),
      responding: shards.flatMap((status, shard) => (status ? [describeShard(shard, status)] : [])),
    },
  };
}

type Described = NonNullable<SemaphoreStatus["shards"]>["responding"][number];

function describeShard(shard: number, status: ShardStatus): Described {
  const { concurrency, limitNow, held, waiting, obstacle, breaker, totals } = status;
  return {
    shard,
    concurrency,
    limitNow,
    held: held.count,
    waiting: waiting.count,
    obstacle,
    breaker,
    totals,
  };
}

/** A shard that does not respond has its part of the limit all the same, and may have granted all of it. */
function limitOfLost(shards: ShardStatuses, { whole, concurrency }: ShardStatus): number {
  const limit = whole?.concurrency ?? concurrency;
  return shards.reduce(
    (total, status, shard) => total + (status ? 0 : partOf(limit, shard, shards.length)),
    0,
  );
}

/** Shards that have no permits are in nobody's way. */
function worstObstacle(all: readonly ShardStatus[]): Obstacle | null {
  const used = all.filter(({ concurrency }) => concurrency > 0);
  const obstacles = used.flatMap(({ obstacle }) => obstacle ?? []);
  const isEachBlocked = obstacles.length === used.length;
  const shown = obstacles.filter(({ is }) => isEachBlocked || !MILD.includes(is));
  if (shown.length === 0) return null;
  const is = worst(
    OBSTACLES,
    shown.map((obstacle) => obstacle.is),
  );
  const ends = shown.flatMap((obstacle) => (obstacle.is === is ? [obstacle.until] : []));
  return { is, until: ends.reduce(later) };
}

/** Null is never. */
const later = (a: string | null, b: string | null) => (a === null || b === null ? null : a > b ? a : b);

const worst = <T>(order: readonly T[], states: readonly T[]): T =>
  states.reduce((a, b) => (order.indexOf(b) > order.indexOf(a) ? b : a));

const mergeLists = <T extends { since: string }>(lists: readonly T[][]): T[] =>
  lists
    .flat()
    .toSorted((a, b) => (a.since < b.since ? -1 : 1))
    .slice(0, MAX_LISTED);

type WaitingCaller = SemaphoreStatus["waiting"]["callers"][number];

/** By their places in the queues of their shards. */
const mergeCallers = (all: readonly ShardStatus[]): WaitingCaller[] =>
  all
    .flatMap(({ waiting }) => waiting.callers)
    .toSorted((a, b) => a.position - b.position || (a.since < b.since ? -1 : 1))
    .slice(0, MAX_LISTED)
    .map((caller, i) => ({ ...caller, position: i + 1 }));

function mergeKeys(all: readonly ShardStatus[]): Pick<SemaphoreStatus, "keys"> {
  const each = all.flatMap(({ keys }) => keys ?? []);
  if (each.length === 0) return {};
  const byKey = Map.groupBy(
    each.flatMap(({ top }) => top),
    ({ key }) => key,
  );
  const summed = [...byKey].map(([key, parts]) => ({
    key,
    waiting: parts.reduce((total, { waiting }) => total + waiting, 0),
    held: parts.reduce((total, { held }) => total + held, 0),
  }));
  return { keys: { count: each.reduce((total, { count }) => total + count, 0), top: topKeys(summed) } };
}

type Totals = SemaphoreStatus["totals"];

function mergeTotals(all: readonly ShardStatus[]): Totals {
  const each = all.map(({ totals }) => totals);
  return each.reduce((a, b) => ({
    since: a.since < b.since ? a.since : b.since,
    granted: a.granted + b.granted,
    handedOn: a.handedOn + b.handedOn,
    expired: a.expired + b.expired,
    retries: a.retries + b.retries,
    retriesRefused: a.retriesRefused + b.retriesRefused,
    outcomes: sumMembers(a.outcomes, b.outcomes),
    refused: sumMembers(a.refused, b.refused),
    waits: sumWaits(a.waits, b.waits),
  }));
}

/** A shard of an earlier version does not count them. */
const sumWaits = (a: number[] | undefined, b: number[] | undefined): number[] =>
  (a ?? b ?? []).map((count, i) => count + (a ? (b?.[i] ?? 0) : 0));

function sumMembers<Key extends string>(a: Record<Key, number>, b: Record<Key, number>): Record<Key, number> {
  const sums = { ...a };
  for (const key in sums) sums[key] += b[key];
  return sums;
}

/** Each shard sees calls at random, so the mean of their percentiles, by how many calls they saw, is near to that of all. */
function meanLatencies(all: readonly ShardStatus[]): SemaphoreStatus["latencyMs"] {
  const seen = all.flatMap(({ latencyMs, totals }) => {
    const calls = Object.values(totals.outcomes).reduce((a, b) => a + b, 0);
    return latencyMs && calls > 0 ? [{ latencyMs, calls }] : [];
  });
  const calls = seen.reduce((total, one) => total + one.calls, 0);
  if (calls === 0) return null;
  const mean = (of: "p50" | "p90" | "p99") =>
    Math.round(seen.reduce((total, one) => total + one.latencyMs[of] * one.calls, 0) / calls);
  return { p50: mean("p50"), p90: mean("p90"), p99: mean("p99") };
}
