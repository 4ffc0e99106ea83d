/**
 * The tables of a ledger, one task at a time: the task, its events and its steps. `task-queries.ts` finds tasks by
 * what they have in common. Neither decides anything.
 *
 * Whatever changes a task appends to its history in the same transaction, so event ids have no gap. The first event
 * is kept in the task's own row, and the end of a task is what its row says, so most tasks have no other row.
 */
import { FIRST_TOKEN, type Transition } from "./rules.ts";
import { type EventRow, readJsonOrNull, type TaskRow, toTask } from "./schema.ts";
import { isFinal, type TaskEvent, type TaskState } from "./task-state.ts";

/** What a new task has besides its state. */
export interface TaskFields {
  id: string;
  type: string;
  /** JSON text. */
  input: string;
  callbackUrl: string | null;
  /** Whoever gets the first claim, and would get it again. */
  claimant?: string;
  /** The tasks that start when it has succeeded (types/follow-ups.ts), as JSON text. */
  then?: string;
  /** The `traceparent` that its runs continue. */
  trace?: string | null | undefined;
  /** By which its type limits it. */
  concurrencyKey?: string | null;
  /** JSON text: an array. */
  tags?: string | null;
  /** The schedule that the task is a run of. */
  scheduleId?: string | null;
}

/** The columns that a rule may change. */
const STATE_COLUMNS = [
  "status",
  "priority",
  "rank_ms",
  "token",
  "attempt",
  "crashes",
  "has_new_step",
  "is_resuming",
  "lane",
  "pool",
  "busy_until_ms",
  "due_at_ms",
  "passes_pause",
  "started_at_ms",
  "attempt_started_at_ms",
  "spent_ms",
  "finished_at_ms",
  "result",
  "error",
] as const satisfies (keyof TaskState)[];

const SAVE = `UPDATE task SET events = ?, ${STATE_COLUMNS.map((name) => `${name} = ?`).join(", ")} WHERE id = ?`;
const INSERT = `
  INSERT INTO task (id, type, input, run_at_ms, created_at_ms, callback_url, first_event, claimant, then_tasks, trace,
    concurrency_key, tags, schedule_id, events, ${STATE_COLUMNS.join(", ")})
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ${STATE_COLUMNS.map(() => "?").join(", ")}) ON CONFLICT (id) DO NOTHING`;
/**
 * The columns of a lean row: `input`, `result` and `then_tasks`, which may be long, are left out; the last is '' if there are
 * any. Saving a lean row is safe: a rule
 * only changes tasks that have no result yet, so none is lost.
 */
export const LEAN_COLUMNS = `id, type, '' AS input, run_at_ms, created_at_ms, callback_url, events, progress_ratio,
  progress_message, iif(then_tasks IS NULL, NULL, '') AS then_tasks, follow_ups, trace, concurrency_key, tags, schedule_id,
  ${STATE_COLUMNS.map((name) => (name === "result" ? "NULL AS result" : name)).join(", ")}`;
/** After this many events of a task, its progress is still updated, but no longer recorded as an event. */
const MAX_EVENTS = 10_000;

export class TaskTable {
  readonly #sql: SqlStorage;
  readonly #onEvent: (taskId: string) => void;

  /** `onEvent` is called with the id of each task that is added or removed, or has a new event. */
  constructor(sql: SqlStorage, onEvent: (taskId: string) => void) {
    this.#sql = sql;
    this.#onEvent = onEvent;
  }

  /** Adds a new task; false if there already is one with its id. */
  insert(fields: TaskFields, { task, event }: Transition, nowMs: number): boolean {
    const {
      id,
      type,
      input,
      callbackUrl,
      claimant = null,
      then = null,
      trace = null,
      concurrencyKey = null,
      tags = null,
      scheduleId = null,
    } = fields;
    const state = STATE_COLUMNS.map((name) => task[name]);
    const first = JSON.stringify(event.data);
    const values = [
      id,
      type,
      input,
      task.run_at_ms,
      nowMs,
      callbackUrl,
      first,
      claimant,
      then,
      trace,
      concurrencyKey,
      tags,
      scheduleId,
      ...state,
    ];
    const isNew = this.#sql.exec(INSERT, ...values).rowsWritten > 0;
    if (isNew) this.#onEvent(id);
    return isNew;
  }

