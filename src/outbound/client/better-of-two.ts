/**
 * Takes a call to the better of two shards (shard-loads.ts), and to the other if that one cannot serve it: its queue is
 * full, or the caller's share of that, or it does not respond. Whatever else refuses a call holds for all shards, or is
 * the shard's judgement of the upstream, which is not put to another: an upstream that fails gets no further try that way.
 */
import { Problem, type ProblemKind } from "../../kernel/problem.ts";
import type { ShardLoads } from "./shard-loads.ts";

const MAX_SHARDS_TRIED = 2;
/** For how long calls rather go elsewhere, after a shard did not respond. */
const LOST_MS = 5_000;
/** The same, after its queue was full. */
const FULL_MS = 500;

const ABOUT_THE_SHARD: ReadonlySet<ProblemKind> = new Set([
  "queue-full",
  "too-many-requests",
  "semaphore-unavailable",
]);

/**
 * Resolves as `acquire` does at the first shard that can serve the call, or throws what the last one that was tried
 * threw. A shard without permits does not count as one that was tried.
 */
export async function atBetterOfTwo<T>(
  loads: ShardLoads,
  acquire: (shard: number) => Promise<T>,
  random: () => number = Math.random,
): Promise<T> {
  const tried = new Set<number>();
  let failure: unknown;
  for (let failures = 0; failures < MAX_SHARDS_TRIED; ) {
    const shard = loads.choose(Date.now(), random, tried);
    if (shard === undefined) break;
    tried.add(shard);
    try {
      return await acquire(shard);
    } catch (error) {
      if (!isAboutTheShard(error)) throw error;
      loads.avoid(shard, Date.now() + (error.kind === "semaphore-unavailable" ? LOST_MS : FULL_MS));
      if (loads.mayHavePermits(shard, Date.now())) failures++;
      failure = error;
    }
  }
  throw failure;
}

const isAboutTheShard = (error: unknown): error is Problem =>
  error instanceof Problem && ABOUT_THE_SHARD.has(error.kind);
