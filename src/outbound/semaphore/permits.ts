/**
 * The rules of the semaphore: who has a permit, and when. No clock, storage, randomness or network in here.
 *
 * A permit is a lease. A request is granted at once if nobody waits and nothing blocks it (`gate.ts`); otherwise it is
 * queued. The lease ends when it is released or when it expires. Or it is handed on, within an isolate, to a waiter that
 * was named as a successor (`succession.ts`): then it goes on with another holder.
 *
 * Invariants: at most `concurrency` leases are held, except after the limit was lowered below the number that were;
 * within a class, no request is granted while an earlier one waits, and what is handed on passes others only as
 * `succession.ts` says; no name has more than its share of the queue; each fence is greater than every fence before it.
 */
import type { Settings } from "../settings.ts";
import type { Breaker } from "./breaker.ts";
import { FairQueue } from "./fair-queue.ts";
import { Gate } from "./gate.ts";
import { HeldLeases } from "./held-leases.ts";
import type { SuccessionRules } from "./passes.ts";
import type {
  Block,
  Changes,
  Decision,
  Feedback,
  HandOver,
  Lease,
  PermitRequest,
  PermitsState,
  Refusal,
  RefusalReason,
  RestoredState,
  Taker,
} from "./permit-types.ts";
import { reasonToRefuseNewcomer, reasonToRefuseWaiter, refusalFor } from "./refusal.ts";
import { Succession } from "./succession.ts";
import type { Waiter } from "./wait-queue.ts";

export class Permits {
  #lastFence: number;
  readonly #held: HeldLeases;
  readonly #gate: Gate;
  readonly #queue = new FairQueue();
  readonly #succession = new Succession();
  readonly #waitsMs: number[] = [];

  constructor(settings: Settings, { atMs, held, lastFence, state }: RestoredState) {
    this.#held = new HeldLeases(held);
    this.#lastFence = lastFence;
    this.#gate = new Gate(settings, this.#held.all, state, atMs);
  }

  get held(): ReadonlyMap<string, Lease> {
    return this.#held.all;
  }

  /** How many calls have begun, over all lives of the object: each has a fence of its own. */
  get lastFence(): number {
    return this.#lastFence;
  }

  get queue(): Iterable<Waiter> & Pick<FairQueue, "get" | "length"> {
    return this.#queue;
  }

  get state(): PermitsState {
    return this.#gate.state;
  }

  /** The upstream has asked another shard for a pause. Call `advance` afterwards. */
  pauseFor(ms: number, nowMs: number): void {
    this.#gate.health.throttle.pause(ms, nowMs, 0);
  }

  /** How long those have waited whose calls have begun since the last time. */
  takeWaitsMs(): number[] {
    return this.#waitsMs.splice(0);
  }

  /** Ends the pause that the upstream asked for. Call `advance` afterwards. */
  resume(nowMs: number): void {
    this.#gate.health.throttle.resume(nowMs);
  }

  /** Replaces the settings in force. Call `advance` afterwards. */
  configure(settings: Settings, nowMs: number): void {
    this.#gate.configure(settings, nowMs);
  }

