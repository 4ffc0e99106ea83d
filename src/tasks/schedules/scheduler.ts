/**
 * The scheduler: every schedule, in SQLite, in one Durable Object, whose alarm rings at the next tick.
 *
 * A tick is first taken: written down in the same step that moves its schedule on to the next. Then it is enqueued
 * under its own key, and only when the ledger has it, crossed out. Whatever dies in between, the tick is still
 * written down, and enqueuing it again gives the same task: one run for each tick that was taken.
 *
 * While ticks wait for a run to end, the alarm looks every two seconds. One that fails is logged, and looked at again
 * later, without standing in the way of the others.
 */
import { DurableObject } from "cloudflare:workers";
import { describeError, errorFields, log } from "../../kernel/log.ts";
import { isFinal } from "../ledger/rules.ts";
import { enqueueOnce, getTask } from "../run/submit.ts";
import { findTaskType } from "../types/registry.ts";
import { declaredSchedules, MAX_SCHEDULES, type ScheduleSpec } from "./registry.ts";
import { decideTick, nextRuns, runKey } from "./rules.ts";
import {
  COUNTED_ROWS,
  type CountedRow,
  CREATE_SCHEDULE_TABLES,
  compareDeclared,
  timingOf,
  WAITING,
} from "./schema.ts";

/** All that a scheduler asks of the ledger: behind one name, so that a test can stand in for it. */
export const runs = { enqueueOnce, getTask };

/** While ticks wait for the run before. */
const LOOK_WAITING_MS = 2_000;
/** After a failure: twice before a tick counts as missed. */
const LOOK_AGAIN_MS = 25_000;
/** Schedules that are looked at side by side. */
const AT_ONCE = 25;

export class Scheduler extends DurableObject<Env> {
  readonly #sql = this.ctx.storage.sql;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#sql.exec(CREATE_SCHEDULE_TABLES);
    ctx.waitUntil(this.#sync());
  }

  /** Keeps a schedule that has been checked; repeating it is harmless. "full" if there are too many. */
  async create(spec: ScheduleSpec): Promise<CountedRow | "full"> {
    const before = this.get(spec.id);
    if (before) return before;
    const { count } = this.#sql.exec<{ count: number }>("SELECT COUNT(*) AS count FROM schedule").one();
    if (count >= MAX_SCHEDULES) return "full";
    const row = this.#put(spec, false);
    await this.#setAlarm();
    return row;
  }

  /** In the order in which they were made. */
  list(): CountedRow[] {
    return this.#sql.exec<CountedRow>(`${COUNTED_ROWS} ORDER BY created_at_ms, id`).toArray();
  }

  get(id: string): CountedRow | undefined {
    return this.#sql.exec<CountedRow>(`${COUNTED_ROWS} WHERE id = ?`, id).toArray()[0];
  }

  /** Takes a schedule away, with its waiting ticks; a run that has been enqueued goes on. */
  remove(id: string): "removed" | "missing" | "declared" {
    const row = this.get(id);
    if (!row) return "missing";
    if (row.is_declared === 1) return "declared";
    this.#delete(id);
    return "removed";
  }

  /** For the per-minute cron: sets the alarm if it is not there, and tells by how many ms it is late; 0 if it is not. */
  async tend(): Promise<number> {
    const dueAtMs = this.#dueAtMs();
    if (dueAtMs === null) return 0;
    const setAtMs = await this.ctx.storage.getAlarm();
    if (setAtMs === null || setAtMs > dueAtMs) await this.#setAlarm();
    const lateMs = Date.now() - dueAtMs;
    return lateMs > LOOK_AGAIN_MS ? lateMs : 0;
  }

