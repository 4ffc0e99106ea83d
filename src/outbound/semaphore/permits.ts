/**
 * The rules of the semaphore: who has a permit, and when. No clock, storage, randomness or network in here.
 *
 * A permit is a lease. A request is granted at once if nobody waits and nothing blocks it (`gate.ts`); otherwise it is
 * queued. The lease ends when it is released or when it expires. Or it is handed on, within an isolate, to a waiter that
 * was named as a successor (`succession.ts`): then it goes on with another holder.
 *
 * A call may weigh more than one permit. Those with limit keys take turns, key by key (`fair-queue.ts`), and each key may
 * have limits of its own (`key-limits.ts`).
 *
 * Invariants: the leases that are held weigh at most `concurrency`, except after the limit was lowered below what they did;
 * no key has more than its own limits; within a class and a key, no request is granted while an earlier one waits, and what
 * is handed on passes others only as `succession.ts` says; while a key waits that may go, each other has at most one turn
 * before it; no name has more than its share of the queue; each fence is greater than every fence before it.
 */
import type { Settings } from "../settings.ts";
import { FairQueue } from "./fair-queue.ts";
import { Gate } from "./gate.ts";
import { HeldLeases } from "./held-leases.ts";
import { KeyLimits } from "./key-limits.ts";
import { Outlook } from "./outlook.ts";
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
  RefusalReason,
  RestoredState,
  Taker,
} from "./permit-types.ts";
import { Refusals } from "./refusal.ts";
import { Succession } from "./succession.ts";
import { isPlain, type Waiter, weightOf } from "./wait-queue.ts";

export class Permits {
  #lastFence: number;
  readonly #held: HeldLeases;
  readonly #gate: Gate;
  readonly #limits: KeyLimits | undefined;
  readonly #queue: FairQueue;
  readonly #succession = new Succession();
  readonly #refusals: Refusals;
  readonly outlook: Outlook;
  readonly #waitsMs: number[] = [];

