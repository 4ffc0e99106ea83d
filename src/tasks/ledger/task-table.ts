/**
 * The tables of a ledger: every statement about tasks, their events and their steps, and nothing that decides.
 *
 * What changes a task appends to its history in the same transaction, so that event ids have no gap. The first event
 * is kept with the task itself, which saves a write while its caller waits.
 */
import { type Change, TASK_STATUSES, type TaskEvent, type TaskState, type TaskStatus } from "./rules.ts";
import { CREATE_TABLES, type EventRow, type TaskRow } from "./schema.ts";

/** What a new task is beside its state. */
export interface Entry {
  id: string;
  type: string;
  /** JSON text. */
  input: string;
  callbackUrl: string | null;
}

/** Which tasks to list: those after a place, newest first. */
export interface Page {
  statuses: readonly TaskStatus[];
  type: string | undefined;
  /** Not older; ms since the epoch. */
  fromMs: number;
  /** Older than `id` of this time; both past every task for the first page. */
  before: { createdAtMs: number; id: string };
  limit: number;
}

/** The columns that a rule may change. */
const STATE_COLUMNS = [
  "status",
  "priority",
  "rank_ms",
  "token",
  "attempt",
  "crashes",
  "is_resuming",
  "lane",
  "due_at_ms",
  "started_at_ms",
  "attempt_started_at_ms",
  "spent_ms",
  "finished_at_ms",
  "result",
  "error",
] as const satisfies (keyof TaskState)[];

const SAVE = `UPDATE task SET events = ?, ${STATE_COLUMNS.map((name) => `${name} = ?`).join(", ")} WHERE id = ?`;
const INSERT = `
  INSERT INTO task (id, type, input, run_at_ms, created_at_ms, callback_url, first_event, events,
    ${STATE_COLUMNS.join(", ")}) VALUES (?, ?, ?, ?, ?, ?, ?, 1, ${STATE_COLUMNS.map(() => "?").join(", ")}) ON CONFLICT (id) DO NOTHING`;
/** A task without what may be long. What has no result yet has none to lose by being saved without it. */
const LEAN = `id, type, '' AS input, run_at_ms, created_at_ms, callback_url, events, progress_ratio,
  progress_message, ${STATE_COLUMNS.map((name) => (name === "result" ? "NULL AS result" : name)).join(", ")}`;
/** Each from an index of its own. */
const FIRST_DUE = ["NULL", "NOT NULL"].map(
  (isEnded) => `SELECT due_at_ms AS at FROM task WHERE finished_at_ms IS ${isEnded} AND due_at_ms IS NOT NULL
    ORDER BY due_at_ms LIMIT 1`,
);
/** Beyond so many events of a task, its progress is only kept up to date. */
const MOST_EVENTS = 10_000;

export class TaskTable {
  readonly #sql: SqlStorage;
  readonly #onEvent: (taskId: string) => void;

  /** `onEvent` is told of each task that has a new event. */
  constructor(sql: SqlStorage, onEvent: (taskId: string) => void) {
    this.#sql = sql;
    this.#onEvent = onEvent;
    sql.exec(CREATE_TABLES);
  }

  /** Enters a new task; false if there is one with its id. */
  enter(entry: Entry, { task, event }: Change, nowMs: number): boolean {
    const { id, type, input, callbackUrl } = entry;
    const state = STATE_COLUMNS.map((name) => task[name]);
    const first = JSON.stringify(event.data);
    return (
      this.#sql.exec(INSERT, id, type, input, task.run_at_ms, nowMs, callbackUrl, first, ...state)
        .rowsWritten > 0
    );
  }

  /** The whole of a task. */
  read(id: string): TaskRow | undefined {
    return this.#sql.exec<TaskRow>("SELECT * FROM task WHERE id = ?", id).toArray()[0];
  }

  /** A task without input and result, as all that follow. */
  find(id: string): TaskRow | undefined {
    return this.#sql.exec<TaskRow>(`SELECT ${LEAN} FROM task WHERE id = ?`, id).toArray()[0];
  }

