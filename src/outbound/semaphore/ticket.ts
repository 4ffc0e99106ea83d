/**
 * What a caller has as long as it lives. Disposing it releases the permit or leaves the queue; the runtime does so when
 * the caller ends, in whatever way.
 *
 * Its methods do what those of the semaphore do, for the caller that the ticket was given to. A call of them costs no
 * request to the object: it belongs to that of `acquire`. They end with the object's life, and those of the semaphore do
 * not.
 */
import { RpcTarget } from "cloudflare:workers";
import type { Feedback, HandOver, Lease, PermitRequest } from "./permit-types.ts";
import type { WaitResult } from "./semaphore.ts";

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
