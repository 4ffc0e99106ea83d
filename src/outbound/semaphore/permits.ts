/**
 * The rules of the semaphore: who is granted a permit, and when. No clock, storage, randomness or network in here.
 *
 * A permit is a lease. A request is granted at once if nobody waits and nothing blocks it; otherwise it is queued.
 * The lease ends when it is released or when it expires. What can block a grant, in the order in which it is checked:
 *
 *     paused        by an operator
 *     restarted     a moment ago, while permits were held: those that waited before come back first
 *     paused        because the upstream sent Retry-After
 *     breaker-open  the upstream fails
 *     probe         the breaker is half-open, and its probe is in flight
 *     concurrency   as many permits are held as the limit, the ramp and the adaptive limit allow
 *     rate          too many calls a moment ago
 *
 * Invariants: at most `concurrency` leases are held, except after the limit was lowered below the number that were;
 * within a class, no request is granted while an earlier one waits; no name has more than its share of the queue;
 * each fence is greater than every fence before it.
 */
import type { Settings } from "../settings.ts";
import { Breaker } from "./breaker.ts";
import { FairQueue } from "./fair-queue.ts";
import { HeldLeases } from "./held-leases.ts";
import type {
  Block,
  Changes,
  Decision,
  Feedback,
  Lease,
  PermitRequest,
  PermitsState,
  Refusal,
  RefusalReason,
} from "./permit-types.ts";
import { dueAfterCall, rateAllowsAt } from "./rate.ts";
import { reasonToRefuseNewcomer, reasonToRefuseWaiter, refusalFor } from "./refusal.ts";
import { RetryBudget } from "./retry-budget.ts";
import { Throttle } from "./throttle.ts";
import type { Waiter } from "./wait-queue.ts";

/** After a restart with calls in flight, nobody is granted a permit for this long. */
const GRACE_MS = 150;

/** What a restarted object begins with. */
interface RestoredState {
  atMs: number;
  held: Lease[];
  lastFence: number;
  state: PermitsState | undefined;
}

export class Permits {
  #settings: Settings;
  /** When the next call is due at the rate. */
  #dueAtMs: number;
  #lastFence: number;
  readonly #graceUntilMs: number;
  readonly #held: HeldLeases;
  readonly #queue = new FairQueue();
  readonly #breaker: Breaker;
  readonly #throttle: Throttle;
  readonly #budget: RetryBudget;

  constructor(settings: Settings, { atMs, held, lastFence, state }: RestoredState) {
    this.#settings = settings;
    this.#graceUntilMs = held.length > 0 ? atMs + GRACE_MS : 0;
    this.#dueAtMs = state?.dueAtMs ?? 0;
    this.#held = new HeldLeases(held);
    this.#lastFence = lastFence;
    this.#breaker = new Breaker(state?.breaker, (leaseId) => this.held.has(leaseId));
    this.#throttle = new Throttle(settings.concurrency, state?.throttle);
    this.#budget = new RetryBudget(state?.retryBudget);
    this.#capDueTime(atMs);
  }

  get held(): ReadonlyMap<string, Lease> {
    return this.#held.all;
  }

  get queue(): Iterable<Waiter> & Pick<FairQueue, "get" | "length"> {
    return this.#queue;
  }

