/** The leases that are held. Looking for expired ones costs nothing before the earliest end of a lease. */
import type { Lease } from "./permit-types.ts";
import { weightOf } from "./wait-queue.ts";

export class HeldLeases {
  readonly #leases: Map<string, Lease>;
  /** How many are held in each isolate that is known. */
  readonly #inIsolates = new Map<string, number>();
  /** How many permits each limit key has. */
  readonly #underKeys = new Map<string, number>();
  #weight = 0;
  #earliestEndMs = Infinity;
  #meanHoldMs = 1000;

  constructor(leases: Lease[]) {
    this.#leases = new Map(leases.map((lease) => [lease.id, lease]));
    for (const lease of leases) this.#count(lease, 1);
    this.#findEarliestEnd();
  }

  get all(): ReadonlyMap<string, Lease> {
    return this.#leases;
  }

  /** How many permits they take. */
  get weight(): number {
    return this.#weight;
  }

  /** How many permits a limit key has. */
  weightUnder(key: string): number {
    return this.#underKeys.get(key) ?? 0;
  }

  /** The limit keys that have permits. */
  get keys(): Iterable<string> {
    return this.#underKeys.keys();
  }

  /** No lease ends before this. */
  get earliestEndMs(): number {
    return this.#earliestEndMs;
  }

  /** How long permits are held: a moving average, in which later calls count more. */
  get meanHoldMs(): number {
    return this.#meanHoldMs;
  }

  /** Adds a lease, or replaces the one with its id. */
  hold(lease: Lease): Lease {
    const before = this.#leases.get(lease.id);
    if (before) this.#count(before, -1);
    this.#count(lease, 1);
    this.#leases.set(lease.id, lease);
    this.#earliestEndMs = Math.min(this.#earliestEndMs, lease.endsAtMs);
    return lease;
  }

  release(leaseId: string, nowMs: number): Lease | undefined {
    const lease = this.#leases.get(leaseId);
    if (!lease) return undefined;
    this.#leases.delete(leaseId);
    this.#count(lease, -1);
    this.onEnd(lease, nowMs);
    return lease;
  }

  /** A call has ended. */
  onEnd({ grantedAtMs }: Lease, nowMs: number): void {
    this.#meanHoldMs += (nowMs - grantedAtMs - this.#meanHoldMs) / 16;
  }

  /** How many permits an isolate is known to hold. */
  heldIn(isolate: string): number {
    return this.#inIsolates.get(isolate) ?? 0;
  }

  /** Removes the leases that have ended at `nowMs`, and returns them. */
  expire(nowMs: number): Lease[] {
    if (nowMs < this.#earliestEndMs) return [];
    const expired = [...this.#leases.values()].filter((lease) => lease.endsAtMs <= nowMs);
    for (const lease of expired) {
      this.#leases.delete(lease.id);
      this.#count(lease, -1);
    }
    this.#findEarliestEnd();
    return expired;
  }

  #count(lease: Lease, sign: 1 | -1): void {
    const weight = weightOf(lease);
    this.#weight += sign * weight;
    if (lease.isolate !== undefined) add(this.#inIsolates, lease.isolate, sign);
    if (lease.key !== undefined) add(this.#underKeys, lease.key, sign * weight);
  }

  #findEarliestEnd(): void {
    this.#earliestEndMs = Math.min(...[...this.#leases.values()].map((lease) => lease.endsAtMs));
  }
}

function add(counts: Map<string, number>, name: string, change: number): void {
  const count = (counts.get(name) ?? 0) + change;
  if (count > 0) counts.set(name, count);
  else counts.delete(name);
}
