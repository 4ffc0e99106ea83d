/**
 * What can block every grant, besides the order of the queue. In the order in which it is checked:
 *
 *     paused        by an operator
 *     restarted     a moment ago, while permits were held: those that waited before come back first
 *     paused        because the upstream sent Retry-After
 *     breaker-open  the upstream fails
 *     probe         the breaker is half-open, and its probe is in flight
 *     concurrency   as many permits are held as the limit, the ramp and the adaptive limit allow
 *     rate          too many calls a moment ago
 */
import type { Settings } from "../settings.ts";
import { Health } from "./health.ts";
import type { HeldLeases } from "./held-leases.ts";
import type { Block, PermitsState } from "./permit-types.ts";
import { dueAfterCall, rateAllowsAt } from "./rate.ts";

/** After a restart with calls in flight, nobody is granted a permit for this long. */
const GRACE_MS = 150;

export class Gate {
  readonly health: Health;
  readonly #held: HeldLeases;
  readonly #graceUntilMs: number;
  #settings: Settings;
  /** When the next call is due at the rate. */
  #dueAtMs: number;

  /** `held`: the leases; those of before a restart at `atMs`, as long as nothing else has happened. */
  constructor(settings: Settings, held: HeldLeases, state: PermitsState | undefined, atMs: number) {
    this.#settings = settings;
    this.#held = held;
    this.#graceUntilMs = held.weight > 0 ? atMs + GRACE_MS : 0;
    this.#dueAtMs = state?.dueAtMs ?? 0;
    this.health = new Health(settings.concurrency, state, (leaseId) => held.all.has(leaseId));
    this.#capDueTime(atMs);
  }

  get state(): PermitsState {
    const { throttle, breaker, budget } = this.health;
    return {
      throttle: throttle.state,
      breaker: breaker.state,
      dueAtMs: this.#dueAtMs,
      retryBudget: budget.kept,
    };
  }

  get settings(): Settings {
    return this.#settings;
  }

  configure(settings: Settings, nowMs: number): void {
    if (this.#settings.isPaused && !settings.isPaused) this.health.throttle.beginRamp(nowMs);
    this.#settings = settings;
    this.health.throttle.hardLimit = settings.concurrency;
    this.#capDueTime(nowMs);
  }

  /** A call begins: it counts for the rate. */
  onCall(nowMs: number): void {
    const { rate } = this.#settings;
    if (rate) this.#dueAtMs = dueAfterCall(rate, this.#dueAtMs, nowMs);
  }

  /** What blocks every grant at `nowMs`, if anything does; or that of a call which weighs more than 1. */
  blockAt(nowMs: number, weight = 1): Block | undefined {
    const { throttle, breaker } = this.health;
    if (this.#settings.isPaused) return { by: "paused", untilMs: Infinity };
    const { pausedUntilMs } = throttle.state;
    if (nowMs < this.#graceUntilMs) return { by: "restarted", untilMs: this.#graceUntilMs };
    if (nowMs < pausedUntilMs) return { by: "paused", untilMs: pausedUntilMs };
    const phase = breaker.phaseAt(nowMs);
    if (phase === "open") return { by: "breaker-open", untilMs: breaker.state.reopensAtMs };
    if (phase === "half-open" && breaker.hasProbe) return { by: "probe", untilMs: Infinity };
    const held = this.#held.weight;
    if (!this.#hasRoomAt(nowMs, weight))
      return { by: "concurrency", untilMs: throttle.rampExceedsAtMs(held + weight - 1, nowMs) };
    const { rate } = this.#settings;
    const rateAtMs = rate ? rateAllowsAt(rate, this.#dueAtMs) : 0;
    return rateAtMs > nowMs ? { by: "rate", untilMs: rateAtMs } : undefined;
  }

  /**
   * Whether a permit may be handed on: only while nothing blocks a grant but that all permits are held, and as many as
   * may be. With a rate, never: calls can be counted only here.
   */
  mayHandOnAt(nowMs: number): boolean {
    const block = this.blockAt(nowMs);
    return (
      (block === undefined || block.by === "concurrency") &&
      this.#settings.rate === undefined &&
      this.health.breaker.phaseAt(nowMs) === "closed" &&
      this.#held.weight <= this.limitAt(nowMs)
    );
  }

  /**
   * The ramp and the adaptive limit may leave less than a call weighs, and the latter rises only while calls use all of it.
   * So a call that is alone needs no more than the hard limit.
   */
  #hasRoomAt(nowMs: number, weight: number): boolean {
    const held = this.#held.weight;
    if (held + weight <= this.limitAt(nowMs)) return true;
    return held === 0 && weight > 1 && weight <= this.#settings.concurrency;
  }

  /** How many permits may be held at `nowMs`. */
  limitAt(nowMs: number): number {
    const { concurrency, adaptive } = this.#settings;
    const { throttle } = this.health;
    return Math.min(throttle.rampAt(nowMs), adaptive ? throttle.adaptiveLimit : concurrency);
  }

  /** After a change of rate: what is due at a slower rate is due, at the latest, a whole burst from now. */
  #capDueTime(nowMs: number): void {
    const { rate } = this.#settings;
    if (rate) this.#dueAtMs = Math.min(this.#dueAtMs, nowMs + (rate.burst * 1000) / rate.perSecond);
  }
}
