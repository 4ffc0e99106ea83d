/** The leases that are held. Looking for expired ones costs nothing before the earliest end of a lease. */
import type { Lease } from "./permit-types.ts";

export class HeldLeases {
  readonly #leases: Map<string, Lease>;
  #earliestEndMs = Infinity;
  #meanHoldMs = 1000;

  constructor(leases: Lease[]) {
    this.#leases = new Map(leases.map((lease) => [lease.id, lease]));
    this.#findEarliestEnd();
  }

  get all(): ReadonlyMap<string, Lease> {
    return this.#leases;
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
    this.#leases.set(lease.id, lease);
    this.#earliestEndMs = Math.min(this.#earliestEndMs, lease.endsAtMs);
    return lease;
  }

  release(leaseId: string, nowMs: number): Lease | undefined {
    const lease = this.#leases.get(leaseId);
    if (!lease) return undefined;
    this.#leases.delete(leaseId);
    this.#meanHoldMs += (nowMs - lease.grantedAtMs - this.#meanHoldMs) / 16;
    return lease;
  }

  /** Removes the leases that have ended at `nowMs`, and returns them. */
  expire(nowMs: number): Lease[] {
    if (nowMs < this.#earliestEndMs) return [];
    const expired = [...this.#leases.values()].filter((lease) => lease.endsAtMs <= nowMs);
    for (const { id } of expired) this.#leases.delete(id);
    this.#findEarliestEnd();
    return expired;
  }

  #findEarliestEnd(): void {
    this.#earliestEndMs = Math.min(...[...this.#leases.values()].map((lease) => lease.endsAtMs));
  }
}
