/** Why a caller is refused a permit, and when it may ask again. */
import type { Settings } from "../settings.ts";
import type { FairQueue } from "./fair-queue.ts";
import type { Block, Refusal, RefusalReason } from "./permit-types.ts";
import type { Waiter } from "./wait-queue.ts";

/** When to ask again while an operator has paused the upstream. */
const GUESSED_PAUSE_MS = 60_000;
const MIN_RETRY_MS = 1000;

/** Why a caller may not join the queue; undefined if it may. */
export function reasonToRefuseNewcomer(
  waiter: Waiter,
  queue: FairQueue,
  settings: Settings,
  block: Block | undefined,
  nowMs: number,
): RefusalReason | undefined {
  const { maxWaiters, maxWaitMs } = settings;
  if (block?.by === "paused" && block.untilMs > waiter.arrivedAtMs + maxWaitMs) return "paused";
  if (queue.length >= maxWaiters) return "queue-full";
  const { key } = waiter;
  const isKeyFull = key !== undefined && queue.waitingUnder(key) >= mostUnderKey(queue, maxWaiters);
  if (queue.hasShareOf(waiter) || isKeyFull) return "too-many-requests";
  return reasonToRefuseWaiter(waiter, settings, block, nowMs);
}

/**
 * How many calls may wait under one limit key: as many as there are places left. So however many a key sends, it leaves as
 * much room as it takes.
 */
export const mostUnderKey = ({ length }: FairQueue, maxWaiters: number): number => maxWaiters - length;

/** Why a caller may wait no longer; undefined if it may. */
export function reasonToRefuseWaiter(
  waiter: Waiter,
  { concurrency, maxWaitMs }: Settings,
  block: Block | undefined,
  nowMs: number,
): RefusalReason | undefined {
  // A shard that has no permits. The caller finds another.
  if (concurrency === 0) return "queue-full";
  if (block?.by === "breaker-open") return "breaker-open";
  if (waiter.arrivedAtMs + maxWaitMs > nowMs) return undefined;
  return block?.by === "paused" ? "paused" : "wait-limit";
}

/** The refusal for this reason. `estimatedWaitMs` is how long the next in the queue will wait. */
export function refusalFor(
  reason: RefusalReason,
  block: Block | undefined,
  estimatedWaitMs: number,
  nowMs: number,
): Refusal {
  const byOperator = reason === "paused" && block?.untilMs === Infinity;
  if (byOperator) return { reason, byOperator, retryAfterMs: GUESSED_PAUSE_MS };
  const isTimed =
    block && block.by !== "concurrency" && block.by !== "rate" && Number.isFinite(block.untilMs);
  const retryAfterMs = isTimed ? block.untilMs - nowMs : Math.max(MIN_RETRY_MS, estimatedWaitMs);
  return { reason, byOperator, retryAfterMs };
}
