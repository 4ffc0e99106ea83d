/**
 * The ledger: every background task, in SQLite, in a few Durable Objects (shards).
 *
 * A task is written before its caller gets a response (an RPC reply waits for the write). The same call makes its
 * first claim, so starting a task costs a single round trip. What is in the ledger outlives the Worker that runs it.
 *
 * Callers act on tasks through the methods below. By itself, the ledger acts only in its alarm: see `alarm-work.ts`.
 */
import { DurableObject } from "cloudflare:workers";
import { Feed } from "../../kernel/feed.ts";
import { describeError, errorFields, log } from "../../kernel/log.ts";
import { Registration } from "../../kernel/object-registry.ts";
import { markRepeatable } from "../../kernel/objects.ts";
import { OpenStreams } from "../../kernel/open-streams.ts";
import { migrate } from "../../kernel/schema.ts";
import type { Figures } from "../../kernel/tally.ts";
import { Alarm } from "./alarm.ts";
import { AlarmWork } from "./alarm-work.ts";
import { actOnAll, type BulkAction, type BulkOutcome } from "./bulk.ts";
import type { Assignment, Claim, NewTask, Placed, Renewal, Report, Written } from "./claim.ts";
import { Dispatch } from "./dispatch.ts";
import { DispatchTable } from "./dispatch-table.ts";
import { eventStream } from "./event-stream.ts";
import type { FlowMessage } from "./flow-messages.ts";
import type { WaitMode } from "./flow-rules.ts";
import { type ChildrenReply, type ChildrenStarted, FlowWork } from "./flow-work.ts";
import { type ChildOutcome, Flows } from "./flows.ts";
import type { Conflict } from "./guard-rules.ts";
import { Guards } from "./guards.ts";
import { createHandovers } from "./handovers.ts";
import { IdempotencyKeys, type Reservation } from "./idempotency-keys.ts";
import type { Patch } from "./limits.ts";
import { Outbox } from "./outbox.ts";
import { Removals } from "./removals.ts";
import { leaseAfterHeartbeat, mayReport, RUNNER_LEASE_MS, RUNNER_LIFETIME_MS, retry } from "./rules.ts";
import { Runners } from "./runners.ts";
import { FOR_EVERY_START, MIGRATIONS, type TaskRow, type TaskView, toLine } from "./schema.ts";
import { STEERING_SHARD, type Steering, SteeringKeeper, type SteeringStatus } from "./steering.ts";
import { Submissions } from "./submissions.ts";
import { countByHour, type TaskCount } from "./task-counts.ts";
import { TaskFigures } from "./task-figures.ts";
import type { TaskFilter } from "./task-filter.ts";
import {
  type EndedCursor,
  type EndedQuery,
  type Page,
  type StatusCount,
  TaskQueries,
} from "./task-queries.ts";
import { type Found, type Search, TaskSearch } from "./task-search.ts";
import { isFinal, type TaskStatus } from "./task-state.ts";
import { TaskTable } from "./task-table.ts";
import { countTagged, countTags, type TagCount, type TaggedCount } from "./task-tags.ts";
import { type LedgerParts, Transitions } from "./transitions.ts";
import { type Sent, type Signal, type WaitReply, Waits } from "./waits.ts";
import { Watchers } from "./watchers.ts";

/** How many expired idempotency keys the watchdog removes at a time. */
const KEY_REMOVAL_BATCH = 200;

