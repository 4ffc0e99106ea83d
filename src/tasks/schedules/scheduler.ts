/**
 * The scheduler: every schedule, in SQLite, in one Durable Object, whose alarm fires at the next tick.
 *
 * A tick is first taken: it is written down in the same transaction that moves its schedule on to the next tick. Then
 * it is enqueued under a key of its own, and deleted only after the ledger has it. Whatever dies in between, the tick
 * is still written down, and enqueuing it again gives the same task. So each tick that was taken has exactly one run.
 *
 * While ticks wait for a run to end, the ledger tells when it has. In case that message is lost, the alarm checks every
 * minute. A schedule that fails is logged and tried again later, without delaying the others.
 */
import { DurableObject } from "cloudflare:workers";
import { Feed } from "../../kernel/feed.ts";
import { KeptTally } from "../../kernel/kept-tally.ts";
import { describeError, errorFields, log } from "../../kernel/log.ts";
import { Registration } from "../../kernel/object-registry.ts";
import { markRepeatable } from "../../kernel/objects.ts";
import { migrate } from "../../kernel/schema.ts";
import type { Figures } from "../../kernel/tally.ts";
import { Alarm } from "../ledger/alarm.ts";
import { isFinal } from "../ledger/task-state.ts";
import { enqueueOnce, getTask } from "../run/submit.ts";
import { findTaskType, unregisteredTypeError } from "../types/registry.ts";
import { declaredSchedules, MAX_SCHEDULES, type ScheduleSpec } from "./registry.ts";
import { decideTick, nextRuns, runKey } from "./rules.ts";
import { COUNTED_ROWS, type CountedRow, compareDeclared, MIGRATIONS, timingOf, WAITING } from "./schema.ts";

/** All the calls that a scheduler makes to the ledger, in one object, so that a test can replace them. */
export const runs = { enqueueOnce, getTask };

/** How often a schedule is checked while ticks wait for the previous run. */
const WAITING_POLL_MS = 60_000;
/** The delay after a failure: short enough for two more tries before a tick counts as missed. */
const FAILURE_RETRY_MS = 25_000;
/** How many schedules are processed concurrently. */
const BATCH_SIZE = 25;
/** How many one alarm processes: each costs up to two calls. If more are due, another alarm follows at once. */
const MAX_PER_ALARM = 200;

