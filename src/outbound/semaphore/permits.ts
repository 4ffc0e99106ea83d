/**
 * Who may call an upstream now: the rules of the semaphore, without clock, storage, chance or network.
 *
 * A permit is a lease. It is granted to whoever asks while nobody waits and nothing stands in the way; others wait in
 * line. It ends when it is released, or when its time is over. What can stand in the way, the first that does:
 *
 *     restarted     a moment ago, while permits were held: those who waited come back first
 *     paused        by an operator, or because the upstream said Retry-After
 *     breaker-open  the upstream fails; half-open, its probe is under way
 *     concurrency   as many are held as the limit, the ramp and the adaptive limit allow
 *     rate          too many calls a moment ago
 *
 * Invariants: at most `concurrency` leases are held, save after the limit was lowered under them; within a class
 * nobody is granted a permit while an earlier one waits; a fence is greater than every fence before it.
 */
import { type Settings } from "../upstreams.ts";
import { Breaker } from "./breaker.ts";
import { FairQueue } from "./fair-queue.ts";
import { Pacer } from "./pacer.ts";
import type {
  Answer,
  Changes,
  Feedback,
  Lease,
  Memory,
  Obstacle,
  PermitRequest,
  Refusal,
} from "./protocol.ts";
import { dueAfterCall, rateAllowsAt } from "./rate.ts";
import { RetryBudget } from "./retry-budget.ts";
import type { Waiter } from "./wait-queue.ts";

/** How long nobody new is granted a permit after a restart in the midst of things. */
const GRACE_MS = 150;

/** What a restart starts from. */
interface Before {
  atMs: number;
  held: Lease[];
  lastFence: number;
  memory: Memory | undefined;
}

export class Permits {
  #settings: Settings;
  /** When the next call is due at the rate. */
  #dueAtMs: number;
  #lastFence: number;
  readonly #graceUntilMs: number;
  /** No lease ends before this; spares a look at every lease at every step. */
  #noneEndsBeforeMs: number;
  /** Of the calls so far, the later ones counting for more. */
  #meanHoldMs = 1000;
  readonly #held: Map<string, Lease>;
  readonly #queue = new FairQueue();
  readonly #breaker: Breaker;
  readonly #pacer: Pacer;
  readonly #budget = new RetryBudget();

  constructor(settings: Settings, { atMs, held, lastFence, memory }: Before) {
    this.#settings = settings;
    this.#graceUntilMs = held.length > 0 ? atMs + GRACE_MS : 0;
    this.#dueAtMs = memory?.dueAtMs ?? 0;
    this.#held = new Map(held.map((lease) => [lease.id, lease]));
    this.#lastFence = lastFence;
    this.#noneEndsBeforeMs = this.#firstEndMs();
    this.#breaker = new Breaker(memory?.breaker, (leaseId) => this.#held.has(leaseId));
    this.#pacer = new Pacer(settings.concurrency, memory?.pace);
    this.#forgetOldRate(atMs);
  }

  get held(): ReadonlyMap<string, Lease> {
    return this.#held;
  }

  get line(): Iterable<Waiter> & Pick<FairQueue, "get" | "length"> {
    return this.#queue;
  }

