/** Figures about an upstream's calls since its object started: totals, and how long the latest calls took. */
import { BOUNDS_S, bucketOf } from "../../kernel/tally.ts";
import type { SemaphoreFigures } from "./figures.ts";
import type { Feedback, RefusalReason } from "./permit-types.ts";

/** Percentiles are taken from this many of the latest calls. */
const SAMPLES = 1024;

export interface Totals {
  granted: number;
  handedOn: number;
  expired: number;
  retries: number;
  retriesRefused: number;
  outcomes: Record<Feedback["outcome"], number>;
  refused: Record<RefusalReason, number>;
  /** How many waited for how long, by the buckets of all histograms. */
  waits: number[];
}

type Kept = Pick<SemaphoreFigures, "add" | "addWait">;

export class Statistics {
  readonly sinceMs: number;
  readonly totals: Totals = {
    granted: 0,
    handedOn: 0,
    expired: 0,
    retries: 0,
    retriesRefused: 0,
    outcomes: { ok: 0, overloaded: 0, failed: 0, unknown: 0 },
    refused: {
      "queue-full": 0,
      "too-many-requests": 0,
      "wait-limit": 0,
      paused: 0,
      "breaker-open": 0,
      "too-heavy": 0,
    },
    waits: Array.from({ length: BOUNDS_S.length + 1 }, () => 0),
  };
  readonly #kept: Kept;
  readonly #latenciesMs: number[] = [];
  #next = 0;

  /** What is counted here is added to `kept` too, which outlives the object. */
  constructor(sinceMs: number, kept: Kept) {
    this.sinceMs = sinceMs;
    this.#kept = kept;
  }

  onGrant(): void {
    this.totals.granted++;
  }

  /** Somebody has got a permit, after `ms`. */
  onWait(ms: number): void {
    const bucket = bucketOf(ms);
    this.totals.waits[bucket] = (this.totals.waits[bucket] ?? 0) + 1;
    this.#kept.addWait(ms);
  }

  onExpiry(): void {
    this.totals.expired++;
    this.#kept.add("expired");
  }

  onRefusal(reason: RefusalReason): void {
    this.totals.refused[reason]++;
    this.#kept.add("refusals", reason);
  }

  onRetry(isAllowed: boolean): void {
    if (isAllowed) this.totals.retries++;
    else this.totals.retriesRefused++;
    this.#kept.add("retries", isAllowed ? "allowed" : "refused");
  }

  /** A call has ended, and its permit was handed on. */
  onHandOver(outcome: Feedback["outcome"], ms: number): void {
    this.totals.handedOn++;
    this.#kept.add("hand-overs");
    this.onEnd(outcome, ms);
  }

  /** A call has ended; it held its permit for `ms`. */
  onEnd(outcome: Feedback["outcome"], ms: number): void {
    this.totals.outcomes[outcome]++;
    this.#kept.add("calls", outcome);
    this.#latenciesMs[this.#next++ % SAMPLES] = ms;
  }

  /** In ms; undefined before the first call. */
  percentiles(): { p50: number; p90: number; p99: number } | undefined {
    const sorted = this.#latenciesMs.toSorted((a, b) => a - b);
    if (sorted.length === 0) return undefined;
    const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
    return { p50: at(0.5), p90: at(0.9), p99: at(0.99) };
  }
}
