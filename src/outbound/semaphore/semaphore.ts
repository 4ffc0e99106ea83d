/**
 * The semaphore of one upstream, for the whole fleet. The object's name is the upstream's.
 *
 * The life of a permit:
 *   1. `acquire` answers at once: granted, queued or refused, with a ticket. The runtime disposes the ticket when its
 *      holder ends in whatever way, and that gives the permit back or leaves the line.
 *   2. A queued caller then calls `wait`. It is a call of its own because a caller that dies inside a pending
 *      `acquire` would have no ticket yet, and would stay in the line.
 *   3. A call that takes long renews its lease, by acquiring again under the same id.
 *   4. `release` gives it back, and says how the call went. It goes by id, on any stub: after a restart of this object
 *      the ticket is broken, the id is not.
 *
 * A grant is in SQLite before it is answered (an RPC reply waits for the write), so a restarted object knows who
 * may be calling. Those who queued ask again, under the same id and with their first arrival. A holder that is
 * frozen, or died together with this object, is outlived by the end of its lease.
 */
import { DurableObject, RpcTarget } from "cloudflare:workers";
import { log } from "../../kernel/log.ts";
import { type Override, readUpstreams, settingsOf, type Upstream } from "../upstreams.ts";
import { Permits } from "./permits.ts";
import type { Feedback, Lease, PermitRequest, Refusal } from "./protocol.ts";
import { SavedState } from "./saved-state.ts";
import { CREATE_TABLES, type LeaseRow } from "./schema.ts";
import { Statistics } from "./statistics.ts";
import { describe, type SemaphoreStatus } from "./status.ts";
import { Subscribers } from "./subscribers.ts";

/** Whoever holds this is alive; its disposal gives the permit back or leaves the line. */
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

interface Refused {
  is: "refused";
  why: Refusal;
  retryAfterMs: number;
}

export type Acquired =
  | { is: "granted"; lease: Lease; ticket: Ticket }
  | { is: "queued"; arrivedAtMs: number; ticket: Ticket }
  | Refused;

/** How waiting ended. `gone`: nobody waits under this id, e.g. since this object restarted; ask again. */
export type Waited = { is: "granted"; lease: Lease } | Refused | { is: "gone" };

export class Semaphore extends DurableObject<Env> {
  readonly #sql = this.ctx.storage.sql;
  readonly #saved: SavedState;
  readonly #permits: Permits;
  readonly #statistics = new Statistics(Date.now());
  readonly #subscribers = new Subscribers(() => this.status());
  /** The latest ticket of each lease id; when a caller asks again, the disposal of the one before means nothing. */
  readonly #tickets = new Map<string, Ticket>();
  readonly #waits = new Map<string, PromiseWithResolvers<Waited>>();
  #timer: { atMs: number; id: ReturnType<typeof setTimeout> } | undefined;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#sql.exec(CREATE_TABLES);
    this.#saved = new SavedState(this.#sql);
    const held = this.#sql.exec<LeaseRow>("SELECT * FROM lease ORDER BY fence").toArray().map(toLease);
    const [last] = this.#sql
      .exec<{ seq: number }>("SELECT seq FROM sqlite_sequence WHERE name = 'lease'")
      .toArray();
    const before = { atMs: Date.now(), held, lastFence: last?.seq ?? 0, memory: this.#saved.memory };
    this.#permits = new Permits(settingsOf(this.#upstream, this.#saved.override), before);
  }

