/**
 * The figures of a semaphore for `GET /metrics`. What they count outlives the object (kernel/kept-tally.ts), as long as
 * somebody reads it; `Statistics` begins anew with each start.
 */
import { KeptTally } from "../../kernel/kept-tally.ts";
import { type Figures, keyOf } from "../../kernel/tally.ts";
import type { PermitsState } from "./permit-types.ts";
import type { Permits } from "./permits.ts";
import { PRIORITIES } from "./wait-queue.ts";

const BREAKER_PHASES = ["closed", "half-open", "open"] as const;

export class SemaphoreFigures {
  readonly #tally: KeptTally;

  constructor(storage: DurableObjectStorage) {
    this.#tally = new KeptTally(storage);
  }

  add(...key: string[]): void {
    this.#tally.add(keyOf(...key));
  }

  addWait(ms: number): void {
    this.#tally.addDuration("wait", ms);
  }

  onPause(by: "operator" | "upstream"): void {
    this.#tally.add(keyOf("pauses", by));
  }

  /** Counts what follows from a change of the rules, given their state before it. */
  onChange(before: PermitsState | undefined, permits: Permits, nowMs: number): void {
    const { throttle, breaker } = permits.state;
    const wasPaused = (before?.throttle.pausedUntilMs ?? 0) > nowMs;
    if (throttle.pausedUntilMs > nowMs && !wasPaused) this.onPause("upstream");
    if (breaker.isOpen && before?.breaker.isOpen !== true) this.#tally.add("breaker-opened");
  }

  read(permits: Permits, nowMs: number): Figures {
    const phase = permits.outlook.breakerAt(nowMs);
    const waiters = [...permits.queue];
    const gauges: Record<string, number> = {
      "in-use": permits.heldWeight,
      limit: permits.outlook.limitAt(nowMs),
      paused: Number(permits.outlook.blockAt(nowMs)?.by === "paused"),
    };
    for (const priority of PRIORITIES)
      gauges[keyOf("waiters", priority)] = waiters.filter((waiter) => waiter.priority === priority).length;
    for (const one of BREAKER_PHASES) gauges[keyOf("breaker", one)] = Number(one === phase);
    const fenced = { granted: permits.lastFence };
    return { counts: { ...this.#tally.read(nowMs), ...fenced }, gauges };
  }
}