  constructor(settings: Settings, { atMs, held, lastFence, state }: RestoredState) {
    this.#held = new HeldLeases(held);
    this.#lastFence = lastFence;
    this.#gate = new Gate(settings, this.#held, state, atMs);
    const { perKey } = settings;
    const heldUnder = (key: string) => this.#held.weightUnder(key);
    this.#limits = perKey && new KeyLimits(perKey, heldUnder, state?.keysDueAtMs ?? 0, atMs);
    this.#queue = new FairQueue(this.#limits);
    this.outlook = new Outlook(this.#gate, this.#queue, this.#held, this.#succession);
    this.#refusals = new Refusals(this.#gate, this.#queue, this.#limits, this.outlook);
  }

  get held(): ReadonlyMap<string, Lease> {
    return this.#held.all;
  }

  /** How many permits are held. A lease may take several. */
  get heldWeight(): number {
    return this.#held.weight;
  }

  /** How many calls have begun, over all lives of the object: each has a fence of its own. */
  get lastFence(): number {
    return this.#lastFence;
  }

  get queue(): Iterable<Waiter> & Pick<FairQueue, "get" | "length" | "waitingUnder"> {
    return this.#queue;
  }

  get state(): PermitsState {
    const keysDueAtMs = this.#limits?.latestDueAtMs;
    return keysDueAtMs ? { ...this.#gate.state, keysDueAtMs } : this.#gate.state;
  }

  /** The limit keys that wait or have permits, and how many of these. */
  get keys(): { key: string; waiting: number; held: number }[] {
    return [...new Set([...this.#queue.keys, ...this.#held.keys])].map((key) => ({
      key,
      waiting: this.#queue.waitingUnder(key),
      held: this.#held.weightUnder(key),
    }));
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
    const block = this.#gate.blockAt(nowMs, weightOf(waiter));
    const mustWait = block !== undefined || this.#isBehindOthers(waiter, nowMs);
    const reason = this.#refusals.isTooHeavy(waiter)
      ? "too-heavy"
      : mustWait && this.#refusals.reasonAgainstNewcomer(waiter, block, nowMs);
    if (reason) return { is: "refused", ...this.#refusals.refusal(reason, waiter, block, nowMs) };
    if (!request.isRetry && arrivedAtMs === undefined) this.#gate.health.budget.earn();
    if (!mustWait) return { is: "granted", lease: this.#grant(waiter, nowMs), isNew: true };
    this.#queue.join(waiter);
    if (isPlain(waiter)) this.#succession.join(waiter, this.#queue.behind(waiter));
    return { is: "queued", arrivedAtMs: waiter.arrivedAtMs };
  }

  /** Whether a newcomer must let others go first, or its key does not allow its call now. */
  #isBehindOthers(waiter: Waiter, nowMs: number): boolean {
    if (this.#queue.length > 0 && (this.#queue.isBehindItsKey(waiter) || this.#queue.next(nowMs)))
      return true;
    return (this.#limits?.allowsAt(waiter) ?? 0) > nowMs;
  }

  /** Releases a permit, or leaves the queue. Harmless if neither exists under this id. Call `advance` afterwards. */
  release(leaseId: string, feedback: Feedback, nowMs: number, jitter: number): Lease | undefined {
    this.#leave(leaseId);
    const lease = this.#held.release(leaseId, nowMs);
    if (!lease) return undefined;
    this.#wakeKeyOf(lease);
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
    if (waiter) this.#queue.take(waiter, nowMs);
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
    for (const lease of [...expired, ...lost]) {
      this.#wakeKeyOf(lease);
      this.#gate.health.onSilentEnd(lease.id, nowMs);
    }
    const changes: Changes = { granted: [], expired, lost, refused: [], told: [] };
    while (this.#advanceOne(changes, nowMs));
    changes.told = this.#succession.update(this.#rulesAt(nowMs), nowMs);
    return changes;
  }

  /** Refuses or grants the next waiter for whom that is due. Returns false if there is none. */
  #advanceOne(changes: Changes, nowMs: number): boolean {
    const { oldest } = this.#queue;
    if (!oldest) return false;
    const block = this.#gate.blockAt(nowMs);
    const reason = this.#refusals.reasonAgainstWaiter(oldest, block, nowMs);
    if (reason) return this.#refuse(changes, oldest, reason, block, nowMs);
    const next = block ? undefined : this.#queue.next(nowMs);
    if (!next) return false;
    // The limit was lowered since it came.
    if (this.#refusals.isTooHeavy(next)) return this.#refuse(changes, next, "too-heavy", block, nowMs);
    if (weightOf(next) > 1 && this.#gate.blockAt(nowMs, weightOf(next))) return false;
    const rules = this.#rulesAt(nowMs);
    const chosen = rules.mayHandOn ? this.#succession.choose(next, rules, nowMs) : next;
    this.#queue.take(chosen, nowMs);
    this.#succession.leave(chosen.leaseId, "granted");
    changes.granted.push(this.#grant(chosen, nowMs));
    return true;
  }

  #refuse(
    changes: Changes,
    waiter: Waiter,
    reason: RefusalReason,
    block: Block | undefined,
    nowMs: number,
  ): true {
    this.#queue.leave(waiter.leaseId);
    this.#succession.leave(waiter.leaseId, "refused");
    changes.refused.push({ waiter, ...this.#refusals.refusal(reason, waiter, block, nowMs) });
    return true;
  }

  #wakeKeyOf({ key }: Lease): void {
    if (key !== undefined) this.#queue.wake(key);
  }

  #rulesAt(nowMs: number): SuccessionRules {
    const { concurrency, maxPasses, maxPassMs } = this.#gate.settings;
    return {
      concurrency,
      maxPasses,
      maxPassMs,
      mayHandOn: this.#queue.isPlain && this.#gate.mayHandOnAt(nowMs),
      interactiveLeft: this.#queue.interactiveLeft,
      heldIn: (isolate) => this.#held.heldIn(isolate),
      meanHoldMs: this.#held.meanHoldMs,
    };
  }

  #leave(leaseId: string): void {
    this.#queue.leave(leaseId);
    this.#succession.leave(leaseId, "gone");
  }

  #onEnd({ id, grantedAtMs, weight = 1 }: Lease, feedback: Feedback, nowMs: number, jitter: number): void {
    const inFlight = this.#held.weight + (this.held.has(id) ? 0 : weight);
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
    { leaseId, holder, isolate, leaseMs, key, weight }: Omit<Taker, "waitedAs"> & Claimed,
    handOvers: number,
    nowMs: number,
  ): Lease {
    this.#gate.onCall(nowMs);
    this.#limits?.onCall(key, nowMs);
    return this.#held.hold({
      id: leaseId,
      holder,
      isProbe: this.#gate.health.breaker.isProbe(leaseId),
      fence: ++this.#lastFence,
      grantedAtMs: nowMs,
      endsAtMs: nowMs + leaseMs,
      handOvers,
      ...(isolate !== undefined && { isolate }),
      ...(key !== undefined && { key }),
      ...(weight !== undefined && weight > 1 && { weight }),
    });
  }
}

/** What a lease is granted for. */
type Claimed = Pick<PermitRequest, "leaseId" | "key" | "weight">;