  /** Asks for a permit, or renews one; see above. Asking again under the same id is harmless. */
  acquire(request: PermitRequest): Acquired {
    const { leaseId } = request;
    this.#advance();
    const answer = this.#permits.request(request, Date.now());
    if (answer.is === "refused") {
      this.#refuse(leaseId, answer);
      return answer;
    }
    if (answer.is === "granted" && answer.isNew) this.#save(answer.lease);
    else if (answer.is === "granted") this.#extend(answer.lease);
    this.#changed();
    return { ...answer, ticket: this.#issueTicket(leaseId) };
  }

  /** Waits for the grant of a permit that `acquire` has queued. */
  wait(leaseId: string): Waited | Promise<Waited> {
    const lease = this.#permits.held.get(leaseId);
    if (lease) return { is: "granted", lease };
    if (!this.#permits.line.get(leaseId)) return { is: "gone" };
    const wait = this.#waits.get(leaseId) ?? Promise.withResolvers<Waited>();
    this.#waits.set(leaseId, wait);
    return wait.promise;
  }

  /**
   * Gives a permit back, or leaves the line; harmless if that has happened already. True if the call failed, its
   * holder wants to retry it, and the retry budget allows that.
   */
  release(leaseId: string, feedback: Feedback = { outcome: "unknown" }): boolean {
    const nowMs = Date.now();
    this.#tickets.delete(leaseId);
    this.#settle(leaseId, { is: "gone" });
    const lease = this.#permits.release(leaseId, feedback, nowMs, Math.random());
    if (lease) {
      this.#sql.exec("DELETE FROM lease WHERE fence = ?", lease.fence);
      this.#statistics.ended(feedback.outcome, nowMs - lease.grantedAtMs);
    }
    const mayRetry = lease !== undefined && feedback.wantsRetry === true && this.#permits.allowRetry();
    if (feedback.wantsRetry) this.#statistics.retried(mayRetry);
    this.#changed();
    this.#advance();
    return mayRetry;
  }

  status(): SemaphoreStatus {
    this.#advance();
    return describe(this.#upstream, this.#saved.override, this.#permits, this.#statistics, Date.now());
  }

  /** Changes what is in force, from now on and after a restart; what is null in `change` goes back to the configuration. */
  configure(change: Override): SemaphoreStatus {
    this.#saved.override = { ...this.#saved.override, ...change };
    this.#permits.configure(settingsOf(this.#upstream, this.#saved.override), Date.now());
    if (change.paused === false) this.#permits.resume(Date.now());
    this.#changed();
    return this.status();
  }

  /** Server-sent events: the status now, and again after each change, as text. */
  events(): ReadableStream<Uint8Array> {
    return this.#subscribers.subscribe();
  }

  #issueTicket(leaseId: string): Ticket {
    const ticket = new Ticket((disposed) => {
      if (this.#tickets.get(leaseId) === disposed) this.release(leaseId);
    });
    this.#tickets.set(leaseId, ticket);
    return ticket;
  }

  #advance(): void {
    const { granted, expired, refused } = this.#permits.advance(Date.now());
    for (const lease of expired) this.#onExpired(lease);
    for (const lease of granted) {
      this.#save(lease);
      this.#settle(lease.id, { is: "granted", lease });
    }
    for (const { waiter, why, retryAfterMs } of refused)
      this.#refuse(waiter.leaseId, { is: "refused", why, retryAfterMs });
    if (granted.length + expired.length + refused.length > 0) this.#changed();
  }

  #onExpired(lease: Lease): void {
    this.#tickets.delete(lease.id);
    this.#sql.exec("DELETE FROM lease WHERE fence = ?", lease.fence);
    this.#statistics.expired();
    log("warn", "lease expired: its holder neither released it nor ended", {
      upstream: this.#upstream.name,
      lease,
    });
  }

  #refuse(leaseId: string, refused: Refused): void {
    this.#tickets.delete(leaseId);
    this.#statistics.refused(refused.why);
    this.#settle(leaseId, refused);
  }

  #settle(leaseId: string, waited: Waited): void {
    this.#waits.get(leaseId)?.resolve(waited);
    this.#waits.delete(leaseId);
  }

  #save({ id, fence, holder, grantedAtMs, endsAtMs }: Lease): void {
    this.#statistics.granted();
    this.#sql.exec("INSERT INTO lease VALUES (?, ?, ?, ?, ?)", fence, id, holder, grantedAtMs, endsAtMs);
  }

  #extend({ fence, endsAtMs }: Lease): void {
    this.#sql.exec("UPDATE lease SET ends_at_ms = ? WHERE fence = ?", endsAtMs, fence);
  }

  /** Keeps what must be kept, tells who watches, and sets the alarm clock. */
  #changed(): void {
    this.#saved.memory = this.#permits.memory;
    this.#subscribers.changed();
    this.#setTimer();
  }

  /** A timer is enough, and costs no write: nobody waits for this object without a call to it that is open. */
  #setTimer(): void {
    const nowMs = Date.now();
    const atMs = this.#permits.nextChangeAtMs(nowMs);
    if (this.#timer?.atMs === atMs) return;
    clearTimeout(this.#timer?.id);
    this.#timer =
      atMs === undefined ? undefined : { atMs, id: setTimeout(() => this.#onTimer(), atMs - nowMs) };
  }

  #onTimer(): void {
    this.#timer = undefined;
    this.#advance();
    this.#setTimer(); // also when it went off a little early, and there was nothing to do yet
  }

  get #upstream(): Upstream {
    const upstream = readUpstreams(this.env).get(this.ctx.id.name ?? "");
    if (!upstream) throw new Error("A Semaphore is reached by the name of an upstream.");
    return upstream;
  }
}

function toLease(row: LeaseRow): Lease {
  return {
    id: row.id,
    fence: row.fence,
    holder: row.holder,
    grantedAtMs: row.granted_at_ms,
    endsAtMs: row.ends_at_ms,
  };
}
