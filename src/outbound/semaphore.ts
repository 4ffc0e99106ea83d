/**
 * The semaphore of one upstream, for the whole fleet. The object's name is the upstream's.
 *
 * The life of a permit:
 *   1. `acquire(leaseId)` answers at once: granted, queued or refused, with a ticket. The runtime disposes the
 *      ticket when its holder ends in whatever way, and that gives the permit back or leaves the queue.
 *   2. A queued caller then calls `wait(leaseId)`. It is a call of its own because a caller that dies inside a
 *      pending `acquire` would have no ticket yet, and would stay in the queue.
 *   3. `release(leaseId)` gives it back, on any stub: after a restart of this object the ticket is broken, the id is
 *      not.
 *
 * A grant is in SQLite before it is answered (an RPC reply waits for the write), so a restarted object knows who
 * may be calling. Those who queued ask again, under the same id and with their first arrival. A holder that is
 * frozen, or died together with this object, is outlived by the end of its lease.
 */
import { DurableObject, RpcTarget } from "cloudflare:workers";
import { log } from "../kernel/log.ts";
import { type Lease, type PermitRequest, Permits } from "./permits.ts";
import { CREATE_TABLES, type LeaseRow } from "./schema.ts";
import { readUpstreams, type Upstream } from "./upstreams.ts";

/** Whoever holds this is alive; its disposal gives the permit back or leaves the queue. */
class Ticket extends RpcTarget {
  readonly #onDispose: (ticket: Ticket) => void;

  constructor(onDispose: (ticket: Ticket) => void) {
    super();
    this.#onDispose = onDispose;
  }

  [Symbol.dispose](): void {
    this.#onDispose(this);
  }
}

export type Acquired =
  | { is: "granted"; lease: Lease; ticket: Ticket }
  | { is: "queued"; arrivedAtMs: number; ticket: Ticket }
  | { is: "refused"; why: "queue-full" | "wait-limit" };

/** How waiting ended. `gone`: nobody waits under this id, e.g. since this object restarted; ask again. */
export type Waited = { is: "granted"; lease: Lease } | { is: "gaveUp" } | { is: "gone" };

export interface SemaphoreStatus {
  held: Lease[];
  /** Lease ids, the next first. */
  waiting: string[];
}

export class Semaphore extends DurableObject<Env> {
  readonly #sql = this.ctx.storage.sql;
  readonly #permits: Permits;
  /** The latest ticket of each lease id; when a caller asks again, the disposal of the one before means nothing. */
  readonly #tickets = new Map<string, Ticket>();
  readonly #waits = new Map<string, PromiseWithResolvers<Waited>>();
  #timer: { atMs: number; id: ReturnType<typeof setTimeout> } | undefined;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#sql.exec(CREATE_TABLES);
    const leases = this.#sql.exec<LeaseRow>("SELECT * FROM lease ORDER BY fence").toArray().map(toLease);
    const [last] = this.#sql
      .exec<{ seq: number }>("SELECT seq FROM sqlite_sequence WHERE name = 'lease'")
      .toArray();
    this.#permits = new Permits(this.#upstream, leases, last?.seq);
  }

  /** Asks for a permit; see above. Asking again under the same id renews the lease, or is harmless. */
  acquire(request: PermitRequest): Acquired {
    this.#advance();
    const answer = this.#permits.request(request, Date.now());
    if (answer.is === "refused") return answer;
    if (answer.is === "granted") this.#save(answer.lease);
    this.#setTimer();
    return { ...answer, ticket: this.#issueTicket(request.leaseId) };
  }

  /** Waits for the grant of a permit that `acquire` has queued. */
  wait(leaseId: string): Waited | Promise<Waited> {
    const lease = this.#permits.held.get(leaseId);
    if (lease) return { is: "granted", lease };
    if (!this.#permits.waiting.has(leaseId)) return { is: "gone" };
    const wait = this.#waits.get(leaseId) ?? Promise.withResolvers<Waited>();
    this.#waits.set(leaseId, wait);
    return wait.promise;
  }

  /** Gives a permit back, or leaves the queue. Harmless if that has happened already. */
  release(leaseId: string): void {
    this.#tickets.delete(leaseId);
    this.#settle(leaseId, { is: "gone" });
    if (this.#permits.release(leaseId)) this.#forget(leaseId);
    this.#advance();
  }

  status(): SemaphoreStatus {
    this.#advance();
    return {
      held: [...this.#permits.held.values()],
      waiting: [...this.#permits.waiting].map((waiter) => waiter.leaseId),
    };
  }

  #issueTicket(leaseId: string): Ticket {
    const ticket = new Ticket((disposed) => {
      if (this.#tickets.get(leaseId) === disposed) this.release(leaseId);
    });
    this.#tickets.set(leaseId, ticket);
    return ticket;
  }

  #advance(): void {
    const { granted, expired, gaveUp } = this.#permits.advance(Date.now());
    for (const lease of expired) {
      this.#tickets.delete(lease.id);
      this.#forget(lease.id);
      log("warn", "lease expired: its holder neither released it nor ended", {
        upstream: this.#upstream.name,
        lease,
      });
    }
    for (const lease of granted) {
      this.#save(lease);
      this.#settle(lease.id, { is: "granted", lease });
    }
    for (const { leaseId } of gaveUp) {
      this.#tickets.delete(leaseId);
      this.#settle(leaseId, { is: "gaveUp" });
    }
    this.#setTimer();
  }

  #save({ id, fence, grantedAtMs, endsAtMs }: Lease): void {
    this.#sql.exec("INSERT OR REPLACE INTO lease VALUES (?, ?, ?, ?)", fence, id, grantedAtMs, endsAtMs);
  }

  #forget(leaseId: string): void {
    this.#sql.exec("DELETE FROM lease WHERE id = ?", leaseId);
  }

  #settle(leaseId: string, waited: Waited): void {
    this.#waits.get(leaseId)?.resolve(waited);
    this.#waits.delete(leaseId);
  }

  /** A timer is enough, and costs no write: nobody waits for this object without a call to it that is open. */
  #setTimer(): void {
    const atMs = this.#permits.nextChangeAtMs;
    if (this.#timer?.atMs === atMs) return;
    clearTimeout(this.#timer?.id);
    this.#timer =
      atMs === undefined ? undefined : { atMs, id: setTimeout(() => this.#onTimer(), atMs - Date.now()) };
  }

  #onTimer(): void {
    this.#timer = undefined;
    this.#advance();
  }

  get #upstream(): Upstream {
    const upstream = readUpstreams(this.env).get(this.ctx.id.name ?? "");
    if (!upstream) throw new Error("A Semaphore is reached by the name of an upstream.");
    return upstream;
  }
}

function toLease(row: LeaseRow): Lease {
  return { id: row.id, fence: row.fence, grantedAtMs: row.granted_at_ms, endsAtMs: row.ends_at_ms };
}
