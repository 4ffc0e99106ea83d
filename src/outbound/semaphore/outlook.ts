/** What is to be expected: what blocks the next grant, and when time alone will change something. */
import type { Breaker } from "./breaker.ts";
import type { FairQueue } from "./fair-queue.ts";
import type { Gate } from "./gate.ts";
import type { HeldLeases } from "./held-leases.ts";
import type { Block } from "./permit-types.ts";
import type { Succession } from "./succession.ts";
import { weightOf } from "./wait-queue.ts";

export class Outlook {
  readonly #gate: Gate;
  readonly #queue: FairQueue;
  readonly #held: HeldLeases;
  readonly #succession: Succession;

  constructor(gate: Gate, queue: FairQueue, held: HeldLeases, succession: Succession) {
    this.#gate = gate;
    this.#queue = queue;
    this.#held = held;
    this.#succession = succession;
  }

  /** When `advance` will next have something to do for those that wait; undefined if nobody waits. */
  nextChangeAtMs(nowMs: number): number | undefined {
    const oldest = this.#queue.oldest;
    if (!oldest) return undefined;
    const { maxWaitMs, maxPassMs } = this.#gate.settings;
    const passMs = this.#succession.nextChangeAtMs(maxPassMs, nowMs);
    const grantAtMs = this.#nextGrantAtMs(nowMs);
    return Math.min(oldest.arrivedAtMs + maxWaitMs, this.#held.earliestEndMs, grantAtMs, passMs);
  }

  /** When time alone will let a waiter have its permit; Infinity if it lets none. */
  #nextGrantAtMs(nowMs: number): number {
    const block = this.#gate.blockAt(nowMs);
    if (block) return block.untilMs;
    const next = this.#queue.next(nowMs);
    const own = next ? (this.#gate.blockAt(nowMs, weightOf(next))?.untilMs ?? nowMs) : Infinity;
    return Math.min(own, this.#queue.nextAtMs);
  }

  /** What blocks every grant, or that of the waiter whose turn it is, if this weighs more than 1. */
  blockAt(nowMs: number): Block | undefined {
    const block = this.#gate.blockAt(nowMs);
    if (block || this.#queue.isPlain) return block;
    const next = this.#queue.next(nowMs);
    return next && this.#gate.blockAt(nowMs, weightOf(next));
  }

  limitAt(nowMs: number): number {
    return this.#gate.limitAt(nowMs);
  }

  get adaptiveLimit(): number | undefined {
    return this.#gate.settings.adaptive ? this.#gate.health.throttle.adaptiveLimit : undefined;
  }

  breakerAt(nowMs: number): ReturnType<Breaker["phaseAt"]> {
    return this.#gate.health.breaker.phaseAt(nowMs);
  }

  /** Roughly how long a waiter at this position (from 0) of the queue will wait. */
  estimateWaitMs(position: number, nowMs: number): number {
    const block = this.blockAt(nowMs);
    const blockedMs = block && Number.isFinite(block.untilMs) ? block.untilMs - nowMs : 0;
    return Math.ceil(blockedMs + (this.#held.meanHoldMs * (position + 1)) / Math.max(1, this.limitAt(nowMs)));
  }
}