  get memory(): Memory {
    return { pace: this.#pacer.pace, breaker: this.#breaker.state, dueAtMs: this.#dueAtMs };
  }

  /** Ends a pause, whoever asked for it. Call `advance` after. */
  resume(nowMs: number): void {
    this.#pacer.resume(nowMs);
  }

  /** Changes what is in force. Call `advance` after. */
  configure(settings: Settings, nowMs: number): void {
    if (this.#settings.isPaused && !settings.isPaused) this.#pacer.beginRamp(nowMs);
    this.#settings = settings;
    this.#pacer.hardLimit = settings.concurrency;
    this.#forgetOldRate(nowMs);
  }

  /** Asks for a permit, or renews the one under this id. Call `advance` before. */
  request(request: PermitRequest, nowMs: number): Answer {
    const { leaseId, leaseMs, arrivedAtMs } = request;
    const held = this.#held.get(leaseId);
    if (held)
      return { is: "granted", lease: this.#hold({ ...held, endsAtMs: nowMs + leaseMs }), isNew: false };
    const queued = this.#queue.get(leaseId);
    if (queued) return { is: "queued", arrivedAtMs: queued.arrivedAtMs };

    const waiter: Waiter = { ...request, arrivedAtMs: Math.min(arrivedAtMs ?? nowMs, nowMs) };
    const obstacle = this.obstacleAt(nowMs);
    const mustWait = obstacle !== undefined || this.#queue.length > 0;
    const why = mustWait ? this.#refusalOfNewcomer(waiter, obstacle, nowMs) : undefined;
    if (why) return { is: "refused", why, retryAfterMs: this.#retryAfterMs(obstacle, nowMs) };
    if (!request.isRetry && arrivedAtMs === undefined) this.#budget.earn();
    if (!mustWait) return { is: "granted", lease: this.#grant(waiter, nowMs), isNew: true };
    this.#queue.join(waiter);
    return { is: "queued", arrivedAtMs: waiter.arrivedAtMs };
  }

  /** Gives a permit back, or leaves the line. Harmless if there is nothing under this id. Call `advance` after. */
  release(
    leaseId: string,
    { outcome, retryAfterMs }: Feedback,
    nowMs: number,
    jitter: number,
  ): Lease | undefined {
    this.#queue.leave(leaseId);
    const lease = this.#held.get(leaseId);
    if (!lease) return undefined;
    this.#held.delete(leaseId);
    this.#meanHoldMs += (nowMs - lease.grantedAtMs - this.#meanHoldMs) / 16;
    const failed = outcome === "ok" || outcome === "failed" ? outcome === "failed" : undefined;
    this.#tellBreaker(leaseId, failed, nowMs);
    if (outcome === "ok") this.#pacer.raise(this.#held.size + 1);
    if (outcome === "overloaded" || outcome === "failed") this.#pacer.lower(lease.grantedAtMs, nowMs);
    if (retryAfterMs !== undefined && retryAfterMs > 0) this.#pacer.pause(retryAfterMs, nowMs, jitter);
    return lease;
  }

  /** Whether a call that failed may be made once more; if so, it is paid for. */
  allowRetry(): boolean {
    return this.#budget.spend();
  }

  /** Ends what is over at `nowMs`, turns away whom it is no use to keep waiting, then grants what can be. */
  advance(nowMs: number): Changes {
    const changes: Changes = { granted: [], expired: [], refused: [] };
    if (this.#noneEndsBeforeMs <= nowMs) changes.expired = this.#expire(nowMs);
    for (let oldest = this.#queue.oldest; oldest; oldest = this.#queue.oldest) {
      const obstacle = this.obstacleAt(nowMs);
      const why = this.#refusalOfWaiter(oldest, obstacle, nowMs);
      if (why) {
        this.#queue.leave(oldest.leaseId);
        changes.refused.push({ waiter: oldest, why, retryAfterMs: this.#retryAfterMs(obstacle, nowMs) });
      } else if (obstacle) break;
      else changes.granted.push(this.#grant(this.#queue.takeNext() ?? oldest, nowMs));
    }
    return changes;
  }

  /** When `advance` will next have something to do for those who wait; undefined if nobody waits. */
  nextChangeAtMs(nowMs: number): number | undefined {
    const oldest = this.#queue.oldest;
    if (!oldest) return undefined;
    const untilMs = this.obstacleAt(nowMs)?.untilMs ?? nowMs;
    return Math.min(oldest.arrivedAtMs + this.#settings.maxWaitMs, this.#noneEndsBeforeMs, untilMs);
  }

  /** What keeps everybody from a permit at `nowMs`, if anything does. */
  obstacleAt(nowMs: number): Obstacle | undefined {
    if (this.#settings.isPaused) return { is: "paused", untilMs: Infinity };
    const { pausedUntilMs } = this.#pacer.pace;
    if (nowMs < this.#graceUntilMs) return { is: "restarted", untilMs: this.#graceUntilMs };
    if (nowMs < pausedUntilMs) return { is: "paused", untilMs: pausedUntilMs };
    const phase = this.#breaker.phaseAt(nowMs);
    if (phase === "open") return { is: "breaker-open", untilMs: this.#breaker.state.reopensAtMs };
    if (phase === "half-open" && this.#breaker.hasProbe) return { is: "probe", untilMs: Infinity };
    if (this.#held.size >= this.limitAt(nowMs))
      return { is: "concurrency", untilMs: this.#pacer.rampExceedsAtMs(this.#held.size, nowMs) };
    const { rate } = this.#settings;
    const rateAtMs = rate ? rateAllowsAt(rate, this.#dueAtMs) : 0;
    return rateAtMs > nowMs ? { is: "rate", untilMs: rateAtMs } : undefined;
  }

  /** How many may be held at `nowMs`. */
  limitAt(nowMs: number): number {
    const { concurrency, adaptive } = this.#settings;
    return Math.min(this.#pacer.rampAt(nowMs), adaptive ? this.#pacer.adaptiveLimit : concurrency);
  }

  get adaptiveLimit(): number | undefined {
    return this.#settings.adaptive ? this.#pacer.adaptiveLimit : undefined;
  }

  breakerAt(nowMs: number): ReturnType<Breaker["phaseAt"]> {
    return this.#breaker.phaseAt(nowMs);
  }

  /** About how long somebody at a position (from 0) in the line will wait. */
  estimateWaitMs(position: number, nowMs: number): number {
    const obstacle = this.obstacleAt(nowMs);
    const standstillMs = obstacle && Number.isFinite(obstacle.untilMs) ? obstacle.untilMs - nowMs : 0;
    return Math.ceil(standstillMs + (this.#meanHoldMs * (position + 1)) / this.limitAt(nowMs));
  }

  #refusalOfNewcomer(waiter: Waiter, obstacle: Obstacle | undefined, nowMs: number): Refusal | undefined {
    const { maxWaiters, maxWaitMs } = this.#settings;
    if (obstacle?.is === "paused" && obstacle.untilMs > waiter.arrivedAtMs + maxWaitMs) return "paused";
    if (this.#queue.length >= maxWaiters) return "queue-full";
    return this.#refusalOfWaiter(waiter, obstacle, nowMs);
  }

  #refusalOfWaiter(waiter: Waiter, obstacle: Obstacle | undefined, nowMs: number): Refusal | undefined {
    if (obstacle?.is === "breaker-open") return "breaker-open";
    if (waiter.arrivedAtMs + this.#settings.maxWaitMs > nowMs) return undefined;
    return obstacle?.is === "paused" ? "paused" : "wait-limit";
  }

  #retryAfterMs(obstacle: Obstacle | undefined, nowMs: number): number {
    const untilMs =
      obstacle && obstacle.is !== "concurrency" && obstacle.is !== "rate" ? obstacle.untilMs : Infinity;
    return Number.isFinite(untilMs)
      ? untilMs - nowMs
      : Math.max(1000, this.estimateWaitMs(this.#queue.length, nowMs));
  }

  #tellBreaker(leaseId: string, failed: boolean | undefined, nowMs: number): void {
    const hasClosed = this.#breaker.ended(leaseId, failed, nowMs);
    if (hasClosed) this.#pacer.beginRamp(nowMs);
  }

  /** What is due by another rate, which was slower, is due at the latest when this one has seen a whole burst. */
  #forgetOldRate(nowMs: number): void {
    const { rate } = this.#settings;
    if (rate) this.#dueAtMs = Math.min(this.#dueAtMs, nowMs + (rate.burst * 1000) / rate.perSecond);
  }

  #expire(nowMs: number): Lease[] {
    const expired = [...this.#held.values()].filter((lease) => lease.endsAtMs <= nowMs);
    for (const { id } of expired) {
      this.#held.delete(id);
      this.#tellBreaker(id, undefined, nowMs);
    }
    this.#noneEndsBeforeMs = this.#firstEndMs();
    return expired;
  }

  #firstEndMs(): number {
    return Math.min(...[...this.#held.values()].map((lease) => lease.endsAtMs));
  }

  #grant({ leaseId, holder, leaseMs }: Waiter, nowMs: number): Lease {
    const { rate } = this.#settings;
    if (rate) this.#dueAtMs = dueAfterCall(rate, this.#dueAtMs, nowMs);
    this.#breaker.granted(leaseId);
    return this.#hold({
      id: leaseId,
      holder,
      fence: ++this.#lastFence,
      grantedAtMs: nowMs,
      endsAtMs: nowMs + leaseMs,
    });
  }

  #hold(lease: Lease): Lease {
    this.#held.set(lease.id, lease);
    this.#noneEndsBeforeMs = Math.min(this.#noneEndsBeforeMs, lease.endsAtMs);
    return lease;
  }
}
