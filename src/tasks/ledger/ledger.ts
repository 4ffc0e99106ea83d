/**
 * The ledger: every background task, in SQLite, in a few Durable Objects (shards).
 *
 * A task is written before its caller is answered (an RPC reply waits for the write), and together with its first
 * claim, so that starting one costs a single round trip. What is in the ledger outlives the Worker that runs it.
 *
 * By itself, the ledger acts only in its alarm: it looks at the tasks that are due, and gives those in the line to
 * runners. The alarm awaits no work and never throws: the runtime abandons one that does. A task that cannot be read
 * is passed over, so that it holds up no other.
 */
import { DurableObject } from "cloudflare:workers";
import { errorFields, log } from "../../kernel/log.ts";
import { Alarm } from "./alarm.ts";
import type { Assignment, Claim, NewTask, Report } from "./claim.ts";
import { isFree, nextToDispatch } from "./dispatch.ts";
import { eventStream } from "./event-stream.ts";
import { IdempotencyKeys, type Reservation } from "./idempotency-keys.ts";
import { queuedSinceMs, rankOf } from "./rank.ts";
import { cancel, claim, isFinal, mayReport, renewed, report, retry, submit, tick } from "./rules.ts";
import { Runners } from "./runners.ts";
import type { TaskRow } from "./schema.ts";
import { type Page, TaskTable } from "./task-table.ts";
import { Transitions } from "./transitions.ts";
import { Watchers } from "./watchers.ts";

/** How many due tasks one alarm looks at, and removes; for the rest, another follows at once. */
const BATCH = 200;
const REMOVAL_BATCH = 50;
/** An alarm that is so late has been lost. */
const OVERDUE_MS = 5_000;

