/**
 * The semaphore of one upstream, for the whole fleet; or one of its shards, with a part of its limits (../shards.ts).
 *
 * The life of a permit:
 *   1. `acquire` responds at once: granted, queued or refused. The first two come with a ticket. When the caller
 *      ends, in whatever way, the runtime disposes its ticket, and that releases the permit or leaves the queue.
 *   2. A queued caller then waits, with its ticket. This is a separate call because a caller that dies inside a pending
 *      `acquire` would have no ticket yet, and would stay in the queue.
 *   3. A long call renews its lease.
 *   4. `release` ends the lease and reports how the call went. `reportHead` comes before it where the head of a response
 *      decides. Or the permit is handed on: then a caller that waited says with `takeOver` that the lease is its own.
 *
 * All of it goes by id too, on any stub: a restart of this object breaks the ticket, but not the id. A grant is in SQLite
 * before it is returned (an RPC response waits for the write), so a restarted object knows who may be calling. Queued
 * callers acquire again, under the same id and with their first arrival time. If a holder freezes, or dies together with
 * this object, its lease expires.
 */
import { DurableObject } from "cloudflare:workers";
import { Broadcast, type News } from "../../kernel/broadcast.ts";
import { log } from "../../kernel/log.ts";
import { markRepeatable } from "../../kernel/objects.ts";
import { migrate } from "../../kernel/schema.ts";
import type { Figures } from "../../kernel/tally.ts";
import type { Override, Settings } from "../settings.ts";
import { SemaphoreFigures } from "./figures.ts";
import { LeaseStore } from "./lease-store.ts";
import { OwnShard } from "./own-shard.ts";
import type { Feedback, HandOver, Lease, PermitRequest, Taker } from "./permit-types.ts";
import { Permits } from "./permits.ts";
import { MIGRATIONS } from "./schema.ts";
import { Siblings } from "./siblings.ts";
import { StateStore } from "./state-store.ts";
import { Statistics } from "./statistics.ts";
import { describe, type ShardStatus } from "./status.ts";
import { type AcquireResult, type Refused, type Ticket, Tickets, type WaitResult } from "./ticket.ts";

