/**
 * Who may call an upstream now: the rules of the semaphore, without clock, storage or network.
 *
 * A permit is a lease. It is granted to whoever asks while fewer than `concurrency` are held and nobody waits;
 * others queue, first come, first served. It ends when it is released, or when its time is over.
 *
 * Invariants: at most `concurrency` leases are held, save after the limit was lowered under them; nobody is granted
 * a permit while an earlier one waits; a fence is greater than every fence before it.
 */
import { Queue, type Waiter } from "./queue.ts";

export interface Lease {
  id: string;
  /** Grows with every grant of this upstream. */
  fence: number;
  grantedAtMs: number;
  endsAtMs: number;
}

export interface PermitLimits {
  concurrency: number;
  maxWaiters: number;
  maxWaitMs: number;
}

export interface PermitRequest {
  leaseId: string;
  /** How long the permit may be held. */
  leaseMs: number;
  /** When the caller first asked, if it asks again after a restart. */
  arrivedAtMs?: number;
}

export type Answer =
  | { is: "granted"; lease: Lease }
  | { is: "queued"; arrivedAtMs: number }
  | { is: "refused"; why: "queue-full" | "wait-limit" };

/** What time, or the end of a lease, has brought about. */
export interface Changes {
  granted: Lease[];
  expired: Lease[];
  /** Waiters that have reached the wait limit. */
  gaveUp: Waiter[];
}

export class Permits {
  readonly #limits: PermitLimits;
  readonly #held: Map<string, Lease>;
  readonly #queue = new Queue();
  #lastFence: number;
  /** No lease ends before this; spares a look at every lease at every step. */
  #noneEndsBeforeMs: number;

  /** `held` and `lastFence` as they were before a restart. */
  constructor(limits: PermitLimits, held: Lease[] = [], lastFence = 0) {
    this.#limits = limits;
    this.#held = new Map(held.map((lease) => [lease.id, lease]));
    this.#lastFence = lastFence;
    this.#noneEndsBeforeMs = this.#firstEndMs();
  }

  get held(): ReadonlyMap<string, Lease> {
    return this.#held;
  }

  get waiting(): Pick<Queue, "has" | typeof Symbol.iterator> {
    return this.#queue;
  }

  /** Asks for a permit, or for more time with the one that is held under this id. Call `advance` before. */
  request({ leaseId, leaseMs, arrivedAtMs }: PermitRequest, nowMs: number): Answer {
    const held = this.#held.get(leaseId);
    if (held) return { is: "granted", lease: this.#hold({ ...held, endsAtMs: nowMs + leaseMs }) };
    const queued = this.#queue.get(leaseId);
    if (queued) return { is: "queued", arrivedAtMs: queued.arrivedAtMs };
    const waiter: Waiter = { leaseId, leaseMs, arrivedAtMs: Math.min(arrivedAtMs ?? nowMs, nowMs) };
    if (this.#hasFree && this.#queue.length === 0)
      return { is: "granted", lease: this.#grant(waiter, nowMs) };
    const { maxWaiters, maxWaitMs } = this.#limits;
    if (this.#queue.length >= maxWaiters) return { is: "refused", why: "queue-full" };
    if (waiter.arrivedAtMs + maxWaitMs <= nowMs) return { is: "refused", why: "wait-limit" };
    this.#queue.join(waiter);
    return { is: "queued", arrivedAtMs: waiter.arrivedAtMs };
  }

  /** Gives a permit back, or leaves the queue. Harmless if there is nothing under this id. Call `advance` after. */
  release(leaseId: string): Lease | undefined {
    this.#queue.leave(leaseId);
    const lease = this.#held.get(leaseId);
    this.#held.delete(leaseId);
    return lease;
  }

  /** Ends what is over at `nowMs`, then grants what is free. */
  advance(nowMs: number): Changes {
    const changes: Changes = { granted: [], expired: [], gaveUp: [] };
    if (this.#noneEndsBeforeMs <= nowMs) changes.expired = this.#expire(nowMs);
    for (let first = this.#queue.first; first; first = this.#queue.first) {
      if (first.arrivedAtMs + this.#limits.maxWaitMs <= nowMs) changes.gaveUp.push(first);
      else if (this.#hasFree) changes.granted.push(this.#grant(first, nowMs));
      else break;
      this.#queue.leave(first.leaseId);
    }
    return changes;
  }

  /** When `advance` will next have something to do for those who wait; undefined if nobody waits. */
  get nextChangeAtMs(): number | undefined {
    const first = this.#queue.first;
    return first && Math.min(first.arrivedAtMs + this.#limits.maxWaitMs, this.#noneEndsBeforeMs);
  }

  get #hasFree(): boolean {
    return this.#held.size < this.#limits.concurrency;
  }

  #expire(nowMs: number): Lease[] {
    const expired = [...this.#held.values()].filter((lease) => lease.endsAtMs <= nowMs);
    for (const lease of expired) this.#held.delete(lease.id);
    this.#noneEndsBeforeMs = this.#firstEndMs();
    return expired;
  }

  #firstEndMs(): number {
    return Math.min(...[...this.#held.values()].map((lease) => lease.endsAtMs));
  }

  #grant({ leaseId, leaseMs }: Waiter, nowMs: number): Lease {
    return this.#hold({
      id: leaseId,
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
