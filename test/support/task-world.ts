/**
 * A ledger in memory that applies the rules. Beside the state that the rules produce, it records independently what
 * has really happened to each task: who holds it, since when it waits, before which time it must not start, how often
 * it was started and why, and until when its code may be at work. Code is deaf: unless its run reports that it has ended,
 * or its runner is stopped, it works until its invocation dies. Every step compares the two, and throws if they differ or
 * if an invariant of the ledger is broken.
 */

import { PRIORITY_HEAD_START_MS } from "../../src/tasks/ledger/rank.ts";
import {
  CANCEL_GRACE_MS,
  cancel,
  claim,
  LEASE_MS,
  leaseAfterHeartbeat,
  MAX_CRASHES,
  mayReport,
  RUNNER_LEASE_MS,
  RUNNER_LIFETIME_MS,
  RUNNER_RETRY_MS,
  type RuleInputs,
  report,
  retry,
  stopped,
  submit,
  type Transition,
  tick,
} from "../../src/tasks/ledger/rules.ts";
import { type FinalStatus, isFinal, type Outcome } from "../../src/tasks/ledger/task-state.ts";
import type { Lane, RetryPolicy } from "../../src/tasks/types/define.ts";
import { type Item, must, newLife, statusOf } from "./task-history.ts";

export interface WorldType {
  cap?: number;
  retry: RetryPolicy;
}

export class World {
  readonly items = new Map<string, Item>();
  nowMs: number;
  random = 0.5;
  readonly #types: Record<string, WorldType>;
  readonly #retentionMs: Record<FinalStatus, number>;

  constructor(nowMs: number, types: Record<string, WorldType>, retentionMs: Record<FinalStatus, number>) {
    this.nowMs = nowMs;
    this.#types = types;
    this.#retentionMs = retentionMs;
  }

  /** Returns the token of the claim if the caller must run the task at once. */
  submit(
    id: string,
    type: string,
    priority: number,
    runAtMs: number,
    lane: Lane | null,
    lifetimeMs = 0,
  ): number | null {
    if (this.items.has(id)) return null;
    const rankMs = this.nowMs - priority * PRIORITY_HEAD_START_MS;
    const [first] = this.#queueOf(type);
    const isNext = first === undefined || rankMs < this.#rankOf(first);
    const { cap } = this.#typeOf(type);
    const hasRoom = cap === undefined || (isNext && this.running(type).length < cap);
    const change = submit(priority, runAtMs, hasRoom ? lane : null, this.nowMs, { lifetimeMs });
    const item: Item = {
      id,
      type,
      state: change.task,
      events: 0,
      life: newLife(),
      holder: undefined,
      leaseEndsAtMs: 0,
      tokens: [],
      runAtMs,
      claimedAtMs: 0,
      ranMs: 0,
      earliestMs: runAtMs,
      codeUntilMs: 0,
      waitsSinceMs: runAtMs > this.nowMs ? undefined : this.nowMs,
    };
    this.items.set(id, item);
    if (change.task.status === "running") this.#begin(item, this.nowMs + lifetimeMs);
    this.#accept(item, change);
    return item.holder ?? null;
  }

  heartbeat(item: Item, token: number): "ok" | "cancel" | "stale" {
    const isHeld = mayReport(item.state, token);
    must(isHeld === (token === item.holder), "only the holder's heartbeat is accepted");
    if (!isHeld) return "stale";
    item.state = { ...item.state, due_at_ms: leaseAfterHeartbeat(item.state, this.nowMs) };
    // The observer does not know when a lease is written anew: only that enough is left of it, and that none is shortened.
    const { due_at_ms: endsAtMs, lane } = item.state;
    if (item.life.cancelledAtMs === undefined && endsAtMs !== item.leaseEndsAtMs) {
      const leaseMs = lane === "long" ? RUNNER_LEASE_MS : LEASE_MS;
      must(item.leaseEndsAtMs - this.nowMs < leaseMs / 2, "a lease is not written while half of it is left");
      must(endsAtMs === this.nowMs + leaseMs, "a lease is renewed as a whole");
      item.leaseEndsAtMs = endsAtMs;
    }
    must(item.state.due_at_ms === this.nextMs(item), "a task that is being cancelled keeps its time");
    return item.life.cancelledAtMs === undefined ? "ok" : "cancel";
  }

