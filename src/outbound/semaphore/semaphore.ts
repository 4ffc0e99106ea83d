/**
 * The semaphore of one upstream, for the whole fleet. The object's name is the upstream's.
 *
 * The life of a permit:
 *   1. `acquire` responds at once: granted, queued or refused. The first two come with a ticket. When the caller
 *      ends, in whatever way, the runtime disposes its ticket, and that releases the permit or leaves the queue.
 *   2. A queued caller then calls `wait`. This is a separate call because a caller that dies inside a pending
 *      `acquire` would have no ticket yet, and would stay in the queue.
 *   3. A long call renews its lease by acquiring again under the same id.
 *   4. `release` ends the lease and reports how the call went. It goes by id, on any stub: a restart of this object
 *      breaks the ticket, but not the id. `reportHead` comes before it where the head of a response decides.
 *
 * A grant is in SQLite before it is returned (an RPC response waits for the write), so a restarted object knows who
 * may be calling. Queued callers acquire again, under the same id and with their first arrival time. If a holder
 * freezes, or dies together with this object, its lease expires.
 */
import { DurableObject, RpcTarget } from "cloudflare:workers";
import { log } from "../../kernel/log.ts";
import { markRepeatable } from "../../kernel/objects.ts";
import { migrate } from "../../kernel/schema.ts";
import { type Override, settingsOf } from "../settings.ts";
import { readUpstreams, type Upstream } from "../upstreams.ts";
import type { Feedback, Lease, PermitRequest, Refusal } from "./permit-types.ts";
import { Permits } from "./permits.ts";
import { type LeaseRow, MIGRATIONS } from "./schema.ts";
import { StateStore } from "./state-store.ts";
import { Statistics } from "./statistics.ts";
import { describe, type SemaphoreStatus } from "./status.ts";
import { Subscribers } from "./subscribers.ts";

/** Its holder is alive. Disposing it releases the permit or leaves the queue. */
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

type Refused = { is: "refused" } & Refusal;

export type AcquireResult =
  | { is: "granted"; lease: Lease; ticket: Ticket }
  | { is: "queued"; arrivedAtMs: number; ticket: Ticket }
  | Refused;

/**
 * How a wait ended. `gone`: nobody waits under this id, for example after a restart of this object; acquire again.
 */
export type WaitResult = { is: "granted"; lease: Lease } | Refused | { is: "gone" };