  /**
   * Renews the first claim of a task in the fast lane, if it belongs to the claimant and is still the task's last: it was
   * given in a reply that was lost. False if not.
   */
  renewFirstClaim({ id, claimant }: TaskFields, untilMs: number): boolean {
    const query = `UPDATE task SET due_at_ms = ?3, busy_until_ms = ?3
      WHERE id = ?1 AND claimant = ?2 AND token = ${FIRST_TOKEN} AND status = 'running' AND lane = 'fast'`;
    return claimant !== undefined && this.#sql.exec(query, id, claimant, untilMs).rowsWritten > 0;
  }

  /** A task as a whole. */
  get(id: string): TaskRow | undefined {
    return this.#sql.exec<TaskRow>("SELECT * FROM task WHERE id = ?", id).toArray()[0];
  }

  /** A task as a lean row: without `input` and `result`. */
  getLean(id: string): TaskRow | undefined {
    return this.#sql.exec<TaskRow>(`SELECT ${LEAN_COLUMNS} FROM task WHERE id = ?`, id).toArray()[0];
  }

  /** Writes a state transition. That a task has ended is no event in the table: the row says so itself. */
  save({ task, event }: Transition<TaskRow>, nowMs: number): void {
    const hasEnded = isFinal(task.status);
    const events = hasEnded ? task.events : task.events + 1;
    if (!hasEnded) this.append(task.id, events, event, nowMs);
    this.#sql.exec(SAVE, events, ...STATE_COLUMNS.map((name) => task[name]), task.id);
    if (hasEnded) this.#onEvent(task.id);
  }