  /** The runner of a claim begins its code, which it does only if the ledger lets it. */
  open(item: Item, token: number): boolean {
    if (token !== item.holder || item.life.cancelledAtMs !== undefined) return false;
    item.leaseEndsAtMs = this.nowMs + RUNNER_LEASE_MS;
    item.codeUntilMs = this.nowMs + RUNNER_LIFETIME_MS;
    item.state = { ...item.state, due_at_ms: item.leaseEndsAtMs, busy_until_ms: item.codeUntilMs };
    return true;
  }

  /** As the ledger does when the holder of a claim records a step. */
  step(item: Item, token: number): boolean {
    const isHeld = mayReport(item.state, token);
    must(isHeld === (token === item.holder), "only the holder's step is accepted");
    if (!isHeld) return false;
    item.life.hasNewStep = true;
    item.state = { ...item.state, has_new_step: 1 };
    item.events++;
    return true;
  }

  /** The runner of a claim that has ended has been stopped. */
  stop(item: Item): void {
    const token = item.tokens.at(-1) ?? 0;
    if (item.holder !== undefined) return;
    const change = stopped(item.state, token, this.nowMs);
    const waitsForCode = statusOf(item) === "scheduled" && item.earliestMs === item.codeUntilMs;
    must(
      (change !== undefined) === waitsForCode,
      "a task that waits for its code alone is queued once that is stopped",
    );
    item.codeUntilMs = 0;
    if (!change) item.state = { ...item.state, busy_until_ms: 0 };
    else {
      item.earliestMs = this.nowMs;
      this.#queue(item, this.nowMs);
      this.#accept(item, change);
    }
  }