export class Semaphore extends DurableObject<Env> {
  readonly #own = new OwnShard(this.env, this.ctx.id.name);
  readonly #sql = this.ctx.storage.sql;
  readonly #store: StateStore;
  readonly #leases: LeaseStore;
  readonly #permits: Permits;
  readonly #figures = new SemaphoreFigures(this.ctx.storage);
  readonly #statistics = new Statistics(Date.now(), this.#figures);
  readonly #watchers = new Broadcast({ whole: () => this.#news(), changes: () => this.#news() });
  readonly #siblings = new Siblings((pauseMs) => {
    this.#permits.pauseFor(pauseMs, Date.now());
    this.#own.pauseOthers(pauseMs);
  });
  readonly #tickets = new Tickets(
    {
      wait: ({ leaseId }) => this.wait(leaseId),
      renew: (ticket) => this.#renew(ticket),
      takeOver: (ticket, handOver) => {
        const lease = this.#takeOver(handOver, { ...ticket.request, waitedAs: ticket.request.leaseId });
        if (lease) this.#tickets.assign(ticket, lease.id, handOver.number);
        return lease;
      },
      release: (leaseId, feedback) => this.release(leaseId, feedback),
      onDispose: (ticket) => {
        for (const leaseId of this.#tickets.idsOf(ticket)) this.#onTicketGone(leaseId);
      },
    },
    () => this.#permits.held,
  );
  readonly #waits = new Map<string, PromiseWithResolvers<WaitResult>>();
  #timer: { atMs: number; id: ReturnType<typeof setTimeout> } | undefined;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    migrate(ctx.storage, MIGRATIONS);
    this.#store = new StateStore(this.#sql);
    this.#leases = new LeaseStore(this.#sql);
    const { permits: state } = this.#store;
    const held = this.#leases.read(state?.breaker.probe);
    const restored = { atMs: Date.now(), held, lastFence: this.#leases.lastFence, state };
    this.#permits = new Permits(this.#settings, restored);
  }

  /** Requests a permit, renews one, or takes one over; see above. Doing so again under the same id is harmless. */
  acquire(request: PermitRequest): AcquireResult {
    this.#advance();
    if (request.handOver) return this.#acquireTaken(request, request.handOver);
    const { leaseId } = request;
    const decision = this.#permits.request(this.#own.withPartOfQueue(request), Date.now());
    if (decision.is === "refused") {
      this.#refuse(leaseId, decision);
      return { ...decision, ...this.#own.loadOf(this.#permits, this.#settings) };
    }
    if (decision.is === "granted" && decision.isNew) this.#onGrant(decision.lease);
    else if (decision.is === "granted") this.#leases.extend(decision.lease);
    this.#advance();
    this.#onChange();
    const ticket = this.#tickets.issue(request, leaseId);
    return decision.is === "granted"
      ? { ...decision, ...this.#own.loadOf(this.#permits, this.#settings), ticket }
      : { ...decision, ...this.#tell(leaseId), ...this.#own.loadOf(this.#permits, this.#settings), ticket };
  }

  /** Waits for a permit that `acquire` has queued, or for news about who may take one over. */
  wait(leaseId: string): WaitResult | Promise<WaitResult> {
    this.#permits.hear(leaseId, Date.now());
    this.#advance();
    const lease = this.#permits.held.get(leaseId);
    if (lease) return { is: "granted", lease };
    if (!this.#permits.queue.get(leaseId)) return { is: "gone" };
    if (this.#permits.hasNewsFor(leaseId)) return { is: "told", ...this.#tell(leaseId) };
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
    this.#tickets.forget(leaseId);
    this.#endWait(leaseId, { is: "gone" });
    const lease = this.#permits.release(leaseId, feedback, nowMs, Math.random());
    if (lease) {
      this.#leases.delete(lease);
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

  /** Another shard was asked for a pause by the upstream: this one pauses too, for so long from now. */
  pauseFor(ms: number): void {
    const nowMs = Date.now();
    this.#siblings.onTold(ms, nowMs);
    this.#permits.pauseFor(ms, nowMs);
    this.#onChange();
    this.#advance();
  }

  status(): ShardStatus {
    this.#advance();
    return describe(this.#own, this.#store.override, this.#permits, this.#statistics, Date.now());
  }

  /** For `GET /metrics`. */
  figures(): Figures {
    this.#advance();
    return this.#figures.read(this.#permits, Date.now());
  }

  /** Changes the settings in force, across restarts too. A member that is null goes back to the configuration. */
  configure(change: Override): ShardStatus {
    this.#store.override = { ...this.#store.override, ...change };
    this.#permits.configure(this.#settings, Date.now());
    if (change.paused === false) {
      this.#siblings.onResume();
      this.#permits.resume(Date.now());
    }
    if (change.paused === true) this.#figures.onPause("operator");
    this.#onChange();
    return this.status();
  }

  /** Server-sent events: the current status, and again after each change. `caller` is the name of its token. */
  events(caller: string): ReadableStream<Uint8Array> | "too-many" {
    return this.#watchers.subscribe(caller);
  }

  /** A caller whose ticket has ended, with an earlier life of this object, has taken over a permit. */
  #acquireTaken(request: PermitRequest, handOver: HandOver & Pick<Taker, "waitedAs">): AcquireResult {
    const lease = this.#takeOver(handOver, { ...request, waitedAs: handOver.waitedAs });
    // Its call has no permit, and must end.
    if (!lease) return { is: "refused", reason: "wait-limit", retryAfterMs: 1_000, byOperator: false };
    return { is: "granted", lease, ticket: this.#tickets.issue(request, lease.id, handOver.number) };
  }

  #takeOver(handOver: HandOver, taker: Taker): Lease | undefined {
    const nowMs = Date.now();
    const before = this.#permits.held.get(handOver.leaseId);
    const lease = this.#permits.takeOver(handOver, taker, nowMs, Math.random());
    // If it was granted another permit meanwhile, its ticket stands for both until it returns that one.
    if (!this.#permits.held.has(taker.waitedAs)) this.#tickets.forget(taker.waitedAs);
    this.#endWait(taker.waitedAs, { is: "gone" });
    if (before && lease && lease !== before) {
      this.#leases.delete(before);
      this.#onGrant(lease);
      for (const { after, feedback } of handOver.ended)
        if (after >= before.handOvers)
          this.#statistics.onHandOver(feedback.outcome, nowMs - before.grantedAtMs);
    }
    this.#onChange();
    this.#advance();
    return lease;
  }

  /** Undefined if the lease has ended, or was handed on since. */
  #renew({ request, leaseId, handOvers }: Ticket): Lease | undefined {
    this.#advance();
    if (this.#permits.held.get(leaseId)?.handOvers !== handOvers) return undefined;
    const renewed = this.#permits.request({ ...request, leaseId }, Date.now());
    if (renewed.is !== "granted") return undefined;
    this.#leases.extend(renewed.lease);
    this.#onChange();
    return renewed.lease;
  }

  #onTicketGone(leaseId: string): void {
    if (!this.#permits.orphan(leaseId)) return void this.release(leaseId);
    this.#tickets.forget(leaseId);
    this.#advance();
    this.#onChange();
  }

  /** What a waiter is told about who may take over a permit. */
  #tell(leaseId: string): { turn?: number } {
    const turn = this.#permits.tell(leaseId, Date.now());
    return turn === undefined ? {} : { turn };
  }

  #advance(): void {
    const { granted, expired, lost, refused, told } = this.#permits.advance(Date.now());
    for (const lease of expired) this.#onExpiry(lease);
    for (const lease of lost) this.#leases.delete(lease);
    for (const lease of granted) {
      this.#onGrant(lease);
      this.#endWait(lease.id, { is: "granted", lease });
    }
    for (const { waiter, ...refusal } of refused) this.#refuse(waiter.leaseId, { is: "refused", ...refusal });
    for (const { leaseId } of told)
      if (this.#waits.has(leaseId)) this.#endWait(leaseId, { is: "told", ...this.#tell(leaseId) });
    if (granted.length + expired.length + lost.length + refused.length > 0) this.#onChange();
  }

  #onExpiry(lease: Lease): void {
    this.#tickets.forget(lease.id);
    this.#leases.delete(lease);
    this.#statistics.onExpiry();
    // A limit key may name a person, and stays out of the log.
    const { key: _key, ...logged } = lease;
    log("warn", "lease expired: its holder neither released it nor ended", {
      upstream: this.#own.upstream.name,
      lease: logged,
    });
  }

  /** It keeps its ticket, in case it has taken over a permit just before. */
  #refuse(leaseId: string, refused: Refused): void {
    this.#statistics.onRefusal(refused.reason);
    this.#endWait(leaseId, refused);
  }

  #endWait(leaseId: string, result: WaitResult): void {
    this.#waits.get(leaseId)?.resolve(result);
    this.#waits.delete(leaseId);
  }

  #onGrant(lease: Lease): void {
    this.#statistics.onGrant();
    this.#leases.insert(lease);
  }

  /** Each event has the whole status, so that none depends on another. */
  #news(): News {
    return { event: "status", data: this.status() };
  }

  /** Saves the state of the rules, tells the other shards and those who watch, and sets the timer. */
  #onChange(): void {
    const { pausedUntilMs } = this.#permits.state.throttle;
    if (this.#own.isOneOfSeveral) this.#siblings.onPause(pausedUntilMs, Date.now());
    for (const waitMs of this.#permits.takeWaitsMs()) this.#statistics.onWait(waitMs);
    this.#figures.onChange(this.#store.permits, this.#permits, Date.now());
    this.#store.permits = this.#permits.state;
    this.#watchers.notify();
    this.#setTimer();
  }

  /** A timer is enough, and costs no write: whoever waits for this object keeps a call to it open. */
  #setTimer(): void {
    const nowMs = Date.now();
    const atMs = this.#permits.outlook.nextChangeAtMs(nowMs);
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

  get #settings(): Settings {
    return this.#own.settings(this.#store.override);
  }
}

markRepeatable(
  Semaphore,
  "acquire",
  "wait",
  "release",
  "reportHead",
  "pauseFor",
  "status",
  "configure",
  "figures",
);
