/** Why a caller is refused a permit, and when it may ask again. */
import type { FairQueue } from "./fair-queue.ts";
import type { Gate } from "./gate.ts";
import type { KeyLimits } from "./key-limits.ts";
import type { Outlook } from "./outlook.ts";
import type { Block, Refusal, RefusalReason } from "./permit-types.ts";
import { type Waiter, weightOf } from "./wait-queue.ts";

/** When to ask again while an operator has paused the upstream. */
const GUESSED_PAUSE_MS = 60_000;
const MIN_RETRY_MS = 1000;

export class Refusals {
  readonly #gate: Gate;
  readonly #queue: FairQueue;
  readonly #limits: KeyLimits | undefined;
  readonly #outlook: Outlook;

  constructor(gate: Gate, queue: FairQueue, limits: KeyLimits | undefined, outlook: Outlook) {
    this.#gate = gate;
    this.#queue = queue;
    this.#limits = limits;
    this.#outlook = outlook;
  }

  /** Why a caller may not join the queue; undefined if it may. */
  reasonAgainstNewcomer(waiter: Waiter, block: Block | undefined, nowMs: number): RefusalReason | undefined {
    const { maxWaiters, maxWaitMs } = this.#gate.settings;
    if (block?.by === "paused" && block.untilMs > waiter.arrivedAtMs + maxWaitMs) return "paused";
    if (this.#queue.length >= maxWaiters) return "queue-full";
    const { key } = waiter;
    const isKeyFull = key !== undefined && this.#queue.waitingUnder(key) >= this.#mostUnderKey;
    if (this.#queue.hasShareOf(waiter) || isKeyFull) return "too-many-requests";
    return this.reasonAgainstWaiter(waiter, block, nowMs);
  }

  /** Why a caller may wait no longer; undefined if it may. */
  reasonAgainstWaiter(waiter: Waiter, block: Block | undefined, nowMs: number): RefusalReason | undefined {
    const { concurrency, maxWaitMs } = this.#gate.settings;
    // A shard that has no permits. The caller finds another.
    if (concurrency === 0) return "queue-full";
    if (block?.by === "breaker-open") return "breaker-open";
    if (waiter.arrivedAtMs + maxWaitMs > nowMs) return undefined;
    return block?.by === "paused" ? "paused" : "wait-limit";
  }

  /** Whether it weighs more than can ever be granted. A call of weight 1 waits until there is a limit again. */
  isTooHeavy(waiter: Waiter): boolean {
    return weightOf(waiter) > Math.max(1, this.#maxWeightOf(waiter));
  }

  refusal(reason: RefusalReason, waiter: Waiter, block: Block | undefined, nowMs: number): Refusal {
    const byOperator = reason === "paused" && block?.untilMs === Infinity;
    const retryAfterMs = byOperator ? GUESSED_PAUSE_MS : this.#retryAfterMs(block, nowMs);
    const refusal = { reason, byOperator, retryAfterMs };
    if (reason === "too-heavy") return { ...refusal, maxWeight: this.#maxWeightOf(waiter) };
    const isByKey = reason === "too-many-requests" && !this.#queue.hasShareOf(waiter);
    return isByKey ? { ...refusal, underKey: this.#mostUnderKey } : refusal;
  }

  #retryAfterMs(block: Block | undefined, nowMs: number): number {
    const isTimed =
      block && block.by !== "concurrency" && block.by !== "rate" && Number.isFinite(block.untilMs);
    if (isTimed) return block.untilMs - nowMs;
    return Math.max(MIN_RETRY_MS, this.#outlook.estimateWaitMs(this.#queue.length, nowMs));
  }

  /**
   * How many calls may wait under one limit key: as many as there are places left. So however many a key sends, it leaves
   * as much room as it takes.
   */
  get #mostUnderKey(): number {
    return this.#gate.settings.maxWaiters - this.#queue.length;
  }

  #maxWeightOf({ key }: Waiter): number {
    const { concurrency, maxWeight = concurrency } = this.#gate.settings;
    return Math.min(maxWeight, (key === undefined ? undefined : this.#limits?.maxWeight) ?? Infinity);
  }
}