export class Semaphore extends DurableObject<Env> {
  readonly #sql = this.ctx.storage.sql;
  readonly #store: StateStore;
  readonly #permits: Permits;
  readonly #statistics = new Statistics(Date.now());
  readonly #subscribers = new Subscribers(() => this.status());
  /**
   * The latest ticket of each lease id. Once a caller has acquired again, disposing its older ticket has no effect.
   */
  readonly #tickets = new Map<string, Ticket>();
  readonly #waits = new Map<string, PromiseWithResolvers<WaitResult>>();
  #timer: { atMs: number; id: ReturnType<typeof setTimeout> } | undefined;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    migrate(ctx.storage, MIGRATIONS);
    this.#store = new StateStore(this.#sql);
    const rows = this.#sql.exec<LeaseRow>("SELECT * FROM lease ORDER BY fence").toArray();
    const held = rows.map((row) => toLease(row, this.#store.permits?.breaker.probe));
    const [last] = this.#sql
      .exec<{ seq: number }>("SELECT seq FROM sqlite_sequence WHERE name = 'lease'")
      .toArray();
    const restored = { atMs: Date.now(), held, lastFence: last?.seq ?? 0, state: this.#store.permits };
    this.#permits = new Permits(settingsOf(this.#upstream, this.#store.override), restored);
  }

  /** Requests a permit, or renews one; see above. Doing so again under the same id is harmless. */
  acquire(request: PermitRequest): AcquireResult {
    const { leaseId } = request;
    this.#advance();
    const decision = this.#permits.request(request, Date.now());
    if (decision.is === "refused") {
      this.#refuse(leaseId, decision);
      return decision;
    }
    if (decision.is === "granted" && decision.isNew) this.#insertLease(decision.lease);
    else if (decision.is === "granted") this.#extendLease(decision.lease);
    this.#onChange();
    return { ...decision, ticket: this.#issueTicket(leaseId) };
  }

  /** Waits for a permit that `acquire` has queued. */
  wait(leaseId: string): WaitResult | Promise<WaitResult> {
    const lease = this.#permits.held.get(leaseId);
    if (lease) return { is: "granted", lease };
    if (!this.#permits.queue.get(leaseId)) return { is: "gone" };
    const wait = this.#waits.get(leaseId) ?? Promise.withResolvers<WaitResult>();
    this.#waits.set(leaseId, wait);
    return wait.promise;
  }

  /**
   * Releases a permit, or leaves the queue. Harmless if that has happened already. Returns true if the call failed,
   * its holder wants to retry it, and the retry budget allows it.
   */
  release(leaseId: string, feedback: Feedback = { outcome: "unknown" }): boolean {
    const nowMs = Date.now();
    this.#tickets.delete(leaseId);
    this.#endWait(leaseId, { is: "gone" });
    const lease = this.#permits.release(leaseId, feedback, nowMs, Math.random());
    if (lease) {
      this.#deleteLease(lease);
      this.#statistics.onEnd(feedback.outcome, nowMs - lease.grantedAtMs);
    }
    const mayRetry = lease !== undefined && feedback.wantsRetry === true && this.#permits.allowRetry();
    if (feedback.wantsRetry) this.#statistics.onRetry(mayRetry);
    this.#onChange();
    this.#advance();
    return mayRetry;
  }

  /**
   * What the head of a response says, while its body still comes: for the probe, and for a pause. Every other holder
   * need not call it: `release` says the same.
   */
  reportHead(leaseId: string, feedback: Feedback): void {
    this.#permits.reportHead(leaseId, feedback, Date.now(), Math.random());
    this.#onChange();
    this.#advance();
  }

  status(): SemaphoreStatus {
    this.#advance();
    return describe(this.#upstream, this.#store.override, this.#permits, this.#statistics, Date.now());
  }

  /** Changes the settings in force, across restarts too. A member that is null goes back to the configuration. */
  configure(change: Override): SemaphoreStatus {
    this.#store.override = { ...this.#store.override, ...change };
    this.#permits.configure(settingsOf(this.#upstream, this.#store.override), Date.now());
    if (change.paused === false) this.#permits.resume(Date.now());
    this.#onChange();
    return this.status();
  }

  /** Server-sent events: the current status, and again after each change. `caller` is the name of its token. */
  events(caller: string): ReadableStream<Uint8Array> | "too-many" {
    return this.#subscribers.subscribe(caller);
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
    for (const lease of expired) this.#onExpiry(lease);
    for (const lease of granted) {
      this.#insertLease(lease);
      this.#endWait(lease.id, { is: "granted", lease });
    }
    for (const { waiter, ...refusal } of refused) this.#refuse(waiter.leaseId, { is: "refused", ...refusal });
    if (granted.length + expired.length + refused.length > 0) this.#onChange();
  }

  #onExpiry(lease: Lease): void {
    this.#tickets.delete(lease.id);
    this.#deleteLease(lease);
    this.#statistics.onExpiry();
    log("warn", "lease expired: its holder neither released it nor ended", {
      upstream: this.#upstream.name,
      lease,
    });
  }

  #refuse(leaseId: string, refused: Refused): void {
    this.#tickets.delete(leaseId);
    this.#statistics.onRefusal(refused.reason);
    this.#endWait(leaseId, refused);
  }

  #endWait(leaseId: string, result: WaitResult): void {
    this.#waits.get(leaseId)?.resolve(result);
    this.#waits.delete(leaseId);
  }

  #insertLease({ id, fence, holder, grantedAtMs, endsAtMs }: Lease): void {
    this.#statistics.onGrant();
    this.#sql.exec(
      "INSERT INTO lease (fence, id, holder, granted_at_ms, ends_at_ms) VALUES (?, ?, ?, ?, ?)",
      fence,
      id,
      holder,
      grantedAtMs,
      endsAtMs,
    );
  }

  #extendLease({ fence, endsAtMs }: Lease): void {
    this.#sql.exec("UPDATE lease SET ends_at_ms = ? WHERE fence = ?", endsAtMs, fence);
  }

  #deleteLease({ fence }: Lease): void {
    this.#sql.exec("DELETE FROM lease WHERE fence = ?", fence);
  }

  /** Saves the state of the rules, notifies subscribers, and sets the timer. */
  #onChange(): void {
    this.#store.permits = this.#permits.state;
    this.#subscribers.notify();
    this.#setTimer();
  }

  /** A timer is enough, and costs no write: whoever waits for this object keeps a call to it open. */
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
    this.#setTimer(); // in case the timer fired a little early, and there was nothing to do yet
  }

  get #upstream(): Upstream {
    const upstream = readUpstreams(this.env).get(this.ctx.id.name ?? "");
    if (!upstream) throw new Error("A Semaphore must be addressed by the name of an upstream.");
    return upstream;
  }
}

markRepeatable(Semaphore, "acquire", "wait", "release", "reportHead", "status", "configure");

function toLease(row: LeaseRow, probe: string | null | undefined): Lease {
  return {
    id: row.id,
    fence: row.fence,
    holder: row.holder,
    isProbe: row.id === probe,
    grantedAtMs: row.granted_at_ms,
    endsAtMs: row.ends_at_ms,
  };
}