export class TaskLedger extends DurableObject<Env> {
  readonly #watchers = new Watchers();
  readonly #tasks = new TaskTable(this.ctx.storage.sql, (taskId) => this.#watchers.notify(taskId));
  readonly #keys = new IdempotencyKeys(this.ctx.storage.sql);
  readonly #runners = new Runners(this.env);
  readonly #alarm = new Alarm(this.ctx);
  readonly #transitions = new Transitions(this.ctx, this.env, {
    book: this.#tasks,
    alarm: this.#alarm,
    runners: this.#runners,
  });

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    // An alarm that is set already must not be put off by the first that is asked for.
    this.#arm(Date.now());
  }

  /**
   * Writes tasks, all or none, and says which of them the caller is to run now. One that is there already stays as it
   * is. Takes `reports` along, which saves each a call of its own.
   */
  submit(tasks: NewTask[], reports: Report[] = []): (Claim | null)[] {
    this.report(reports);
    const nowMs = Date.now();
    const enter = () => tasks.map((task) => this.#enter(task, nowMs));
    // What one turn of an object writes is committed together anyway; a savepoint costs a third of the whole call.
    const entered = tasks.length === 1 ? enter() : this.ctx.storage.transactionSync(enter);
    this.#alarm.wakeAt(Math.min(...entered.map(({ dueAtMs }) => dueAtMs)));
    return entered.map(({ given }) => given);
  }

  /** Takes what has become of claims. One that does not count any more is ignored, and so is one taken before. */
  report(reports: Report[]): void {
    for (const { taskId, token, outcome } of reports) {
      this.#transitions.guard(taskId, () => {
        const task = this.#tasks.find(taskId);
        const change = task && report(task, token, outcome, this.#transitions.termsOf(task));
        if (change) this.#transitions.apply(change);
      });
    }
    if (reports.length > 0 && this.#tasks.isWaiting()) this.#alarm.wakeAt(Date.now());
  }

  /** Renews a claim. `cancel`: the code should end. `stale`: the task is no longer the caller's. */
  heartbeat({ taskId, token }: Claim): "ok" | "cancel" | "stale" {
    const task = this.#tasks.find(taskId);
    if (!task || !mayReport(task, token)) return "stale";
    this.#tasks.renew(taskId, renewed(task, Date.now()));
    return task.status === "cancelling" ? "cancel" : "ok";
  }

  /** Notes how far a task is; false if the claim is stale, as below. */
  progress({ taskId, token }: Claim, ratio: number, message: string | null): boolean {
    const task = this.#tasks.find(taskId);
    if (!task || !mayReport(task, token)) return false;
    this.#tasks.progress(task, ratio, message, Date.now());
    return true;
  }

  /** Records the result of a step, as JSON text. */
  step({ taskId, token }: Claim, name: string, result: string): boolean {
    const task = this.#tasks.find(taskId);
    if (!task || !mayReport(task, token)) return false;
    this.ctx.storage.transactionSync(() => this.#tasks.recordStep(task, name, result, Date.now()));
    return true;
  }

  /** What there is to do for a claim, whose lease begins anew; null if it is stale, or the task cancelled meanwhile. */
  open({ taskId, token }: Claim): Assignment | null {
    const task = this.#tasks.read(taskId);
    if (!task || !mayReport(task, token)) return null;
    if (task.status === "cancelling") {
      this.report([{ taskId, token, outcome: { kind: "not-begun" } }]);
      return null;
    }
    this.#runners.noteOpened(taskId);
    this.#tasks.renew(taskId, renewed(task, Date.now()));
    const { type, input, attempt, attempt_started_at_ms } = task;
    const attemptStartedAtMs = attempt_started_at_ms ?? Date.now();
    return { type, input, attempt, attemptStartedAtMs, steps: this.#tasks.steps(taskId) };
  }

  getTask(taskId: string): TaskRow | null {
    return this.#tasks.read(taskId) ?? null;
  }

  list(page: Page): TaskRow[] {
    return this.#tasks.list(page);
  }

  /** The task once it has ended, or as it is `ms` from now. */
  async wait(taskId: string, ms: number): Promise<TaskRow | null> {
    const untilMs = Date.now() + ms;
    for (;;) {
      const task = this.#tasks.read(taskId);
      const leftMs = untilMs - Date.now();
      if (!task || isFinal(task.status) || leftMs <= 0) return task ?? null;
      await this.#watchers.next(taskId, leftMs);
    }
  }

  /** Its events after number `after`, as a stream; "over" if there will be none, null if there is no such task. */
  watch(taskId: string, after: number): ReadableStream<Uint8Array> | "over" | null {
    const history = {
      read: (last: number, limit: number) => this.#tasks.events(taskId, last, limit),
      endsWith: (last: number) => {
        const task = this.#tasks.find(taskId);
        return !task || (isFinal(task.status) && task.events <= last);
      },
      changed: async (ms: number) => this.#watchers.next(taskId, ms),
    };
    if (!this.#tasks.find(taskId)) return null;
    return history.endsWith(after) ? "over" : eventStream(history, after);
  }

  /** Cancels a task, for good; "ended" if it has ended otherwise. */
  cancel(taskId: string): TaskRow | "ended" | null {
    const task = this.#tasks.find(taskId);
    if (!task) return null;
    const change = cancel(task, this.#transitions.termsOf(task));
    if (change === undefined) return "ended";
    if (change !== "already") {
      this.#transitions.apply(change);
      if (change.task.lane === "long")
        this.ctx.waitUntil(this.#runners.cancel({ taskId, token: change.task.token }));
    }
    return this.getTask(taskId);
  }

  /** Begins another life of a task that failed or was cancelled; "refused" for any other. */
  retry(taskId: string): TaskRow | "refused" | null {
    const task = this.#tasks.find(taskId);
    if (!task) return null;
    if (!this.#tryAgain(task)) return "refused";
    return this.getTask(taskId);
  }

  /** Retries at most `limit` dead letters of a type, of those that were so before a time; how many there were. */
  retryFailed(type: string, beforeMs: number, limit: number): number {
    const failed = this.#tasks.failed(type, beforeMs, limit);
    for (const task of failed) this.#transitions.guard(task.id, () => void this.#tryAgain(task));
    return failed.length;
  }

  /** Removes a task that has ended; "active" for any other. */
  remove(taskId: string): "removed" | "active" | null {
    const task = this.#tasks.find(taskId);
    if (!task) return null;
    if (!isFinal(task.status)) return "active";
    this.ctx.storage.transactionSync(() => this.#tasks.remove(taskId));
    return "removed";
  }

  reserveKey(key: string, fingerprint: string, taskIds: string[]): Reservation {
    return this.#keys.reserve(key, fingerprint, taskIds, Date.now());
  }

  /** Whether the tasks of a key are there now, or could not be made. */
  settleKey(key: string, areMade: boolean): void {
    if (areMade) this.#keys.settle(key);
    else this.#keys.release(key);
  }

  /** Sets the alarm anew, in case it was lost; how late the earliest task is that it should have looked at, in ms. */
  tend(): number {
    const nowMs = Date.now();
    this.#keys.removeExpired(nowMs, BATCH);
    const [next] = nextToDispatch(this.#tasks, 1);
    const queuedMs = next ? queuedSinceMs(next.priority, next.rank_ms ?? nowMs) : nowMs;
    const lateMs = nowMs - Math.min(queuedMs, this.#tasks.nextDueAtMs() ?? nowMs);
    this.#alarm.forget();
    this.#arm(nowMs);
    return lateMs > OVERDUE_MS ? lateMs : 0;
  }

  override alarm(): void {
    const nowMs = Date.now();
    this.#alarm.hold();
    try {
      const due = [...this.#tasks.due(nowMs, BATCH), ...this.#tasks.expired(nowMs, REMOVAL_BATCH)];
      for (const task of due) this.#transitions.guard(task.id, () => this.#tick(task));
      for (const given of this.#dispatch(nowMs)) this.ctx.waitUntil(this.#hand(given));
      this.#alarm.forget();
      this.#arm(nowMs);
    } catch (error) {
      log("error", "the ledger's alarm failed", { shard: this.ctx.id.name, ...errorFields(error) });
      this.#alarm.forget();
      this.#alarm.wakeAt(nowMs + OVERDUE_MS);
    }
  }

  /** Gives the claim, if there is one, and when the ledger has to look at the task. */
  #enter(
    { lane, priority, runAtMs, ...entry }: NewTask,
    nowMs: number,
  ): { given: Claim | null; dueAtMs: number } {
    const mayStart = lane !== null && isFree(this.#tasks, entry.type, rankOf(priority, nowMs));
    const change = submit(priority, runAtMs, mayStart ? lane : null, nowMs);
    if (!this.#tasks.enter(entry, change, nowMs)) return { given: null, dueAtMs: Number.POSITIVE_INFINITY };
    const { status, token, due_at_ms } = change.task;
    const given = status === "running" ? { taskId: entry.id, token } : null;
    return { given, dueAtMs: due_at_ms ?? nowMs };
  }

  #tryAgain(task: TaskRow): boolean {
    const change = retry(task, Date.now());
    if (!change) return false;
    this.#tasks.clearProgress(task.id);
    this.#transitions.apply(change);
    return true;
  }

  #tick(task: TaskRow): void {
    const change = tick(task, this.#transitions.termsOf(task));
    if (change === "remove") return this.ctx.storage.transactionSync(() => this.#tasks.remove(task.id));
    if (change) this.#transitions.apply(change);
  }

  /** Claims what there is room for. */
  #dispatch(nowMs: number): Claim[] {
    const given: Claim[] = [];
    for (const task of nextToDispatch(this.#tasks)) {
      this.#transitions.guard(task.id, () => {
        const change = claim(task, "long", nowMs);
        this.#transitions.apply(change);
        given.push({ taskId: task.id, token: change.task.token });
      });
    }
    return given;
  }

  /** Gives a claim to the object that will run it; if that cannot be reached, takes it back. */
  async #hand(given: Claim): Promise<void> {
    const isTaken = await this.#runners.start(given);
    if (!isTaken) this.report([{ ...given, outcome: { kind: "not-begun" } }]);
  }

  #arm(nowMs: number): void {
    const nextMs = this.#tasks.nextDueAtMs();
    if (nextMs !== null) this.#alarm.wakeAt(Math.max(nextMs, nowMs));
    if (nextToDispatch(this.#tasks, 1).length > 0) this.#alarm.wakeAt(nowMs);
  }
}