export class TaskLedger extends DurableObject<Env> {
  readonly #streams = new OpenStreams();
  readonly #watchers = new Watchers();
  readonly #tasks = new TaskTable(this.ctx.storage.sql, (taskId) => {
    this.#watchers.notify(taskId);
    this.#feed.notify(taskId);
  });
  readonly #feed = new Feed("tasks", (taskId) => {
    const row = this.#tasks.getLean(taskId);
    return row && toLine(row);
  });
  readonly #guards = new Guards(this.ctx.storage.sql, this.#tasks);
  readonly #queries = new TaskQueries(this.ctx.storage.sql);
  readonly #search = new TaskSearch(this.ctx.storage.sql, this.#queries);
  readonly #keys = new IdempotencyKeys(this.ctx.storage.sql);
  readonly #runners = new Runners(this.env);
  readonly #alarm = new Alarm(this.ctx, new Registration(this.ctx, this.env, "TASK_LEDGER"));
  readonly #messages = new Outbox<FlowMessage>(this.ctx, this.#alarm, {
    table: "flow_message",
    column: "message",
    onFailure: (message, error) =>
      log("error", "a parent or child could not be told", { message, ...errorFields(error) }),
    deliver: async (message) => this.#flowWork.deliver(message),
  });
  readonly #steering = new SteeringKeeper(this.ctx, this.env, () => this.#alarm.wakeAt(Date.now()));
  readonly #limitsOf = (type: string) => this.#steering.limitsOf(type);
  readonly #figures = new TaskFigures(
    this.ctx.storage,
    this.#queries,
    (type) => this.#limitsOf(type).isPaused,
  );
  readonly #dispatch = new Dispatch(this.#queries, new DispatchTable(this.ctx.storage.sql), this.#limitsOf);
  readonly #parts: LedgerParts = {
    tasks: this.#tasks,
    queries: this.#queries,
    alarm: this.#alarm,
    runners: this.#runners,
    handovers: createHandovers(this.ctx, this.env, this.#alarm),
    figures: this.#figures,
    waits: new Waits(this.ctx.storage.sql, this.#tasks),
    messages: this.#messages,
    flows: new Flows(this.ctx.storage.sql, this.#messages),
    guards: this.#guards,
    dispatch: this.#dispatch,
    limitsOf: this.#limitsOf,
  };
  readonly #transitions = new Transitions(this.ctx, this.env, this.#parts);
  readonly #flowWork = new FlowWork(this.ctx, this.env, this.#parts, this.#transitions);
  readonly #submissions = new Submissions(this.ctx.storage, this.#parts, this.#transitions);
  readonly #removals = new Removals(this.ctx.storage, this.#parts);
  readonly #alarmWork = new AlarmWork(this.ctx, this.#parts, this.#transitions);

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    migrate(ctx.storage, MIGRATIONS);
    ctx.storage.sql.exec(FOR_EVERY_START);
    // The first `wakeAt` of this instance must not postpone an alarm that is already set, nor set it once more.
    const start = async () => {
      await this.#alarm.load(Date.now());
      await this.#steering.learn();
      this.#alarmWork.startForgotten();
      this.#flowWork.recover();
      this.#alarmWork.setAlarm(Date.now());
    };
    ctx.waitUntil(ctx.blockConcurrencyWhile(start));
  }

  /**
   * Writes tasks, all or none, and returns for each the claim with which the caller must run it now, or null. A task
   * that already exists stays as it is; its first claim is returned again to its claimant. `reports`: for Workers of
   * version 0.1.0.
   */
  submit(tasks: NewTask[], reports: Report[] = []): (Claim | null)[] {
    this.report(reports);
    return this.#submissions.add(tasks, Date.now());
  }

  /** As `submit`, of tasks that have follow-ups. */
  submitWithFollowUps(tasks: NewTask[]): (Claim | null)[] {
    return this.submit(tasks);
  }

  /** As `submit`, of tasks that have tags. */
  submitTagged(tasks: NewTask[]): (Claim | null)[] {
    return this.submit(tasks);
  }

  /** As `submit`, of tasks some of which have a guard: says what became of each, or why none is written. */
  submitGuarded(tasks: NewTask[]): Placed[] | Conflict {
    return this.#submissions.addGuarded(tasks, Date.now());
  }

  /** Makes many calls in one: `report`, and then a `submit` for each submission, whose error is that of no other. */
  commit(submissions: NewTask[][], reports: Report[]): Written[] {
    this.report(reports);
    return submissions.map((tasks) => {
      try {
        return { claims: this.submit(tasks) };
      } catch (error) {
        return { error: describeError(error).message };
      }
    });
  }

  /** As `commit`, with tasks that have tags. */
  commitTagged(submissions: NewTask[][], reports: Report[]): Written[] {
    return this.commit(submissions, reports);
  }

  /** Applies the outcomes of claims. An outcome that is no longer accepted, or was already applied, is ignored. */
  report(reports: Report[]): void {
    this.#transitions.report(reports);
  }

  /** Renews a claim's lease, if that is necessary yet. */
  renew(claim: Claim): Renewal {
    const task = this.#claimed(claim);
    if (!task) return { reply: "stale", leaseMs: 0 };
    const nowMs = Date.now();
    const endsAtMs = leaseAfterHeartbeat(task, nowMs);
    if (endsAtMs !== task.due_at_ms) this.#tasks.renewLease(task.id, endsAtMs);
    return { reply: task.status === "cancelling" ? "cancel" : "ok", leaseMs: (endsAtMs ?? nowMs) - nowMs };
  }

  /** As `renew`, for runs of version 0.1.0. They count on a lease of `LEASE_MS` after each heartbeat. */
  heartbeat(claim: Claim): Renewal["reply"] {
    return this.renew(claim).reply;
  }

  /** The task of a claim, without what may be long; undefined if the claim is stale. */
  #claimed({ taskId, token }: Claim): TaskRow | undefined {
    const task = this.#tasks.getLean(taskId);
    return task && mayReport(task, token) ? task : undefined;
  }

  /** Records how far a task is; false if the claim is stale. */
  progress(claim: Claim, ratio: number, message: string | null): boolean {
    const task = this.#claimed(claim);
    if (!task) return false;
    this.#tasks.recordProgress(task, ratio, message, Date.now());
    return true;
  }

  /** Records the result of a step, as JSON text; false if the claim is stale. */
  step(claim: Claim, name: string, result: string): boolean {
    const task = this.#claimed(claim);
    if (!task) return false;
    this.ctx.storage.transactionSync(() => this.#tasks.recordStep(task, name, result, Date.now()));
    return true;
  }

  /** Saves a checkpoint, as JSON text, in place of the one before; false if the claim is stale. */
  saveCheckpoint(claim: Claim, value: string): boolean {
    const task = this.#claimed(claim);
    if (!task) return false;
    this.ctx.storage.transactionSync(() => this.#tasks.saveCheckpoint(task, value));
    return true;
  }

  /** A run has come to a wait for a signal; null if the claim is stale. `untilMs`: if the wait is new. */
  waitFor(claim: Claim, key: string, name: string, untilMs: number): WaitReply | null {
    const task = this.#claimed(claim);
    if (!task) return null;
    return this.ctx.storage.transactionSync(() =>
      this.#parts.waits.begin(task, key, name, untilMs, Date.now()),
    );
  }

  /** Resolves when the wait under a key has ended, or after `ms`. */
  async waitEnded(taskId: string, key: string, ms: number): Promise<void> {
    const untilMs = Date.now() + ms;
    for (
      let leftMs = ms;
      leftMs > 0 && this.#parts.waits.isWaiting(taskId, key);
      leftMs = untilMs - Date.now()
    )
      await this.#watchers.next(taskId, leftMs);
  }

  /** Sends a signal to a task, once, however often it is repeated. Null if there is no such task. */
  signal(taskId: string, signal: Signal): Sent | null {
    const task = this.#tasks.getLean(taskId);
    if (!task) return null;
    const nowMs = Date.now();
    return this.ctx.storage.transactionSync(() => {
      const { sent, wakes } = this.#parts.waits.send(task, signal, nowMs);
      if (wakes) this.#transitions.wake(taskId);
      return sent;
    });
  }

  /** A run starts children, all or none, once under each key; null if the claim is stale. */
  startChildren(claim: Claim, key: string, children: NewTask[]): ChildrenStarted | null {
    const task = this.#claimed(claim);
    if (!task) return null;
    return this.#flowWork.start(task, key, children, Date.now());
  }

  /** A run waits for children, under a key; null if the claim is stale. */
  waitForTasks(claim: Claim, key: string, ids: string[], mode: WaitMode): ChildrenReply | null {
    const task = this.#claimed(claim);
    if (!task) return null;
    return this.#flowWork.wait(task, key, ids, mode, Date.now());
  }

  /** How children have ended, from the first on, as many as fit into a message. */
  childOutcomes(taskId: string, ids: string[]): ChildOutcome[] {
    return this.#parts.flows.outcomes(taskId, ids);
  }

  /** Acts on what the parent or a child of a task says, perhaps on another shard. */
  hearFlow(message: FlowMessage): "received" | "later" | "removed" {
    return this.#flowWork.receive(message);
  }

  /** The statuses of those tasks that are here. */
  statusesOf(taskIds: string[]): Record<string, TaskStatus> {
    return Object.fromEntries(
      taskIds.flatMap((id) => {
        const task = this.#tasks.getLean(id);
        return task ? [[id, task.status]] : [];
      }),
    );
  }

  /** What a claim's holder has to run, with a renewed lease; null if the claim is stale or the task was cancelled. */
  open({ taskId, token }: Claim): Assignment | null {
    const task = this.#tasks.get(taskId);
    if (!task || !mayReport(task, token)) return null;
    if (task.status === "cancelling") {
      this.report([{ taskId, token, outcome: { kind: "not-begun" } }]);
      return null;
    }
    this.#runners.noteOpened(taskId);
    const nowMs = Date.now();
    this.#tasks.recordOpened(taskId, nowMs + RUNNER_LEASE_MS, nowMs + RUNNER_LIFETIME_MS);
    const { type, input, attempt, attempt_started_at_ms, trace } = task;
    const attemptStartedAtMs = attempt_started_at_ms ?? nowMs;
    const steps = this.#tasks.steps(taskId);
    const checkpoint = this.#tasks.checkpoint(taskId);
    return {
      type,
      input,
      attempt,
      attemptStartedAtMs,
      leaseMs: RUNNER_LEASE_MS,
      steps,
      ...(trace ? { trace } : {}),
      ...(checkpoint === undefined ? {} : { checkpoint }),
    };
  }

  getTask(taskId: string): TaskView | null {
    const task = this.#tasks.get(taskId);
    if (!task) return null;
    const waiting_for = this.#parts.waits.waitingFor(task);
    const flow = this.#parts.flows.view(taskId);
    if (!waiting_for && Object.keys(flow).length === 0) return task;
    return { ...task, flow, ...(waiting_for ? { waiting_for } : {}) };
  }

  list(page: Page): TaskRow[] {
    return this.#queries.list(page);
  }

  /** The tasks that match a filter, as far as one call goes: see `TaskSearch`. */
  search(search: Search): Found {
    return this.#search.find(search);
  }

  /** As `search`, but only how many. */
  countFound(filter: TaskFilter, before: Page["before"]): { count: number; until: Found["until"] } {
    const { rows, until } = this.#search.find({ filter, before, limit: Number.POSITIVE_INFINITY });
    return { count: rows.length, until };
  }

  /** Does one action, begun at a time, to many tasks: see bulk.ts. It can be repeated safely. */
  actOn(action: BulkAction, taskIds: string[], beganMs: number): BulkOutcome {
    const target = {
      find: (id: string) => this.#tasks.getLean(id),
      cancel: (id: string) => this.cancel(id),
      retry: (id: string) => this.retry(id),
      removeEnded: (ids: string[], endedBeforeMs: number) => this.removeEnded(ids, endedBeforeMs),
    };
    return actOnAll(target, action, taskIds, beganMs);
  }

  /** The task, as soon as it has ended or `ms` have passed. */
  async wait(taskId: string, ms: number): Promise<TaskRow | null> {
    const untilMs = Date.now() + ms;
    for (;;) {
      const task = this.#tasks.get(taskId);
      const leftMs = untilMs - Date.now();
      if (!task || isFinal(task.status) || leftMs <= 0) return task ?? null;
      await this.#watchers.next(taskId, leftMs);
    }
  }

  /**
   * A task's events after number `lastRead`, as a stream; "over" if none can follow, null if there is no such task,
   * "too-many" if the caller has its share of streams. A number that no event has is as good as none: its reader knows
   * nothing of this task, and is told all of it. `follows`: also those that are still to come.
   */
  watch(
    taskId: string,
    lastRead: number,
    caller: string,
    follows = true,
  ): ReadableStream<Uint8Array> | "over" | "too-many" | null {
    const history = {
      read: (last: number, limit: number) => this.#tasks.events(taskId, last, limit),
      endsWith: (last: number) => {
        const task = this.#tasks.getLean(taskId);
        if (task && follows && !isFinal(task.status)) return false;
        return !task || (this.#tasks.lastEvent(taskId)?.number ?? 0) <= last;
      },
      changed: async (ms: number) => this.#watchers.next(taskId, ms),
    };
    const lastEvent = this.#tasks.lastEvent(taskId);
    if (!lastEvent) return null;
    const after = lastRead > lastEvent.number ? 0 : lastRead;
    if (history.endsWith(after)) return "over";
    const stream = this.#streams.open(caller);
    return stream === "too-many" ? stream : eventStream(history, after, stream);
  }

  /** What happens to all tasks: see `Feed`. */
  watchAll(caller: string): ReadableStream<Uint8Array> | "too-many" {
    return this.#feed.watch(caller);
  }

  /** Cancels a task, for good; "ended" if it has already succeeded or failed. */
  cancel(taskId: string): TaskView | "ended" | null {
    const task = this.#tasks.getLean(taskId);
    if (!task) return null;
    if (this.#transitions.cancel(task) === "ended") return "ended";
    return this.getTask(taskId);
  }

  /** Begins another life of a task that failed or was cancelled; "refused" for any other, "held" if another has its unique key. */
  retry(taskId: string): TaskView | "refused" | "held" | null {
    const task = this.#tasks.getLean(taskId);
    if (!task) return null;
    if (!this.#transitions.retry(task)) return retry(task, Date.now()) ? "held" : "refused";
    return this.getTask(taskId);
  }

  /** Retries at most `limit` dead letters of a type that failed before a time. Returns how many it found. */
  retryFailed(type: string, beforeMs: number, limit: number): number {
    const failed = this.#queries.deadLetters(type, beforeMs, limit);
    for (const task of failed) this.#transitions.guard(task.id, () => void this.#transitions.retry(task));
    return failed.length;
  }

  /** Removes a task: see `Removals`. */
  remove(taskId: string): "removed" | "active" | "busy" | null {
    return this.#removals.remove(taskId, Date.now());
  }

  countByHour(fromMs: number, untilMs: number): TaskCount[] {
    return countByHour(this.ctx.storage.sql, fromMs, untilMs);
  }

  countByStatus(): StatusCount[] {
    return this.#queries.countByStatus();
  }

  /** How many tasks there are of each type and status, and with each tag; or of those with one tag alone. */
  counts(tag: string | null): { counts: TaggedCount[]; tags: TagCount[] } {
    const { sql } = this.ctx.storage;
    return tag === null
      ? { counts: this.#queries.countByStatus(), tags: countTags(sql) }
      : { counts: countTagged(sql, tag), tags: [] };
  }

  /** Tasks that have ended before a time: see `TaskQueries.ended`. */
  listEnded(query: EndedQuery): { ids: string[]; next: EndedCursor | null } {
    return this.#queries.ended(query);
  }

  /** Removes tasks that have ended before a time: see `Removals`. It can be repeated safely. */
  removeEnded(taskIds: string[], endedBeforeMs: number): string[] {
    return this.#removals.removeEnded(taskIds, endedBeforeMs, Date.now());
  }

  reserveKey(key: string, fingerprint: string, taskIds: string[]): Reservation {
    return this.#keys.reserve(key, fingerprint, taskIds, Date.now());
  }

  /** Records that a key stands for these tasks, which exist: other tasks than those that it was reserved for. */
  settleKeyAs(key: string, taskIds: string[]): void {
    this.#keys.settle(key, taskIds);
  }

  /** Records whether the tasks of a key now exist, or could not be created. */
  settleKey(key: string, areCreated: boolean): void {
    if (areCreated) this.#keys.settle(key);
    else this.#keys.release(key);
  }

  /** For the watchdog: sets the alarm again if it was lost. Returns by how many ms it is overdue; 0 if it is not. */
  async rearm(): Promise<number> {
    const nowMs = Date.now();
    if (this.ctx.id.name === STEERING_SHARD)
      this.ctx.waitUntil(this.#steering.spread().catch(() => undefined));
    this.#keys.removeExpired(nowMs, KEY_REMOVAL_BATCH);
    return this.#alarmWork.rearm(nowMs);
  }

  /** Of the shard that has the say: changes the limits of a type on all shards. */
  async steer(type: string, patch: Patch): Promise<SteeringStatus> {
    return this.#steering.change(type, patch, Date.now());
  }

  /** Of the shard that has the say: what has been changed, and which shards may not have the latest change. */
  async steeringStatus(): Promise<SteeringStatus> {
    return this.#steering.status();
  }

  readSteering(): Steering {
    return this.#steering.steering;
  }

  adoptSteering(steering: Steering): void {
    this.#steering.adopt(steering);
  }

  /** How many tasks of a type wait for a slot, and how many run. */
  countActive(type: string): { queued: number; running: number } {
    return { queued: this.#queries.countQueued(type), running: this.#queries.countRunning(type) };
  }

  /** For `GET /metrics`. */
  figures(): Figures {
    return this.#figures.read(Date.now());
  }

  override alarm(info?: AlarmInvocationInfo): void {
    const nowMs = Date.now();
    if (info) this.#figures.onAlarm(nowMs - info.scheduledTime);
    this.#alarmWork.run(nowMs);
  }
}

markRepeatable(
  TaskLedger,
  "submit",
  "submitWithFollowUps",
  "submitTagged",
  "submitGuarded",
  "commit",
  "commitTagged",
  "report",
  "renew",
  "heartbeat",
  "progress",
  "step",
  "saveCheckpoint",
  "waitFor",
  "waitEnded",
  "signal",
  "startChildren",
  "waitForTasks",
  "childOutcomes",
  "hearFlow",
  "statusesOf",
  "open",
  "getTask",
  "list",
  "search",
  "countFound",
  "actOn",
  "countByStatus",
  "counts",
  "cancel",
  "listEnded",
  "removeEnded",
  "reserveKey",
  "settleKey",
  "settleKeyAs",
  "rearm",
  "figures",
  "steer",
  "steeringStatus",
  "readSteering",
  "adoptSteering",
  "countActive",
);
