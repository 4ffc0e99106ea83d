/**
 * What a caller has as long as it lives. Disposing it releases the permit or leaves the queue; the runtime does so when
 * the caller ends, in whatever way.
 *
 * Its methods do what those of the semaphore do, for the caller that the ticket was given to. A call of them costs no
 * request to the object: it belongs to that of `acquire`. They end with the object's life, and those of the semaphore do
 * not.
 */
import { RpcTarget } from "cloudflare:workers";
import type { Feedback, HandOver, Lease, PermitRequest, Refusal } from "./permit-types.ts";

export type Refused = { is: "refused" } & Refusal;

/** How busy a shard is: its permits, and the calls that hold or want one of them. */
export interface ShardLoad {
  permits: number;
  calls: number;
}

/**
 * `turn`: the caller is a successor, and this is its turn among those of its isolate. `load`: of the shard, if there are
 * several.
 */
export type AcquireResult = { load?: ShardLoad } & (
  | { is: "granted"; lease: Lease; ticket: Ticket }
  | { is: "queued"; arrivedAtMs: number; turn?: number; ticket: Ticket }
  | Refused
);

/**
 * How a wait ended. `gone`: nobody waits under this id, for example after a restart of the object; acquire again.
 * `told`: the caller is a successor from now on, or none any longer; wait again.
 */
export type WaitResult =
  | { is: "granted"; lease: Lease }
  | Refused
  | { is: "gone" }
  | { is: "told"; turn?: number };

/** What the semaphore does for those that have tickets. */
export interface TicketOffice {
  wait(ticket: Ticket): WaitResult | Promise<WaitResult>;
  renew(ticket: Ticket): Lease | undefined;
  takeOver(ticket: Ticket, handOver: HandOver): Lease | undefined;
  release(leaseId: string, feedback: Feedback): boolean;
  onDispose(ticket: Ticket): void;
}

export class Ticket extends RpcTarget {
  /** Of the permit that it holds, or waits for. */
  leaseId: string;
  /** After how many hand-overs its caller has the permit. */
  handOvers = 0;
  readonly request: PermitRequest;
  readonly #office: TicketOffice;

  constructor(request: PermitRequest, office: TicketOffice) {
    super();
    this.leaseId = request.leaseId;
    this.request = request;
    this.#office = office;
  }

  /** Waits for a permit, or for news about who may take one over. */
  wait(): WaitResult | Promise<WaitResult> {
    return this.#office.wait(this);
  }

  /** Renews the lease. Undefined if it has ended. */
  renew(): Lease | undefined {
    return this.#office.renew(this);
  }

  /** The caller has taken over a permit: from now on this is its ticket. Undefined if the lease has ended. */
  takeOver(handOver: HandOver): Lease | undefined {
    return this.#office.takeOver(this, handOver);
  }

  /** As `Semaphore.release`, also of a lease that the caller has taken over and the semaphore has not heard of. */
  release(feedback: Feedback, leaseId: string): boolean {
    return this.#office.release(leaseId, feedback);
  }

  [Symbol.dispose](): void {
    this.#office.onDispose(this);
  }
}

/** The latest ticket of each lease id. Once a caller has acquired again, disposing its older ticket has no effect. */
export class Tickets {
  readonly #latest = new Map<string, Ticket>();
  readonly #office: TicketOffice;
  readonly #held: () => ReadonlyMap<string, Lease>;

  constructor(office: TicketOffice, held: () => ReadonlyMap<string, Lease>) {
    this.#office = office;
    this.#held = held;
  }

  /** A ticket of a caller that has the permit, or waits for it, after so many hand-overs. */
  issue(request: PermitRequest, leaseId: string, handOvers = request.handOvers ?? 0): Ticket {
    const ticket = new Ticket(request, this.#office);
    this.assign(ticket, leaseId, handOvers);
    return ticket;
  }

  /** From now on it is the ticket of this lease, unless that was handed on since. */
  assign(ticket: Ticket, leaseId: string, handOvers: number): void {
    const lease = this.#held().get(leaseId);
    if (lease && lease.handOvers !== handOvers) return;
    ticket.leaseId = leaseId;
    ticket.handOvers = handOvers;
    this.#latest.set(leaseId, ticket);
  }

  forget(leaseId: string): void {
    this.#latest.delete(leaseId);
  }

  /** The lease ids whose latest ticket this is: that under which its caller waited, and that which it has taken over. */
  idsOf(ticket: Ticket): string[] {
    const ids = [...new Set([ticket.request.leaseId, ticket.leaseId])];
    return ids.filter((leaseId) => this.#latest.get(leaseId) === ticket);
  }
}
