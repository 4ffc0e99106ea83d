/** The rows of the scheduler: the schedules, and the ticks of each that were taken and are not enqueued yet. */
import type { ScheduleSpec } from "./registry.ts";
import { type Decision, NEVER_MS, nextAfterChange, withRun } from "./rules.ts";
import { type CountedRow, runsOf, timingOf } from "./schema.ts";

/** The column that turns a row into a counted row. */
const WAITING = "(SELECT COUNT(*) FROM tick WHERE schedule_id = schedule.id) AS waiting";
const COUNTED_ROWS = `SELECT *, ${WAITING} FROM schedule`;
const HAS_TICKS = "EXISTS (SELECT 1 FROM tick WHERE schedule_id = schedule.id)";

/** Where a page of the list begins: after this schedule. */
export interface After {
  createdAtMs: number;
  id: string;
}

export class ScheduleTable {
  readonly #storage: DurableObjectStorage;
  readonly #sql: SqlStorage;

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage;
    this.#sql = storage.sql;
  }

  get(id: string): CountedRow | undefined {
    return this.#sql.exec<CountedRow>(`${COUNTED_ROWS} WHERE id = ?`, id).toArray()[0];
  }

  /** In order of creation. */
  list(after: After, limit: number): CountedRow[] {
    const query = `${COUNTED_ROWS} WHERE (created_at_ms, id) > (?, ?) ORDER BY created_at_ms, id LIMIT ?`;
    return this.#sql.exec<CountedRow>(query, after.createdAtMs, after.id, limit).toArray();
  }

  count(): number {
    return this.#sql.exec<{ count: number }>("SELECT COUNT(*) AS count FROM schedule").one().count;
  }

  /** Inserts or changes a schedule. If the pattern stays the same, a tick that is already due stays due. */
  put(spec: ScheduleSpec, isDeclared: boolean): CountedRow {
    const nowMs = Date.now();
    const before = this.get(spec.id);
    const known = before && { ...timingOf(before), nextAtMs: before.next_at_ms };
    const rows = this.#sql.exec<CountedRow>(
      `INSERT INTO schedule (id, cron, time_zone, type, input, overlap, missed, is_declared, created_at_ms,
         then_tasks, tags, guard, next_at_ms, look_at_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?13, ?13)
       ON CONFLICT (id) DO UPDATE SET type = excluded.type, input = excluded.input, overlap = excluded.overlap,
         missed = excluded.missed, is_declared = excluded.is_declared, then_tasks = excluded.then_tasks, tags = excluded.tags,
         guard = excluded.guard, last_error = NULL,
         next_at_ms = excluded.next_at_ms,
         look_at_ms = IIF(${HAS_TICKS}, MIN(look_at_ms, excluded.next_at_ms), excluded.next_at_ms),
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
      spec.tags ?? null,
      spec.guard ?? null,
      nextAfterChange(known, spec, nowMs),
    );
    return rows.one();
  }

  delete(id: string): void {
    this.#storage.transactionSync(() => {
      this.#sql.exec("DELETE FROM schedule WHERE id = ?", id);
      this.#sql.exec("DELETE FROM tick WHERE schedule_id = ?", id);
    });
  }

  /** When the alarm must handle the first of them; null if all are paused, or there are none. */
  dueAtMs(): number | null {
    const { due } = this.#sql
      .exec<{ due: number | null }>("SELECT MIN(look_at_ms) AS due FROM schedule")
      .one();
    return due === null || due >= NEVER_MS ? null : due;
  }

  /** The ids of those that are due, longest first. */
  due(nowMs: number, limit: number): string[] {
    const query = "SELECT id FROM schedule WHERE look_at_ms <= ? ORDER BY look_at_ms LIMIT ?";
    return this.#sql
      .exec<{ id: string }>(query, nowMs, limit)
      .toArray()
      .map(({ id }) => id);
  }

  /** Stores what was decided about the ticks of a schedule. */
  decide(id: string, { takeAtMs, nextAtMs, skipped, missed }: Decision): void {
    this.#storage.transactionSync(() => {
      if (takeAtMs !== null) this.#take(id, takeAtMs);
      this.#sql.exec(
        `UPDATE schedule SET next_at_ms = ?, skipped_count = skipped_count + ?, missed_count = missed_count + ?
         WHERE id = ?`,
        nextAtMs,
        skipped,
        missed,
        id,
      );
    });
  }

  /** Takes a run by hand. Until it is enqueued, the alarm has to look. */
  takeByHand(id: string, atMs: number): void {
    this.#storage.transactionSync(() => {
      this.#take(id, atMs);
      this.#sql.exec("UPDATE schedule SET look_at_ms = MIN(look_at_ms, ?) WHERE id = ?", atMs, id);
    });
  }

  #take(id: string, atMs: number): void {
    this.#sql.exec("INSERT OR IGNORE INTO tick (schedule_id, at_ms) VALUES (?, ?)", id, atMs);
  }

  /** When the oldest tick that waits was due. */
  oldestTick(id: string): number | undefined {
    const query = "SELECT at_ms FROM tick WHERE schedule_id = ? ORDER BY at_ms LIMIT 1";
    return this.#sql.exec<{ at_ms: number }>(query, id).toArray()[0]?.at_ms;
  }

  hasTick(id: string, atMs: number): boolean {
    const query = "SELECT 1 FROM tick WHERE schedule_id = ? AND at_ms = ?";
    return this.#sql.exec(query, id, atMs).toArray().length > 0;
  }

  /** A tick has its run. */
  enqueued(id: string, tickAtMs: number, taskId: string): void {
    this.#storage.transactionSync(() => {
      const row = this.get(id);
      if (!row) return;
      const runs = withRun(runsOf(row), [tickAtMs, taskId, Date.now()]);
      this.#sql.exec("DELETE FROM tick WHERE schedule_id = ? AND at_ms = ?", id, tickAtMs);
      this.#sql.exec(
        "UPDATE schedule SET last_tick_at_ms = ?, last_task_id = ?, last_runs = ? WHERE id = ?",
        tickAtMs,
        taskId,
        JSON.stringify(runs),
        id,
      );
    });
  }

  /** A tick has no run: the unique key of its task is held. */
  skipped(id: string, tickAtMs: number): void {
    this.#storage.transactionSync(() => {
      this.#sql.exec("DELETE FROM tick WHERE schedule_id = ? AND at_ms = ?", id, tickAtMs);
      this.#sql.exec("UPDATE schedule SET skipped_count = skipped_count + 1 WHERE id = ?", id);
    });
  }

  /** A schedule was processed: it is due at its next tick, or at `waitUntilMs` if ticks wait. */
  processed(id: string, waitUntilMs: number): void {
    this.#sql.exec(
      `UPDATE schedule SET last_error = NULL,
         look_at_ms = IIF(${HAS_TICKS}, MIN(?, next_at_ms), next_at_ms) WHERE id = ?`,
      waitUntilMs,
      id,
    );
  }

  /** A schedule could not be processed, and is due again at `againAtMs`. `error`: JSON text. */
  failed(id: string, againAtMs: number, error: string): void {
    this.#sql.exec("UPDATE schedule SET look_at_ms = ?, last_error = ? WHERE id = ?", againAtMs, error, id);
  }

  /** The schedule of an ended run is due now, if ticks wait for that. Returns whether any does. */
  runEnded(taskId: string, nowMs: number): boolean {
    const { rowsWritten } = this.#sql.exec(
      `UPDATE schedule SET look_at_ms = ?1 WHERE last_task_id = ?2 AND look_at_ms > ?1 AND ${HAS_TICKS}`,
      nowMs,
      taskId,
    );
    return rowsWritten > 0;
  }

  figures(): { schedules: number; failing: number } {
    const query = "SELECT count(*) AS schedules, count(last_error) AS failing FROM schedule";
    return this.#sql.exec<{ schedules: number; failing: number }>(query).one();
  }
}