export class Scheduler extends DurableObject<Env> {
  readonly #sql = this.ctx.storage.sql;
  readonly #alarm = new Alarm(this.ctx, new Registration(this.ctx, this.env, "SCHEDULER"));
  /** The runs that have ended while the alarm is at work: it may have found them active before. */
  readonly #endedRuns = new Set<string>();
  readonly #tally = new KeptTally(this.ctx.storage);
  /** By their ids alone: with their inputs, schedules that run each minute would be many bytes. */
  readonly #feed = new Feed("schedules", (id) => this.get(id)?.id);

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    migrate(ctx.storage, MIGRATIONS);
    const start = async () => {
      await this.#alarm.load(Date.now());
      this.#sync();
    };
    ctx.waitUntil(ctx.blockConcurrencyWhile(start));
  }

  /** Stores a schedule that has been checked. Repeating the call is harmless. "full" if there are too many. */
  create(spec: ScheduleSpec): CountedRow | "full" {
    const before = this.get(spec.id);
    if (before) return before;
    const { count } = this.#sql.exec<{ count: number }>("SELECT COUNT(*) AS count FROM schedule").one();
    if (count >= MAX_SCHEDULES) return "full";
    const row = this.#put(spec, false);
    this.#feed.notify(row.id);
    this.#setAlarm();
    return row;
  }

  /** As `create`. A scheduler of an earlier version lacks it, and would drop the follow-ups in silence. */
  createWithFollowUps(spec: ScheduleSpec): CountedRow | "full" {
    return this.create(spec);
  }

  /** In order of creation. */
  list(): CountedRow[] {
    return this.#list();
  }

  get(id: string): CountedRow | undefined {
    return this.#sql.exec<CountedRow>(`${COUNTED_ROWS} WHERE id = ?`, id).toArray()[0];
  }

  /** Deletes a schedule with its waiting ticks. A run that has been enqueued goes on. */
  remove(id: string): "removed" | "missing" | "declared" {
    const row = this.get(id);
    if (!row) return "missing";
    if (row.is_declared === 1) return "declared";
    this.#delete(id);
    this.#feed.notify(id);
    return "removed";
  }

  /** For the watchdog: sets the alarm if it was lost. Returns by how many ms it is overdue; 0 if it is not. */
  async rearm(): Promise<number> {
    const dueAtMs = this.#dueAtMs();
    if (dueAtMs === null) return 0;
    await this.#alarm.load(Date.now());
    this.#setAlarm();
    const lateMs = Date.now() - dueAtMs;
    return lateMs > FAILURE_RETRY_MS ? lateMs : 0;
  }

  /** Which schedules are new, have changed, have run, or are gone: see `Feed`. */
  watchAll(caller: string): ReadableStream<Uint8Array> | "too-many" {
    return this.#feed.watch(caller);
  }

  /** For `GET /metrics`. */
  figures(): Figures {
    const query = "SELECT count(*) AS schedules, count(last_error) AS failing FROM schedule";
    const counts = this.#sql.exec<{ schedules: number; failing: number }>(query).one();
    const nowMs = Date.now();
    return {
      counts: this.#tally.read(nowMs),
      gauges: { ...counts, overdue: Math.max(0, nowMs - (this.#dueAtMs() ?? nowMs)) / 1000 },
    };
  }

  /** For the ledger: the run of a tick has ended. If further ticks of its schedule wait for that, the next one runs. */
  runEnded(taskId: string): void {
    const nowMs = Date.now();
    this.#endedRuns.add(taskId);
    const { rowsWritten } = this.#sql.exec(
      `UPDATE schedule SET look_at_ms = ?1 WHERE last_task_id = ?2 AND look_at_ms > ?1
         AND EXISTS (SELECT 1 FROM tick WHERE schedule_id = schedule.id)`,
      nowMs,
      taskId,
    );
    if (rowsWritten > 0) this.#alarm.wakeAt(nowMs);
  }

  /**
   * Processes every schedule that is due. Never throws: the runtime stops retrying an alarm that throws too often.
   */
  override async alarm(info?: AlarmInvocationInfo): Promise<void> {
    // The same time for all: being processed after others must not make a tick late.
    const nowMs = Date.now();
    if (info) this.#tally.addDuration("alarm", nowMs - info.scheduledTime);
    this.#alarm.reset();
    this.#endedRuns.clear();
    try {
      const query = "SELECT id FROM schedule WHERE look_at_ms <= ? ORDER BY look_at_ms LIMIT ?";
      const due = this.#sql.exec<{ id: string }>(query, nowMs, MAX_PER_ALARM).toArray();
      for (let i = 0; i < due.length; i += BATCH_SIZE) {
        await Promise.all(due.slice(i, i + BATCH_SIZE).map(async ({ id }) => this.#tryProcess(id, nowMs)));
      }
      this.#setAlarm();
    } catch (error) {
      log("error", "the scheduler's alarm failed and will be tried again", errorFields(error));
      this.#alarm.wakeAt(nowMs + FAILURE_RETRY_MS);
    }
  }

  async #tryProcess(id: string, nowMs: number): Promise<void> {
    try {
      await this.#process(id, nowMs);
    } catch (error) {
      log("error", "a schedule could not be run and will be tried again", {
        scheduleId: id,
        ...errorFields(error),
      });
      this.#sql.exec(
        "UPDATE schedule SET look_at_ms = ?, last_error = ? WHERE id = ?",
        nowMs + FAILURE_RETRY_MS,
        JSON.stringify(describeError(error)),
        id,
      );
    }
    this.#feed.notify(id);
  }

  async #process(id: string, nowMs: number): Promise<void> {
    const isBusy = await this.#isActive(this.get(id)?.last_task_id ?? null);
    this.#decideTicks(id, isBusy, nowMs);
    if (!isBusy) await this.#enqueue(id);
    this.#sql.exec(
      `UPDATE schedule SET last_error = NULL, look_at_ms =
         CASE WHEN EXISTS (SELECT 1 FROM tick WHERE schedule_id = ?1) THEN MIN(?2, next_at_ms) ELSE next_at_ms END
       WHERE id = ?1`,
      id,
      this.#endedRuns.has(this.get(id)?.last_task_id ?? "") ? nowMs : nowMs + WAITING_POLL_MS,
    );
  }

  /** Decides the ticks up to now, and stores the decision, which is final. */
  #decideTicks(id: string, isBusy: boolean, nowMs: number): void {
    const row = this.get(id);
    if (!row) return;
    const { overlap, missed, next_at_ms: nextAtMs, waiting } = row;
    const decision = decideTick({ ...timingOf(row), overlap, missed, nextAtMs, waiting, isBusy }, nowMs);
    if (decision.nextAtMs === nextAtMs) return;
    this.ctx.storage.transactionSync(() => {
      if (decision.takeAtMs !== null)
        this.#sql.exec("INSERT INTO tick (schedule_id, at_ms) VALUES (?, ?)", id, decision.takeAtMs);
      this.#sql.exec(
        `UPDATE schedule SET next_at_ms = ?, skipped_count = skipped_count + ?, missed_count = missed_count + ?
         WHERE id = ?`,
        decision.nextAtMs,
        decision.skipped,
        decision.missed,
        id,
      );
    });
  }

  /** Enqueues the oldest waiting tick, if there is one. */
  async #enqueue(id: string): Promise<void> {
    const row = this.get(id);
    const [tick] = this.#sql
      .exec<{ at_ms: number }>("SELECT at_ms FROM tick WHERE schedule_id = ? ORDER BY at_ms LIMIT 1", id)
      .toArray();
    if (!row || !tick) return;
    const type = findTaskType(row.type);
    if (!type) throw unregisteredTypeError(row.type);
    const taskId = await runs.enqueueOnce(
      this.env,
      type,
      JSON.parse(row.input),
      runKey(id, tick.at_ms),
      row.then_tasks ?? null,
    );
    this.ctx.storage.transactionSync(() => {
      this.#sql.exec("DELETE FROM tick WHERE schedule_id = ? AND at_ms = ?", id, tick.at_ms);
      this.#sql.exec(
        "UPDATE schedule SET last_tick_at_ms = ?, last_task_id = ? WHERE id = ?",
        tick.at_ms,
        taskId,
        id,
      );
    });
  }

  async #isActive(taskId: string | null): Promise<boolean> {
    const task = taskId === null ? undefined : await runs.getTask(this.env, taskId);
    return task !== undefined && !isFinal(task.status);
  }

  #list(): CountedRow[] {
    return this.#sql.exec<CountedRow>(`${COUNTED_ROWS} ORDER BY created_at_ms, id`).toArray();
  }

  /** Makes the stored declared schedules match the code: adds, changes and removes them. */
  #sync(): void {
    try {
      const { changed, gone } = compareDeclared(this.#list(), declaredSchedules());
      for (const id of gone) this.#delete(id);
      for (const spec of changed) this.#put(spec, true);
      if (changed.length > 0) this.#setAlarm();
    } catch (error) {
      log("error", "the declared schedules could not be stored", errorFields(error));
    }
  }

  /** Inserts or changes a schedule. If the pattern stays the same, a tick that is already due stays due. */
  #put(spec: ScheduleSpec, isDeclared: boolean): CountedRow {
    const nowMs = Date.now();
    const [nextAtMs] = nextRuns(spec, 1, nowMs);
    if (nextAtMs === undefined) throw new RangeError(`No future day matches "${spec.cron}".`);
    const rows = this.#sql.exec<CountedRow>(
      `INSERT INTO schedule (id, cron, time_zone, type, input, overlap, missed, is_declared, created_at_ms,
         then_tasks, next_at_ms, look_at_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?11, ?11)
       ON CONFLICT (id) DO UPDATE SET type = excluded.type, input = excluded.input, overlap = excluded.overlap,
         missed = excluded.missed, is_declared = excluded.is_declared, then_tasks = excluded.then_tasks, last_error = NULL,
         next_at_ms = CASE WHEN cron = excluded.cron AND time_zone = excluded.time_zone
           THEN next_at_ms ELSE excluded.next_at_ms END,
         look_at_ms = MIN(look_at_ms, excluded.next_at_ms),
         cron = excluded.cron, time_zone = excluded.time_zone
       RETURNING *, ${WAITING}`,
      spec.id,
      spec.cron,
      spec.timeZone,
      spec.type,
      spec.input,
      spec.overlap,
      spec.missed,
      isDeclared ? 1 : 0,
      nowMs,
      spec.then ?? null,
      nextAtMs,
    );
    return rows.one();
  }

  #delete(id: string): void {
    this.ctx.storage.transactionSync(() => {
      this.#sql.exec("DELETE FROM schedule WHERE id = ?", id);
      this.#sql.exec("DELETE FROM tick WHERE schedule_id = ?", id);
    });
  }

  #dueAtMs(): number | null {
    return this.#sql.exec<{ due: number | null }>("SELECT MIN(look_at_ms) AS due FROM schedule").one().due;
  }

  #setAlarm(): void {
    const dueAtMs = this.#dueAtMs();
    if (dueAtMs !== null) this.#alarm.wakeAt(Math.max(dueAtMs, Date.now()));
  }
}

markRepeatable(Scheduler, "create", "createWithFollowUps", "list", "get", "rearm", "runEnded", "figures");
