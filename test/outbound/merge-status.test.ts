/** One status from those of several shards. */
import { describe, expect, test } from "vitest";
import { mergeStatus } from "../../src/outbound/merge-status.ts";
import { type ShardStatus, statusSchema } from "../../src/outbound/semaphore/status.ts";

const T = (second: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, second)).toISOString();
const WHOLE = { concurrency: 8, rate: { per_second: 100, burst: 8 } };

const shard = (change: Partial<ShardStatus> = {}): ShardStatus => ({
  name: "api",
  concurrency: 2,
  limitNow: 2,
  adaptiveLimit: null,
  rate: { per_second: 25, burst: 2 },
  paused: false,
  overridden: [],
  obstacle: null,
  breaker: "closed",
  held: { count: 0, leases: [] },
  waiting: { count: 0, callers: [] },
  totals: totals(0, T(9)),
  latencyMs: null,
  whole: WHOLE,
  ...change,
});

const totals = (calls: number, since: string): ShardStatus["totals"] => ({
  since,
  granted: calls,
  handedOn: calls,
  expired: calls,
  retries: calls,
  retriesRefused: calls,
  outcomes: { ok: calls, overloaded: calls, failed: 0, unknown: 0 },
  refused: {
    "queue-full": calls,
    "too-many-requests": 0,
    "wait-limit": 0,
    paused: 0,
    "breaker-open": calls,
    "too-heavy": 0,
  },
  waits: [calls],
});

const lease = (id: string, second: number) => ({ id, fence: 1, holder: id, since: T(second), until: T(60) });
const caller = (id: string, position: number, second: number) => ({
  id,
  position,
  holder: id,
  priority: "interactive" as const,
  since: T(second),
  estimatedWaitMs: 5,
});
const merge = (...shards: (ShardStatus | undefined)[]) => {
  const status = mergeStatus(shards);
  if (!status) throw new Error("There is no status.");
  return status;
};
const FOUR = () => [shard(), shard(), shard(), shard()];

test("is what the document says, and the whole limits again", () => {
  const status = merge(...FOUR());
  expect(statusSchema.strict().parse(status)).toEqual(status);
  expect(status).toMatchObject({ name: "api", concurrency: 8, limitNow: 8, rate: WHOLE.rate });
  expect(status.shards).toMatchObject({ count: 4, lost: [] });
});

test("sums what is counted, and the totals count from when the first shard does", () => {
  const status = merge(
    shard({ totals: totals(3, T(5)), limitNow: 1, adaptiveLimit: 1 }),
    shard({ totals: totals(4, T(3)), limitNow: 2, adaptiveLimit: 2 }),
  );
  expect(status).toMatchObject({ limitNow: 3, adaptiveLimit: 3, totals: totals(7, T(3)) });
});

test("lists leases by age, and waiters by their places, a hundred of each", () => {
  const many = (from: number) => Array.from({ length: 100 }, (_, i) => lease(`${from}-${i}`, from));
  const status = merge(
    shard({
      held: { count: 150, leases: many(1) },
      waiting: { count: 2, callers: [caller("a", 1, 7), caller("b", 2, 8)] },
    }),
    shard({
      held: { count: 100, leases: many(0) },
      waiting: { count: 1, callers: [caller("c", 1, 6)] },
    }),
  );
  expect([status.held.count, status.held.leases.length, status.held.leases[0]?.id]).toEqual([
    250,
    100,
    "0-0",
  ]);
  expect(status.waiting.callers.map(({ id, position }) => `${position} ${id}`)).toEqual([
    "1 c",
    "2 a",
    "3 b",
  ]);
});

test("averages latencies by how many calls each shard saw", () => {
  const seen = (calls: number, ms: number) =>
    shard({ totals: totals(calls, T(1)), latencyMs: { p50: ms, p90: 2 * ms, p99: 3 * ms } });
  expect(merge(seen(30, 100), seen(10, 200), shard()).latencyMs).toEqual({ p50: 125, p90: 250, p99: 375 });
  expect(merge(...FOUR()).latencyMs).toBeNull();
});

describe("shows as the obstacle", () => {
  const blocked = (is: NonNullable<ShardStatus["obstacle"]>["is"], until: string | null) =>
    shard({ obstacle: { is, until } });

  test("nothing, while one shard has a permit left", () => {
    expect(merge(blocked("concurrency", null), shard(), blocked("rate", T(1))).obstacle).toBeNull();
  });

  test("that all permits are held, if they are", () => {
    expect(merge(blocked("concurrency", null), blocked("concurrency", null)).obstacle).toEqual({
      is: "concurrency",
      until: null,
    });
  });

  test("the worst of any shard, and its last end", () => {
    const shards = [blocked("breaker-open", T(2)), blocked("paused", T(1)), blocked("paused", T(4)), shard()];
    expect(merge(...shards).obstacle).toEqual({ is: "paused", until: T(4) });
    expect(merge(...shards, blocked("paused", null)).obstacle).toEqual({ is: "paused", until: null });
    expect(merge(shard({ breaker: "open" }), shard({ breaker: "half-open" })).breaker).toBe("open");
    expect(merge(shard({ paused: true }), shard()).paused).toBe(true);
  });

  test("nothing of a shard that has no permits", () => {
    const none = shard({ concurrency: 0, obstacle: { is: "concurrency", until: null } });
    expect(merge(none, shard()).obstacle).toBeNull();
    expect(merge(none, blocked("concurrency", null)).obstacle?.is).toBe("concurrency");
  });
});

describe("a shard that does not respond", () => {
  test("is named, its part of the limit is still counted, and what it holds is not made up", () => {
    const status = merge(shard({ held: { count: 2, leases: [] } }), undefined, shard(), undefined);
    expect(status).toMatchObject({ concurrency: 8, limitNow: 4, held: { count: 2 } });
    expect(status.shards?.lost).toEqual([1, 3]);
    expect(status.shards?.responding.map(({ shard: number, held }) => [number, held])).toEqual([
      [0, 2],
      [2, 0],
    ]);
  });

  test("leaves nothing to show if it is all of them", () => {
    expect(mergeStatus([undefined, undefined])).toBeUndefined();
  });
});