  /** Writes what a rule has made of a task. */
  save({ task, event }: Change<TaskRow>, nowMs: number): void {
    const state = STATE_COLUMNS.map((name) => task[name]);
    this.#append(task.id, task.events + 1, event, nowMs);
    this.#sql.exec(SAVE, task.events + 1, ...state, task.id);
  }

  /** Takes a task out of the way that could not be handled, until a time, and counts its events again. */
  setAside(id: string, untilMs: number): void {
    this.#sql.exec(
      `UPDATE task SET due_at_ms = iif(finished_at_ms IS NULL, ?2, max(due_at_ms, ?2)), rank_ms = NULL,
         status = iif(status = 'queued', 'scheduled', status),
         events = 1 + (SELECT count(*) FROM event WHERE task_id = ?1) WHERE id = ?1`,
      id,
      untilMs,
    );
  }

  clearProgress(id: string): void {
    this.#sql.exec("UPDATE task SET progress_ratio = NULL, progress_message = NULL WHERE id = ?", id);
  }

  renew(id: string, leaseEndsAtMs: number | null): void {
    this.#sql.exec("UPDATE task SET due_at_ms = ? WHERE id = ?", leaseEndsAtMs, id);
  }

  progress(task: TaskRow, ratio: number, message: string | null, nowMs: number): void {
    const isTold = task.events < MOST_EVENTS;
    this.#sql.exec(
      "UPDATE task SET progress_ratio = ?, progress_message = ?, events = events + ? WHERE id = ?",
      ratio,
      message,
      isTold ? 1 : 0,
      task.id,
    );
    const data = { status: task.status, attempt: task.attempt, ratio, message };
    if (isTold) this.#append(task.id, task.events + 1, { name: "progress", data }, nowMs);
  }

  /** Records a step; the first record of a name stays. */
  recordStep(task: TaskRow, name: string, result: string, nowMs: number): void {
    const recorded = this.#sql.exec(
      "INSERT INTO step (task_id, name, result) VALUES (?, ?, ?) ON CONFLICT (task_id, name) DO NOTHING",
      task.id,
      name,
      result,
    );
    if (recorded.rowsWritten === 0) return;
    this.#sql.exec("UPDATE task SET events = events + 1 WHERE id = ?", task.id);
    const data = { status: task.status, attempt: task.attempt, step: name };
    this.#append(task.id, task.events + 1, { name: "step", data }, nowMs);
  }

  /** What has been recorded of a task: JSON text by the step's name. */
  steps(taskId: string): Record<string, string> {
    const rows = this.#sql.exec<{ name: string; result: string }>(
      "SELECT name, result FROM step WHERE task_id = ?",
      taskId,
    );
    return Object.fromEntries([...rows].map(({ name, result }) => [name, result]));
  }

  events(taskId: string, after: number, limit: number): EventRow[] {
    const query = `
      SELECT id AS task_id, 1 AS number, created_at_ms AS at_ms, 'status' AS name, first_event AS data
        FROM task WHERE id = ?1 AND ?2 < 1
      UNION ALL SELECT task_id, number, at_ms, name, data FROM event WHERE task_id = ?1 AND number > ?2
      ORDER BY number LIMIT ?3`;
    return this.#sql.exec<EventRow>(query, taskId, after, limit).toArray();
  }

  remove(id: string): void {
    for (const table of ["event", "step"]) this.#sql.exec(`DELETE FROM ${table} WHERE task_id = ?`, id);
    this.#sql.exec("DELETE FROM task WHERE id = ?", id);
    this.#onEvent(id);
  }

  /** Those that the ledger has to look at now, the most overdue first. */
  due(nowMs: number, limit: number): TaskRow[] {
    const query = `SELECT ${LEAN} FROM task WHERE finished_at_ms IS NULL AND due_at_ms <= ?
      ORDER BY due_at_ms LIMIT ?`;
    return this.#sql.exec<TaskRow>(query, nowMs, limit).toArray();
  }

  /** Those that have been kept long enough. */
  expired(nowMs: number, limit: number): TaskRow[] {
    const query = `SELECT ${LEAN} FROM task WHERE finished_at_ms IS NOT NULL AND due_at_ms <= ?
      ORDER BY due_at_ms LIMIT ?`;
    return this.#sql.exec<TaskRow>(query, nowMs, limit).toArray();
  }

  nextDueAtMs(): number | null {
    const rows = FIRST_DUE.flatMap((query) => [...this.#sql.exec<{ at: number }>(query)]);
    return rows.length === 0 ? null : Math.min(...rows.map(({ at }) => at));
  }

  /** The types of which tasks are queued. */
  waitingTypes(): string[] {
    return this.#types("queued");
  }

  /** The first of a type's line. */
  line(type: string, limit: number): TaskRow[] {
    const query = `SELECT ${LEAN} FROM task WHERE status = 'queued' AND type = ? ORDER BY rank_ms, id LIMIT ?`;
    return this.#sql.exec<TaskRow>(query, type, limit).toArray();
  }

  /** How many of a type run, or are being cancelled. */
  countRunning(type: string): number {
    const query = "SELECT count(*) AS count FROM task WHERE status IN ('running', 'cancelling') AND type = ?";
    return this.#sql.exec<{ count: number }>(query, type).one().count;
  }

  isWaiting(): boolean {
    return this.#sql.exec("SELECT 1 FROM task WHERE status = 'queued' LIMIT 1").toArray().length > 0;
  }

  countLong(): number {
    const query = "SELECT count(*) AS count FROM task WHERE lane = 'long'";
    return this.#sql.exec<{ count: number }>(query).one().count;
  }

  /** The dead letters of a type that were so before a time, the oldest first. */
  failed(type: string, beforeMs: number, limit: number): TaskRow[] {
    const query = `SELECT ${LEAN} FROM task WHERE status = 'failed' AND type = ? AND finished_at_ms < ?
      ORDER BY created_at_ms, id LIMIT ?`;
    return this.#sql.exec<TaskRow>(query, type, beforeMs, limit).toArray();
  }

  list({ statuses, type, fromMs, before, limit }: Page): TaskRow[] {
    let rows: TaskRow[] = [];
    for (const status of statuses.length === 0 ? TASK_STATUSES : statuses) {
      for (const one of type === undefined ? this.#types(status) : [type]) {
        // Once the page is full, only what is newer than its last can still get on it.
        const sinceMs = rows.length < limit ? fromMs : (rows.at(-1)?.created_at_ms ?? fromMs);
        const found = this.#sql.exec<TaskRow>(
          `SELECT ${LEAN} FROM task WHERE status = ? AND type = ? AND created_at_ms >= ?
           AND (created_at_ms, id) < (?, ?) ORDER BY created_at_ms DESC, id DESC LIMIT ?`,
          status,
          one,
          sinceMs,
          before.createdAtMs,
          before.id,
          limit,
        );
        rows = [...rows, ...found].toSorted(byAge).slice(0, limit);
      }
    }
    return rows;
  }

  /** The types that tasks of a status have; costs as much as there are types, not tasks. */
  #types(status: TaskStatus): string[] {
    const query = "SELECT type FROM task WHERE status = ? AND type > ? ORDER BY type LIMIT 1";
    const types: string[] = [];
    for (;;) {
      const [next] = this.#sql.exec<{ type: string }>(query, status, types.at(-1) ?? "").toArray();
      if (!next) return types;
      types.push(next.type);
    }
  }

  #append(taskId: string, number: number, { name, data }: TaskEvent, nowMs: number): void {
    this.#sql.exec(
      "INSERT INTO event (task_id, number, at_ms, name, data) VALUES (?, ?, ?, ?, ?)",
      taskId,
      number,
      nowMs,
      name,
      JSON.stringify(data),
    );
    this.#onEvent(taskId);
  }
}

/** The newest first; of the same millisecond, the one with the greater id. */
export function byAge(a: Pick<TaskRow, "created_at_ms" | "id">, b: typeof a): number {
  return b.created_at_ms - a.created_at_ms || (a.id < b.id ? 1 : -1);
}
