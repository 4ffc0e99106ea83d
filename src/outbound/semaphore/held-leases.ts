/** The leases that are held. Looking for expired ones costs nothing before the earliest end of a lease. */
import type { Lease } from "./permit-types.ts";

export class HeldLeases {
  readonly #leases: Map<string, Lease>;
  /** How many are held in each isolate that is known. */
  readonly #inIsolates = new Map<string, number>();
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
    this.#countIsolate(this.#leases.get(lease.id), -1);
    this.#countIsolate(lease, 1);
    this.#leases.set(lease.id, lease);
    this.#earliestEndMs = Math.min(this.#earliestEndMs, lease.endsAtMs);
    return lease;
  }

  release(leaseId: string, nowMs: number): Lease | undefined {
    const lease = this.#leases.get(leaseId);
    if (!lease) return undefined;
    this.#leases.delete(leaseId);
    this.#countIsolate(lease, -1);
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
      this.#countIsolate(lease, -1);
    }
    this.#findEarliestEnd();
    return expired;
  }

  #countIsolate(lease: Lease | undefined, change: 1 | -1): void {
    if (lease?.isolate === undefined) return;
    const count = (this.#inIsolates.get(lease.isolate) ?? 0) + change;
    if (count > 0) this.#inIsolates.set(lease.isolate, count);
    else this.#inIsolates.delete(lease.isolate);
  }

  #findEarliestEnd(): void {
    this.#earliestEndMs = Math.min(...[...this.#leases.values()].map((lease) => lease.endsAtMs));
  }
}
