/**
 * What each limit key may have of an upstream: so many permits, and so many calls a second. No clock or storage in here.
 *
 * Memory is used for keys that hold permits, or whose latest calls still count for the rate. What a restart forgets is
 * taken for the worst that it can be: every key was as fast as the fastest.
 */
import type { PerKey } from "../settings.ts";
import { dueAfterCall, rateAllowsAt } from "./rate.ts";
import { weightOf } from "./wait-queue.ts";

/** A call under a key. */
interface KeyedCall {
  key?: string;
  weight?: number;
}

/** Keys whose latest calls count no longer are looked for when there are twice as many as after the last time. */
const FIRST_SWEEP = 64;

export class KeyLimits {
  readonly #perKey: PerKey;
  readonly #heldUnder: (key: string) => number;
  /** When the next call of a key is due at the rate. */
  readonly #dueAtMs = new Map<string, number>();
  /** That of a key which is not known. */
  readonly #unknownDueAtMs: number;
  #latestDueAtMs: number;
  #sweepAt = FIRST_SWEEP;

  /** `heldUnder`: how many permits a key has. `latestDueAtMs`: what it was at the end of an earlier life, at `atMs`. */
  constructor(perKey: PerKey, heldUnder: (key: string) => number, latestDueAtMs: number, atMs: number) {
    this.#perKey = perKey;
    this.#heldUnder = heldUnder;
    const { rate } = perKey;
    const wholeBurstMs = rate ? (rate.burst * 1000) / rate.perSecond : 0;
    this.#unknownDueAtMs = Math.min(latestDueAtMs, atMs + wholeBurstMs);
    this.#latestDueAtMs = this.#unknownDueAtMs;
  }

  /** When the next call of any key is due, at the latest. */
  get latestDueAtMs(): number {
    return this.#latestDueAtMs;
  }

  /** How much a call may weigh. */
  get maxWeight(): number {
    return this.#perKey.concurrency ?? Infinity;
  }

  /** When a key allows a call; Infinity if it takes the end of another. */
  allowsAt(call: KeyedCall): number {
    const { key } = call;
    if (key === undefined) return 0;
    if (this.#heldUnder(key) + weightOf(call) > this.maxWeight) return Infinity;
    const { rate } = this.#perKey;
    return rate ? rateAllowsAt(rate, this.#dueAtMs.get(key) ?? this.#unknownDueAtMs) : 0;
  }

  /** A call under a key begins: it counts for the rate. */
  onCall(key: string | undefined, nowMs: number): void {
    const { rate } = this.#perKey;
    if (!rate || key === undefined) return;
    const dueAtMs = dueAfterCall(rate, this.#dueAtMs.get(key) ?? this.#unknownDueAtMs, nowMs);
    this.#dueAtMs.set(key, dueAtMs);
    this.#latestDueAtMs = Math.max(this.#latestDueAtMs, dueAtMs);
    if (this.#dueAtMs.size >= this.#sweepAt) this.#sweep(nowMs);
  }

  #sweep(nowMs: number): void {
    for (const [key, dueAtMs] of this.#dueAtMs)
      if (dueAtMs <= nowMs && this.#unknownDueAtMs <= nowMs) this.#dueAtMs.delete(key);
    this.#sweepAt = Math.max(FIRST_SWEEP, 2 * this.#dueAtMs.size);
  }
}