  /** Requests a permit, or renews the one under this id. Call `advance` first, and afterwards. */
  request(request: PermitRequest, nowMs: number): Decision {
    const { leaseId, leaseMs, arrivedAtMs, isolate } = request;
    const held = this.held.get(leaseId);
    if (held) {
      this.#succession.settle(leaseId);
      this.#succession.leave(leaseId, "gone");
      const renewed = { ...held, ...(isolate !== undefined && { isolate }), endsAtMs: nowMs + leaseMs };
      return { is: "granted", lease: this.#held.hold(renewed), isNew: false };
    }
    const queued = this.#queue.get(leaseId);
    if (queued) return { is: "queued", arrivedAtMs: queued.arrivedAtMs };

    const waiter: Waiter = { ...request, arrivedAtMs: Math.min(arrivedAtMs ?? nowMs, nowMs) };
    const block = this.blockAt(nowMs);
    const mustWait = block !== undefined || this.#queue.length > 0;
    const reason = mustWait
      ? reasonToRefuseNewcomer(waiter, this.#queue, this.#gate.settings, block, nowMs)
      : undefined;
    if (reason) return { is: "refused", ...this.#refusal(reason, block, nowMs) };
    if (!request.isRetry && arrivedAtMs === undefined) this.#gate.health.budget.earn();
    if (!mustWait) return { is: "granted", lease: this.#grant(waiter, nowMs), isNew: true };
    this.#queue.join(waiter);
    this.#succession.join(waiter, this.#queue.behind(waiter));
    return { is: "queued", arrivedAtMs: waiter.arrivedAtMs };
  }

  /** Releases a permit, or leaves the queue. Harmless if neither exists under this id. Call `advance` afterwards. */
  release(leaseId: string, feedback: Feedback, nowMs: number, jitter: number): Lease | undefined {
    this.#leave(leaseId);
    const lease = this.#held.release(leaseId, nowMs);
    if (!lease) return undefined;
    this.#succession.settle(leaseId);
    this.#onEnd(lease, feedback, nowMs, jitter);
    return lease;
  }

  /**
   * A permit was handed on, and the call of the taker has begun. Returns its lease, or undefined if that has ended; and
   * if the permit was handed on again since, the lease of the latest holder. Call `advance` afterwards.
   */
  takeOver(handOver: HandOver, taker: Taker, nowMs: number, jitter: number): Lease | undefined {
    const waiter = this.#queue.get(taker.waitedAs);
    if (waiter) this.#queue.take(waiter);
    this.#succession.leave(taker.waitedAs, "took");
    const lease = this.held.get(handOver.leaseId);
    if (!lease) return undefined;
    for (const { after, feedback } of handOver.ended)
      if (after >= lease.handOvers) this.#onEnd(lease, feedback, nowMs, jitter);
    if (handOver.number <= lease.handOvers) return lease;
    this.#held.onEnd(lease, nowMs);
    this.#waitsMs.push(nowMs - (waiter?.arrivedAtMs ?? nowMs));
    this.#succession.settle(lease.id);
    return this.#begin({ ...taker, leaseId: lease.id }, handOver.number, nowMs);
  }

  /**
   * The holder of a permit has gone without a word. Returns false if nobody can have taken the permit over; otherwise it
   * is with whoever says so, and lost when nobody can any longer. Call `advance` afterwards.
   */
  orphan(leaseId: string): boolean {
    const isolate = this.held.get(leaseId)?.isolate;
    this.#succession.leave(leaseId, "gone");
    if (isolate === undefined || !this.#succession.mayHaveTakenIn(isolate)) return false;
    this.#succession.orphan(leaseId, isolate);
    return true;
  }

  /** A waiter waits for a word. Call `advance` afterwards. */
  hear(leaseId: string, nowMs: number): void {
    this.#succession.hear(leaseId, nowMs);
  }

  hasNewsFor(leaseId: string): boolean {
    return this.#succession.hasNewsFor(leaseId);
  }

  /** Its turn among the successors of its isolate, for a waiter that is told now; undefined if it is none. */
  tell(leaseId: string, nowMs: number): number | undefined {
    return this.#succession.tell(leaseId, nowMs);
  }

  /**
   * The head of a response has come, and its body may take long: what the head says holds from now on. Harmless if
   * the permit is no longer held. Call `advance` afterwards.
   */
  reportHead(leaseId: string, feedback: Feedback, nowMs: number, jitter: number): void {
    if (this.held.has(leaseId)) this.#gate.health.onHead(leaseId, feedback, nowMs, jitter);
  }

  /** Whether a failed call may be retried. If so, the retry is paid for. */
  allowRetry(): boolean {
    return this.#gate.health.budget.spend();
  }

  /**
   * Ends leases that are over or lost, refuses waiters that it is no use to keep, grants what can be granted, and names
   * successors for the rest.
   */
  advance(nowMs: number): Changes {
    const expired = this.#held.expire(nowMs);
    for (const { id } of expired) {
      this.#succession.settle(id);
      this.#succession.leave(id, "gone");
    }
    const lost = this.#succession.takeLost().flatMap((id) => this.#held.release(id, nowMs) ?? []);
    for (const { id } of [...expired, ...lost]) this.#gate.health.onSilentEnd(id, nowMs);
    const changes: Changes = { granted: [], expired, lost, refused: [], told: [] };
    for (let oldest = this.#queue.oldest; oldest; oldest = this.#queue.oldest) {
      const block = this.blockAt(nowMs);
      const reason = reasonToRefuseWaiter(oldest, this.#gate.settings, block, nowMs);
      if (reason) {
        this.#queue.leave(oldest.leaseId);
        this.#succession.leave(oldest.leaseId, "refused");
        changes.refused.push({ waiter: oldest, ...this.#refusal(reason, block, nowMs) });
      } else if (block) break;
      else {
        const rules = this.#rulesAt(nowMs);
        const choose = (next: Waiter) =>
          rules.mayHandOn ? this.#succession.choose(next, rules, nowMs) : next;
        const next = this.#queue.takeNext(choose) ?? oldest;
        this.#succession.leave(next.leaseId, "granted");
        changes.granted.push(this.#grant(next, nowMs));
      }
    }
    changes.told = this.#succession.update(this.#rulesAt(nowMs), nowMs);
    return changes;
  }

  /** When `advance` will next have something to do for those that wait; undefined if nobody waits. */
  nextChangeAtMs(nowMs: number): number | undefined {
    const oldest = this.#queue.oldest;
    if (!oldest) return undefined;
    const untilMs = this.blockAt(nowMs)?.untilMs ?? nowMs;
    const { maxWaitMs, maxPassMs } = this.#gate.settings;
    const passMs = this.#succession.nextChangeAtMs(maxPassMs, nowMs);
    return Math.min(oldest.arrivedAtMs + maxWaitMs, this.#held.earliestEndMs, untilMs, passMs);
  }

  blockAt(nowMs: number): Block | undefined {
    return this.#gate.blockAt(nowMs);
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

  #refusal(reason: RefusalReason, block: Block | undefined, nowMs: number): Refusal {
    return refusalFor(reason, block, this.estimateWaitMs(this.#queue.length, nowMs), nowMs);
  }

  #rulesAt(nowMs: number): SuccessionRules {
    const { concurrency, maxPasses, maxPassMs } = this.#gate.settings;
    return {
      concurrency,
      maxPasses,
      maxPassMs,
      mayHandOn: this.#gate.mayHandOnAt(nowMs),
      interactiveLeft: this.#queue.interactiveLeft,
      heldIn: (isolate) => this.#held.heldIn(isolate),
      meanHoldMs: this.#held.meanHoldMs,
    };
  }

  #leave(leaseId: string): void {
    this.#queue.leave(leaseId);
    this.#succession.leave(leaseId, "gone");
  }

  #onEnd({ id, grantedAtMs }: Lease, feedback: Feedback, nowMs: number, jitter: number): void {
    const inFlight = this.held.size + (this.held.has(id) ? 0 : 1);
    const { health, settings } = this.#gate;
    health.onEnd({ leaseId: id, grantedAtMs, inFlight }, feedback, settings.adaptive, nowMs, jitter);
  }

  #grant(waiter: Waiter, nowMs: number): Lease {
    this.#gate.health.breaker.onGrant(waiter.leaseId);
    this.#waitsMs.push(nowMs - waiter.arrivedAtMs);
    return this.#begin(waiter, 0, nowMs);
  }

  /** A call begins, with a fence of its own and a whole lease. */
  #begin(
    { leaseId, holder, isolate, leaseMs }: Omit<Taker, "waitedAs"> & { leaseId: string },
    handOvers: number,
    nowMs: number,
  ): Lease {
    this.#gate.onCall(nowMs);
    return this.#held.hold({
      id: leaseId,
      holder,
      isProbe: this.#gate.health.breaker.isProbe(leaseId),
      fence: ++this.#lastFence,
      grantedAtMs: nowMs,
      endsAtMs: nowMs + leaseMs,
      handOvers,
      ...(isolate !== undefined && { isolate }),
    });
  }
}