  /** With `busyUntilMs`, the run has abandoned its code, which works until then. */
  report(item: Item, token: number, outcome: Outcome, busyUntilMs?: number): boolean {
    const change = report(item.state, token, outcome, this.#inputsFor(item), busyUntilMs);
    must((change !== undefined) === (token === item.holder), "only the holder's report is accepted");
    if (!change) return false;
    item.holder = undefined;
    // If no runner could be reached, one may be at work all the same.
    if (outcome.kind !== "not-begun") item.codeUntilMs = busyUntilMs ?? 0;
    if (item.life.cancelledAtMs !== undefined) this.#end(item, "cancelled");
    else this.#conclude(item, outcome);
    this.#accept(item, change);
    return true;
  }

  cancel(item: Item): "ended" | "already" | "done" {
    const { life } = item;
    const change = cancel(item.state, this.#inputsFor(item));
    if (life.cancelledAtMs !== undefined) {
      must(change === "already", "a cancelled task is not cancelled again");
      return "already";
    }
    must((change === undefined) === (life.ended !== undefined), "a task that has ended cannot be cancelled");
    if (change === undefined || change === "already") return "ended";
    life.cancelledAtMs = this.nowMs;
    if (item.holder === undefined) this.#end(item, "cancelled");
    this.#accept(item, change);
    return "done";
  }

  retry(item: Item): boolean {
    const change = retry(item.state, this.nowMs);
    const as = item.life.ended?.as;
    must(
      (change !== undefined) === (as === "failed" || as === "cancelled"),
      "only failed and cancelled tasks can be retried",
    );
    if (!change) return false;
    item.life = newLife();
    item.earliestMs = item.runAtMs;
    item.ranMs = 0;
    this.#queueAt(item, item.runAtMs);
    this.#accept(item, change);
    return true;
  }

  /** As the alarm does: due tasks first, then the queues. Returns the claims. */
  alarm(): { id: string; token: number }[] {
    for (const item of this.items.values()) this.#tick(item);
    const claimed = [];
    for (const type of Object.keys(this.#types)) {
      const room = (this.#typeOf(type).cap ?? Number.POSITIVE_INFINITY) - this.running(type).length;
      for (const item of this.#queueOf(type).slice(0, Math.max(0, room))) {
        const change = claim(item.state, "long", this.nowMs);
        this.#begin(item, 0);
        this.#accept(item, change);
        claimed.push({ id: item.id, token: change.task.token });
      }
    }
    return claimed;
  }

  /** When the ledger must act on a task by itself; undefined if the task waits for a free slot. */
  nextMs(item: Item): number | undefined {
    const { life, holder } = item;
    if (life.ended)
      return Math.max(life.ended.atMs + this.#retentionMs[life.ended.as], life.ended.codeUntilMs);
    if (life.cancelledAtMs !== undefined) return life.cancelledAtMs + CANCEL_GRACE_MS;
    if (holder !== undefined) return item.leaseEndsAtMs;
    return item.waitsSinceMs === undefined ? item.earliestMs : undefined;
  }

  /** Until when an ended task is kept: for its retention, and for as long as code of it may be at work. */
  #keptUntilMs({ codeUntilMs }: Item, { atMs, as }: NonNullable<Item["life"]["ended"]>): number {
    return Math.max(atMs + this.#retentionMs[as], codeUntilMs);
  }

  running(type: string): Item[] {
    return [...this.items.values()].filter((item) => item.type === type && item.holder !== undefined);
  }

  /** Whether a queued task could run. */
  hasRoom(): boolean {
    return Object.entries(this.#types).some(
      ([type, { cap = Number.POSITIVE_INFINITY }]) =>
        this.#queueOf(type).length > 0 && this.running(type).length < cap,
    );
  }

  #tick(item: Item): void {
    const change = tick(item.state, this.#inputsFor(item));
    const nextMs = item.life.ended ? this.#keptUntilMs(item, item.life.ended) : this.nextMs(item);
    const isDue = nextMs !== undefined && nextMs <= this.nowMs;
    must((change !== undefined) === isDue, `a ${item.state.status} task is acted on exactly when it is due`);
    if (change === undefined) return;
    must(
      (change === "remove") === (item.life.ended !== undefined),
      "exactly the tasks that have ended are removed",
    );
    if (change === "remove") return void this.items.delete(item.id);
    if (item.life.cancelledAtMs !== undefined) this.#end(item, "cancelled");
    else if (item.holder !== undefined) this.#conclude(item, { kind: "crashed" });
    else if (item.codeUntilMs > this.nowMs) item.earliestMs = item.codeUntilMs;
    else this.#queue(item, item.earliestMs);
    item.holder = undefined;
    this.#accept(item, change);
  }

  /** What an outcome must lead to, computed without the rules. */
  #conclude(item: Item, outcome: Outcome): void {
    const { life } = item;
    const { retries, minDelayMs, maxDelayMs, factor } = this.#typeOf(item.type).retry;
    item.ranMs += this.nowMs - item.claimedAtMs;
    switch (outcome.kind) {
      case "succeeded":
        return this.#end(item, "succeeded");
      case "failed": {
        if (outcome.isFinal || life.failures === retries) return this.#end(item, "failed");
        life.isFresh = true;
        item.ranMs = 0;
        const fullMs = Math.min(maxDelayMs, minDelayMs * factor ** life.failures++);
        return this.#queueAt(item, this.nowMs + Math.round(fullMs * (1 - this.random / 2)));
      }
      case "handed-over":
        life.resumptions++;
        return this.#queueAt(item, outcome.notBeforeMs);
      case "not-begun":
        life.resumptions++;
        return this.#queueAt(item, this.nowMs + RUNNER_RETRY_MS);
      case "crashed":
        item.ranMs = 0;
        if (life.hasNewStep) {
          life.earlierCrashes += life.crashes;
          life.crashes = 0;
        }
        life.hasNewStep = false;
        return ++life.crashes === MAX_CRASHES ? this.#end(item, "failed") : this.#queueAt(item, this.nowMs);
    }
  }

  #begin(item: Item, codeUntilMs: number): void {
    const { life, tokens } = item;
    must(item.holder === undefined, "a task has at most one live token");
    must(item.codeUntilMs <= this.nowMs, "no task is at work twice at once");
    item.codeUntilMs = codeUntilMs;
    must(item.earliestMs <= this.nowMs, "nothing starts before its time");
    must(
      !life.ended && life.cancelledAtMs === undefined,
      "a task that has ended or is cancelled does not start",
    );
    const { retries } = this.#typeOf(item.type).retry;
    life.starts++;
    if (life.isFresh) life.attempts++;
    life.isFresh = false;
    must(
      life.starts <=
        1 + Math.min(life.failures, retries) + life.earlierCrashes + life.crashes + life.resumptions,
      "each execution has a reason",
    );
    item.holder = (tokens.at(-1) ?? 0) + 1;
    tokens.push(item.holder);
    // In the fast lane, a claim lasts as long as its invocation.
    item.leaseEndsAtMs = codeUntilMs > this.nowMs ? codeUntilMs : this.nowMs + LEASE_MS;
    item.claimedAtMs = this.nowMs;
    item.waitsSinceMs = undefined;
    const { cap = Number.POSITIVE_INFINITY } = this.#typeOf(item.type);
    must(this.running(item.type).length <= cap, "the concurrency of a type is not exceeded");
  }

  #end(item: Item, as: FinalStatus): void {
    must(item.life.ended === undefined, "a life ends once");
    item.life.ended = { as, atMs: this.nowMs, codeUntilMs: item.codeUntilMs };
    item.waitsSinceMs = undefined;
  }

  #queueAt(item: Item, timeMs: number): void {
    if (Math.max(timeMs, item.codeUntilMs) <= this.nowMs) return this.#queue(item, this.nowMs);
    item.earliestMs = timeMs > this.nowMs ? timeMs : item.codeUntilMs;
    item.waitsSinceMs = undefined;
  }

  #queue(item: Item, sinceMs: number): void {
    item.waitsSinceMs = sinceMs;
  }

