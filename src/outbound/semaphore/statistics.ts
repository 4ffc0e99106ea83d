/** What an upstream's calls have come to since the object started: totals, and how long the latest ones took. */
import type { Feedback, Refusal } from "./protocol.ts";

/** The latest calls that percentiles are taken from. */
const SAMPLES = 1024;

export interface Totals {
  granted: number;
  expired: number;
  retries: number;
  retriesRefused: number;
  outcomes: Record<Feedback["outcome"], number>;
  refused: Record<Refusal, number>;
}

export class Statistics {
  readonly sinceMs: number;
  readonly totals: Totals = {
    granted: 0,
    expired: 0,
    retries: 0,
    retriesRefused: 0,
    outcomes: { ok: 0, overloaded: 0, failed: 0, unknown: 0 },
    refused: { "queue-full": 0, "wait-limit": 0, paused: 0, "breaker-open": 0 },
  };
  readonly #latenciesMs: number[] = [];
  #next = 0;

  constructor(sinceMs: number) {
    this.sinceMs = sinceMs;
  }

  granted(): void {
    this.totals.granted++;
  }

  expired(): void {
    this.totals.expired++;
  }

  refused(why: Refusal): void {
    this.totals.refused[why]++;
  }

  retried(isAllowed: boolean): void {
    if (isAllowed) this.totals.retries++;
    else this.totals.retriesRefused++;
  }

  /** A call is over that took `ms`, from its permit to the release. */
  ended(outcome: Feedback["outcome"], ms: number): void {
    this.totals.outcomes[outcome]++;
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