  /** Looks at every schedule that is due. Never throws: the runtime gives an alarm up that fails too often. */
  override async alarm(): Promise<void> {
    // The same for all: a tick is not late because others came first.
    const nowMs = Date.now();
    try {
      const due = this.#sql
        .exec<{ id: string }>("SELECT id FROM schedule WHERE look_at_ms <= ? ORDER BY look_at_ms", nowMs)
        .toArray();
      for (let i = 0; i < due.length; i += AT_ONCE) {
        await Promise.all(due.slice(i, i + AT_ONCE).map(async ({ id }) => this.#tryLook(id, nowMs)));
      }
      await this.#setAlarm();
    } catch (error) {
      log("error", "schedules could not be looked at; next try soon", errorFields(error));
      await this.ctx.storage.setAlarm(nowMs + LOOK_AGAIN_MS);
    }
  }

  async #tryLook(id: string, nowMs: number): Promise<void> {
    try {
      await this.#look(id, nowMs);
    } catch (error) {
      log("error", "a schedule could not be run; next try soon", { scheduleId: id, ...errorFields(error) });
      this.#sql.exec(
        "UPDATE schedule SET look_at_ms = ?, last_error = ? WHERE id = ?",
        nowMs + LOOK_AGAIN_MS,
        JSON.stringify(describeError(error)),
        id,
      );
    }
  }

  async #look(id: string, nowMs: number): Promise<void> {
    const isBusy = await this.#isActive(this.get(id)?.last_task_id ?? null);
    this.#take(id, isBusy, nowMs);
    if (!isBusy) await this.#enqueue(id);
    this.#sql.exec(
      `UPDATE schedule SET last_error = NULL, look_at_ms =
         CASE WHEN EXISTS (SELECT 1 FROM tick WHERE schedule_id = ?1) THEN MIN(?2, next_at_ms) ELSE next_at_ms END
       WHERE id = ?1`,
      id,
      nowMs + LOOK_WAITING_MS,
    );
  }

  /** Decides about the ticks up to now; what has been decided stays so. */
  #take(id: string, isBusy: boolean, nowMs: number): void {
    const row = this.get(id);
    if (!row) return;
    const { overlap, missed, next_at_ms: nextAtMs, waiting } = row;
    const decision = decideTick({ ...timingOf(row), overlap, missed, nextAtMs, waiting, isBusy }, nowMs);
    if (decision.nextAtMs === nextAtMs) return;
    this.ctx.storage.transactionSync(() => {
      if (decision.takeAtMs !== null) this.#sql.exec("INSERT INTO tick VALUES (?, ?)", id, decision.takeAtMs);
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

  /** Enqueues the oldest tick that waits, if one does. */
  async #enqueue(id: string): Promise<void> {
    const row = this.get(id);
    const [tick] = this.#sql
      .exec<{ at_ms: number }>("SELECT at_ms FROM tick WHERE schedule_id = ? ORDER BY at_ms LIMIT 1", id)
      .toArray();
    if (!row || !tick) return;
    const type = findTaskType(row.type);
    if (!type) throw new Error(`There is no task type "${row.type}" any more.`);
    const taskId = await runs.enqueueOnce(this.env, type, JSON.parse(row.input), runKey(id, tick.at_ms));
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

  /** Makes the declared schedules what the code says: adds, changes and removes. */
  async #sync(): Promise<void> {
    try {
      const { changed, gone } = compareDeclared(this.list(), declaredSchedules());
      for (const id of gone) this.#delete(id);
      for (const spec of changed) this.#put(spec, true);
      if (changed.length > 0) await this.#setAlarm();
    } catch (error) {
      log("error", "the declared schedules could not be taken over", errorFields(error));
    }
  }

  /** A tick that is due by a pattern that has not changed stays due. */
  #put(spec: ScheduleSpec, isDeclared: boolean): CountedRow {
    const nowMs = Date.now();
    const [nextAtMs] = nextRuns(spec, 1, nowMs);
    if (nextAtMs === undefined) throw new RangeError(`"${spec.cron}" names no day.`);
    const rows = this.#sql.exec<CountedRow>(
      `INSERT INTO schedule (id, cron, time_zone, type, input, overlap, missed, is_declared, created_at_ms,
         next_at_ms, look_at_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?10, ?10)
       ON CONFLICT (id) DO UPDATE SET type = excluded.type, input = excluded.input, overlap = excluded.overlap,
         missed = excluded.missed, is_declared = excluded.is_declared, last_error = NULL,
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

  async #setAlarm(): Promise<void> {
    const dueAtMs = this.#dueAtMs();
    if (dueAtMs !== null) await this.ctx.storage.setAlarm(dueAtMs);
  }
}

/** There is one. */
export const schedulerOf = (env: Env) => env.SCHEDULER.getByName("schedules");