  /** Puts a task that could not be handled out of the way until a time, and counts its events anew. */
  setAside(id: string, untilMs: number): void {
    this.#sql.exec(
      `UPDATE task SET due_at_ms = iif(finished_at_ms IS NULL, ?2, due_at_ms), rank_ms = NULL,
         busy_until_ms = iif(finished_at_ms IS NULL, busy_until_ms, max(busy_until_ms, ?2)),
         status = iif(status = 'queued', 'scheduled', status),
         events = 1 + (SELECT count(*) FROM event WHERE task_id = ?1) WHERE id = ?1`,
      id,
      untilMs,
    );
  }

  /** Records that the follow-ups of a task have started, with these ids. */
  recordFollowUps(id: string, ids: readonly string[]): void {
    const query = "UPDATE task SET then_tasks = NULL, follow_ups = ? WHERE id = ?";
    this.#sql.exec(query, JSON.stringify(ids), id);
  }

  renewLease(id: string, leaseEndsAtMs: number | null): void {
    this.#sql.exec("UPDATE task SET due_at_ms = ? WHERE id = ?", leaseEndsAtMs, id);
  }

  /** Records that the code of a claim begins, with a renewed lease, and until when it may be at work. */
  recordOpened(id: string, leaseEndsAtMs: number | null, busyUntilMs: number): void {
    const query = "UPDATE task SET due_at_ms = ?, busy_until_ms = ? WHERE id = ?";
    this.#sql.exec(query, leaseEndsAtMs, busyUntilMs, id);
  }

  /** Records that no code is at work, if the claim with this token was the last and has ended. */
  recordStopped(id: string, token: number): void {
    this.#sql.exec(
      "UPDATE task SET busy_until_ms = 0 WHERE id = ? AND token = ? AND status NOT IN ('running', 'cancelling')",
      id,
      token,
    );
  }

  recordProgress(task: TaskRow, ratio: number, message: string | null, nowMs: number): void {
    const isEvent = task.events < MAX_EVENTS;
    this.#sql.exec(
      "UPDATE task SET progress_ratio = ?, progress_message = ?, events = events + ? WHERE id = ?",
      ratio,
      message,
      isEvent ? 1 : 0,
      task.id,
    );
    const data = { status: task.status, attempt: task.attempt, ratio, message };
    if (isEvent) this.append(task.id, task.events + 1, { name: "progress", data }, nowMs);
  }

  /** Records a step. The first record under a name stays. */
  recordStep(task: TaskRow, name: string, result: string, nowMs: number): void {
    const recorded = this.#sql.exec(
      "INSERT INTO step (task_id, name, result) VALUES (?, ?, ?) ON CONFLICT (task_id, name) DO NOTHING",
      task.id,
      name,
      result,
    );
    if (recorded.rowsWritten === 0) return;
    this.#sql.exec("UPDATE task SET events = events + 1, has_new_step = 1 WHERE id = ?", task.id);
    const data = { status: task.status, attempt: task.attempt, step: name };
    this.append(task.id, task.events + 1, { name: "step", data }, nowMs);
  }

  /** Records a step without an event: something else has told of it. */
  recordSilently(id: string, name: string, result: string): void {
    this.#sql.exec("INSERT INTO step (task_id, name, result) VALUES (?, ?, ?)", id, name, result);
    this.#sql.exec("UPDATE task SET has_new_step = 1 WHERE id = ?", id);
  }

  /** Appends an event that changes nothing of a task that has not ended. */
  recordEvent(id: string, { name, data }: TaskEvent, nowMs: number): void {
    const task = this.getLean(id);
    if (!task) return;
    this.#sql.exec("UPDATE task SET events = events + 1 WHERE id = ?", id);
    const { status, attempt, events } = task;
    this.append(id, events + 1, { name, data: { status, attempt, ...data } }, nowMs);
  }

  /** Tells whoever watches a task that something about it has changed. */
  touch(id: string): void {
    this.#onEvent(id);
  }

  /** What a step has recorded, as JSON text. */
  stepResult(id: string, name: string): string | undefined {
    const query = "SELECT result FROM step WHERE task_id = ? AND name = ?";
    return this.#sql.exec<{ result: string }>(query, id, name).toArray()[0]?.result;
  }

  /** The recorded steps of a task: JSON text by the step's name. */
  steps(taskId: string): Record<string, string> {
    const rows = this.#sql.exec<{ name: string; result: string }>(
      "SELECT name, result FROM step WHERE task_id = ?",
      taskId,
    );
    return Object.fromEntries([...rows].map(({ name, result }) => [name, result]));
  }

  /** Saves a checkpoint, as JSON text, in place of the one before. Like a step, it shows that the task gets on. */
  saveCheckpoint({ id, has_new_step }: TaskRow, value: string): void {
    this.#sql.exec("INSERT OR REPLACE INTO checkpoint (task_id, value) VALUES (?, ?)", id, value);
    if (has_new_step === 0) this.#sql.exec("UPDATE task SET has_new_step = 1 WHERE id = ?", id);
  }

  checkpoint(taskId: string): string | undefined {
    const query = "SELECT value FROM checkpoint WHERE task_id = ?";
    return this.#sql.exec<{ value: string }>(query, taskId).toArray()[0]?.value;
  }

  events(taskId: string, after: number, limit: number): EventRow[] {
    const stored = this.#storedEvents(taskId, after, limit);
    const last = stored.length < limit ? this.lastEvent(taskId) : undefined;
    return last && last.number > (stored.at(-1)?.number ?? after) ? [...stored, last] : stored;
  }

  /** The last event of a task so far; undefined if there is no such task. */
  lastEvent(taskId: string): EventRow | undefined {
    const row = this.getLean(taskId);
    const stored = row && this.#storedEvents(taskId, row.events - 1, 1)[0];
    // Version 0.1.0 stores the end as well.
    if (!row || !isFinal(row.status) || (stored && statusIn(stored) === row.status)) return stored;
    const { status, attempt, error } = toTask(row);
    const data = JSON.stringify({ status, attempt, ...(error && { error }) });
    return { task_id: taskId, number: row.events + 1, at_ms: row.finished_at_ms ?? 0, name: "status", data };
  }

  /**
   * Prepares an ended task for another life: its end becomes an event in the table, and its progress is forgotten. Returns
   * the number of its events.
   */
  reopen({ id, events }: TaskRow): number {
    const last = this.lastEvent(id);
    if (last && last.number > events) this.#insertEvent(last);
    const query = "UPDATE task SET progress_ratio = NULL, progress_message = NULL, events = ? WHERE id = ?";
    this.#sql.exec(query, last?.number ?? events, id);
    return last?.number ?? events;
  }

  /**
   * Removes at most so many rows of a task, and the task itself if that is all it has. Until then, what is left is a
   * history without a gap. Returns how many rows were removed.
   */
  removePart(id: string, maxRows: number): number {
    const steps = this.#sql.exec(
      "DELETE FROM step WHERE task_id = ?1 AND name IN (SELECT name FROM step WHERE task_id = ?1 LIMIT ?2) RETURNING 1",
      id,
      maxRows,
    );
    let removed = steps.toArray().length;
    const events = this.#sql.exec(
      `DELETE FROM event WHERE task_id = ?1
         AND number IN (SELECT number FROM event WHERE task_id = ?1 ORDER BY number DESC LIMIT ?2) RETURNING 1`,
      id,
      maxRows - removed,
    );
    const removedEvents = events.toArray().length;
    removed += removedEvents;
    if (removed < maxRows) {
      this.remove(id);
      return removed + 1;
    }
    this.#sql.exec("UPDATE task SET events = events - ? WHERE id = ?", removedEvents, id);
    return removed;
  }

  remove(id: string): void {
    for (const table of ["event", "step", "checkpoint", "wait", "signal"])
      this.#sql.exec(`DELETE FROM ${table} WHERE task_id = ?`, id);
    this.#sql.exec("DELETE FROM child WHERE parent_id = ?", id);
    this.#sql.exec("DELETE FROM parent WHERE task_id = ?", id);
    this.#sql.exec("DELETE FROM task WHERE id = ?", id);
    this.#onEvent(id);
  }

  /** The first event is in the task's row, and so is the last one of a task that has ended: see `lastEvent`. */
  #storedEvents(taskId: string, after: number, limit: number): EventRow[] {
    const query = `
      SELECT id AS task_id, 1 AS number, created_at_ms AS at_ms, 'status' AS name, first_event AS data
        FROM task WHERE id = ?1 AND ?2 < 1
      UNION ALL SELECT task_id, number, at_ms, name, data FROM event WHERE task_id = ?1 AND number > ?2
      ORDER BY number LIMIT ?3`;
    return this.#sql.exec<EventRow>(query, taskId, after, limit).toArray();
  }

  /** Adds an event. The caller counts it in the task's row. */
  append(task_id: string, number: number, { name, data }: TaskEvent, at_ms: number): void {
    this.#insertEvent({ task_id, number, at_ms, name, data: JSON.stringify(data) });
    this.#onEvent(task_id);
  }

  #insertEvent({ task_id, number, at_ms, name, data }: EventRow): void {
    const query = "INSERT INTO event (task_id, number, at_ms, name, data) VALUES (?, ?, ?, ?, ?)";
    this.#sql.exec(query, task_id, number, at_ms, name, data);
  }
}

/** The status that an event tells. */
function statusIn({ data }: EventRow): unknown {
  const parsed = readJsonOrNull(data);
  return typeof parsed === "object" && parsed !== null && "status" in parsed ? parsed.status : undefined;
}