  get state(): PermitsState {
    const [throttle, breaker] = [this.#throttle.state, this.#breaker.state];
    return { throttle, breaker, dueAtMs: this.#dueAtMs, retryBudget: this.#budget.kept };
  }

  /** Ends the pause that the upstream asked for. Call `advance` afterwards. */
  resume(nowMs: number): void {
    this.#throttle.resume(nowMs);
  }

  /** Replaces the settings in force. Call `advance` afterwards. */
  configure(settings: Settings, nowMs: number): void {
    if (this.#settings.isPaused && !settings.isPaused) this.#throttle.beginRamp(nowMs);
    this.#settings = settings;
    this.#throttle.hardLimit = settings.concurrency;
    this.#capDueTime(nowMs);
  }

  /** Requests a permit, or renews the one under this id. Call `advance` first. */
  request(request: PermitRequest, nowMs: number): Decision {
    const { leaseId, leaseMs, arrivedAtMs } = request;
    const held = this.held.get(leaseId);
    if (held)
      return { is: "granted", lease: this.#held.hold({ ...held, endsAtMs: nowMs + leaseMs }), isNew: false };
    const queued = this.#queue.get(leaseId);
    if (queued) return { is: "queued", arrivedAtMs: queued.arrivedAtMs };

    const waiter: Waiter = { ...request, arrivedAtMs: Math.min(arrivedAtMs ?? nowMs, nowMs) };
    const block = this.blockAt(nowMs);
    const mustWait = block !== undefined || this.#queue.length > 0;
    const reason = mustWait
      ? reasonToRefuseNewcomer(waiter, this.#queue, this.#settings, block, nowMs)
      : undefined;
    if (reason) return { is: "refused", ...this.#refusal(reason, block, nowMs) };
    if (!request.isRetry && arrivedAtMs === undefined) this.#budget.earn();
    if (!mustWait) return { is: "granted", lease: this.#grant(waiter, nowMs), isNew: true };
    this.#queue.join(waiter);
    return { is: "queued", arrivedAtMs: waiter.arrivedAtMs };
  }

  /** Releases a permit, or leaves the queue. Harmless if neither exists under this id. Call `advance` afterwards. */
  release(
    leaseId: string,
    { outcome, retryAfterMs }: Feedback,
    nowMs: number,
    jitter: number,
  ): Lease | undefined {
    this.#queue.leave(leaseId);
    const lease = this.#held.release(leaseId, nowMs);
    if (!lease) return undefined;
    this.#budget.keep();
    this.#reportToBreaker(leaseId, outcome, nowMs);
    if (this.#settings.adaptive && outcome === "ok") this.#throttle.increase(this.held.size + 1);
    if (this.#settings.adaptive && ["overloaded", "failed"].includes(outcome))
      this.#throttle.decrease(lease.grantedAtMs, nowMs);
    this.#pause(retryAfterMs, nowMs, jitter);
    return lease;
  }

  /**
   * The head of a response has come, and its body may take long: what the head says holds from now on. Harmless if
   * the permit is no longer held. Call `advance` afterwards.
   */
  reportHead(leaseId: string, { outcome, retryAfterMs }: Feedback, nowMs: number, jitter: number): void {
    if (!this.held.has(leaseId)) return;
    if (this.#breaker.isProbe(leaseId)) this.#reportToBreaker(leaseId, outcome, nowMs);
    this.#pause(retryAfterMs, nowMs, jitter);
  }

  /** Whether a failed call may be retried. If so, the retry is paid for. */
  allowRetry(): boolean {
    return this.#budget.spend();
  }

  /** Expires what ends at `nowMs`, refuses waiters that it is no use to keep, then grants what can be granted. */
  advance(nowMs: number): Changes {
    const changes: Changes = { granted: [], expired: this.#held.expire(nowMs), refused: [] };
    for (const { id } of changes.expired) this.#reportToBreaker(id, "unknown", nowMs);
    for (let oldest = this.#queue.oldest; oldest; oldest = this.#queue.oldest) {
      const block = this.blockAt(nowMs);
      const reason = reasonToRefuseWaiter(oldest, this.#settings, block, nowMs);
      if (reason) {
        this.#queue.leave(oldest.leaseId);
        changes.refused.push({ waiter: oldest, ...this.#refusal(reason, block, nowMs) });
      } else if (block) break;
      else changes.granted.push(this.#grant(this.#queue.takeNext() ?? oldest, nowMs));
    }
    return changes;
  }

  /** When `advance` will next have something to do for those that wait; undefined if nobody waits. */
  nextChangeAtMs(nowMs: number): number | undefined {
    const oldest = this.#queue.oldest;
    if (!oldest) return undefined;
    const untilMs = this.blockAt(nowMs)?.untilMs ?? nowMs;
    return Math.min(oldest.arrivedAtMs + this.#settings.maxWaitMs, this.#held.earliestEndMs, untilMs);
  }

  /** What blocks every grant at `nowMs`, if anything does. */
  blockAt(nowMs: number): Block | undefined {
    if (this.#settings.isPaused) return { by: "paused", untilMs: Infinity };
    const { pausedUntilMs } = this.#throttle.state;
    if (nowMs < this.#graceUntilMs) return { by: "restarted", untilMs: this.#graceUntilMs };
    if (nowMs < pausedUntilMs) return { by: "paused", untilMs: pausedUntilMs };
    const phase = this.#breaker.phaseAt(nowMs);
    if (phase === "open") return { by: "breaker-open", untilMs: this.#breaker.state.reopensAtMs };
    if (phase === "half-open" && this.#breaker.hasProbe) return { by: "probe", untilMs: Infinity };
    if (this.held.size >= this.limitAt(nowMs))
      return { by: "concurrency", untilMs: this.#throttle.rampExceedsAtMs(this.held.size, nowMs) };
    const { rate } = this.#settings;
    const rateAtMs = rate ? rateAllowsAt(rate, this.#dueAtMs) : 0;
    return rateAtMs > nowMs ? { by: "rate", untilMs: rateAtMs } : undefined;
  }

  /** How many permits may be held at `nowMs`. */
  limitAt(nowMs: number): number {
    const { concurrency, adaptive } = this.#settings;
    return Math.min(this.#throttle.rampAt(nowMs), adaptive ? this.#throttle.adaptiveLimit : concurrency);
  }

  get adaptiveLimit(): number | undefined {
    return this.#settings.adaptive ? this.#throttle.adaptiveLimit : undefined;
  }

  breakerAt(nowMs: number): ReturnType<Breaker["phaseAt"]> {
    return this.#breaker.phaseAt(nowMs);
  }

  /** Roughly how long a waiter at this position (from 0) of the queue will wait. */
  estimateWaitMs(position: number, nowMs: number): number {
    const block = this.blockAt(nowMs);
    const blockedMs = block && Number.isFinite(block.untilMs) ? block.untilMs - nowMs : 0;
    return Math.ceil(blockedMs + (this.#held.meanHoldMs * (position + 1)) / this.limitAt(nowMs));
  }

  #refusal(reason: RefusalReason, block: Block | undefined, nowMs: number): Refusal {
    return refusalFor(reason, block, this.estimateWaitMs(this.#queue.length, nowMs), nowMs);
  }

  #pause(retryAfterMs: number | undefined, nowMs: number, jitter: number): void {
    if (retryAfterMs !== undefined && retryAfterMs > 0) this.#throttle.pause(retryAfterMs, nowMs, jitter);
  }

  #reportToBreaker(leaseId: string, outcome: Feedback["outcome"], nowMs: number): void {
    const failed = outcome === "ok" || outcome === "failed" ? outcome === "failed" : undefined;
    if (this.#breaker.onEnd(leaseId, failed, nowMs)) this.#throttle.beginRamp(nowMs);
  }

  /** After a change of rate: what is due at a slower rate is due, at the latest, a whole burst from now. */
  #capDueTime(nowMs: number): void {
    const { rate } = this.#settings;
    if (rate) this.#dueAtMs = Math.min(this.#dueAtMs, nowMs + (rate.burst * 1000) / rate.perSecond);
  }

  #grant({ leaseId, holder, leaseMs }: Waiter, nowMs: number): Lease {
    const { rate } = this.#settings;
    if (rate) this.#dueAtMs = dueAfterCall(rate, this.#dueAtMs, nowMs);
    this.#breaker.onGrant(leaseId);
    return this.#held.hold({
      id: leaseId,
      holder,
      isProbe: this.#breaker.isProbe(leaseId),
      fence: ++this.#lastFence,
      grantedAtMs: nowMs,
      endsAtMs: nowMs + leaseMs,
    });
  }
}