  /** Accepts a transition if it agrees with what has really happened. */
  #accept(item: Item, { task, event }: Transition): void {
    const { life, type, tokens } = item;
    item.state = task;
    item.events++;
    const status = statusOf(item);
    must(task.status === status, `a task is ${status}, not ${task.status}`);
    must(event.name === "status" && event.data.status === status, "each transition has an event");
    must(
      isFinal(status) === (task.finished_at_ms !== null),
      "exactly the tasks that have ended have an end time",
    );
    must(task.token === (tokens.at(-1) ?? 0), "each claim has a token of its own");
    must(task.attempt === life.attempts, "attempts count failures only");
    must(task.attempt <= 1 + this.#typeOf(type).retry.retries, "there are no more attempts than allowed");
    must(task.crashes === life.crashes && task.crashes <= MAX_CRASHES, "crashes are counted, and capped");
    must((task.lane !== null) === (item.holder !== undefined), "exactly the held tasks have a lane");
    must(task.busy_until_ms === item.codeUntilMs, "the task knows until when its code may be at work");
    must(tokens.filter((token) => mayReport(task, token)).length <= 1, "a task has at most one live token");
    const sinceMs = item.holder === undefined ? undefined : item.claimedAtMs - item.ranMs;
    must(
      sinceMs === undefined || task.attempt_started_at_ms === sinceMs,
      "an attempt's time passes only while it runs",
    );
    must(task.due_at_ms === (this.nextMs(item) ?? null), "the due time is right");
    const rankMs = item.waitsSinceMs === undefined ? null : this.#rankOf(item);
    must(task.rank_ms === rankMs, "the rank follows from the priority and the waiting time");
  }

  #queueOf(type: string): Item[] {
    const waiting = [...this.items.values()].filter(
      (item) => item.type === type && item.waitsSinceMs !== undefined && item.holder === undefined,
    );
    return waiting.toSorted((a, b) => this.#rankOf(a) - this.#rankOf(b) || (a.id < b.id ? -1 : 1));
  }

  #rankOf({ waitsSinceMs = 0, state }: Item): number {
    return waitsSinceMs - state.priority * PRIORITY_HEAD_START_MS;
  }

  #typeOf(name: string): WorldType {
    const type = this.#types[name];
    must(type !== undefined, `there is a type ${name}`);
    return type;
  }

  #inputsFor({ type }: Item): RuleInputs {
    const { nowMs, random } = this;
    return { nowMs, random, retry: this.#typeOf(type).retry, retentionMs: this.#retentionMs };
  }
}
