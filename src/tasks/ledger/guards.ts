/**
 * The keys of guarded tasks (guard-rules.ts). A task has its key in its row, and one of those with a key holds it: an index has
 * the holders alone, so that a task without a key has no entry. The key of a task that is removed is free.
 */

import { concurrencyKeyIfAny } from "../types/concurrency-key.ts";
import type { Guard } from "../types/guards.ts";
import type { NewTask } from "./claim.ts";
import type { Holder } from "./guard-rules.ts";
import { isFinal } from "./task-state.ts";
import type { TaskTable } from "./task-table.ts";

/** How many debounced submissions of a task are in its history: there is no limit to how many there may be. */
const MAX_DEBOUNCE_EVENTS = 100;

export class Guards {
  readonly #sql: SqlStorage;
  readonly #tasks: TaskTable;

  constructor(sql: SqlStorage, tasks: TaskTable) {
    this.#sql = sql;
    this.#tasks = tasks;
  }

  holderOf(key: string): Holder | undefined {
    const query = `SELECT id, created_at_ms, status, token, due_at_ms FROM task INDEXED BY task_guard
      WHERE holds_key = 1 AND guard_key = ?`;
    return this.#sql.exec<Holder>(query, key).toArray()[0];
  }

  /** The task holds the key from now on, and whatever has held it does no longer. */
  give({ key }: Guard, taskId: string): void {
    this.#sql.exec("UPDATE task SET holds_key = NULL WHERE holds_key = 1 AND guard_key = ?", key);
    this.#sql.exec("UPDATE task SET guard_key = ?, holds_key = 1 WHERE id = ?", key, taskId);
  }

  /** Before another life of a task: false if a live task holds its unique key. Else it has the key again. */
  takeBack(taskId: string): boolean {
    const query =
      "SELECT guard_key FROM task WHERE id = ? AND guard_key LIKE 'unique %' AND holds_key IS NULL";
    const [row] = this.#sql.exec<{ guard_key: string }>(query, taskId).toArray();
    if (!row) return true;
    const holder = this.holderOf(row.guard_key);
    if (holder && !isFinal(holder.status)) return false;
    this.give({ is: "unique", key: row.guard_key, withinMs: 0, onConflict: "keep" }, taskId);
    return true;
  }

  /** Makes the task that holds a key what was submitted last, to start at a time. */
  debounce(taskId: string, last: NewTask, runAtMs: number, nowMs: number): void {
    const task = this.#tasks.getLean(taskId);
    if (!task) return;
    const isTold = task.events < MAX_DEBOUNCE_EVENTS;
    this.#sql.exec(
      `UPDATE task SET input = ?3, priority = ?4, callback_url = ?5, then_tasks = ?6, trace = ?7, tags = ?8, concurrency_key = ?10,
         run_at_ms = ?2,
         due_at_ms = ?2, events = events + ?9 WHERE id = ?1`,
      taskId,
      runAtMs,
      last.input,
      last.priority,
      last.callbackUrl,
      last.then ?? null,
      last.trace ?? null,
      last.tags ?? null,
      isTold ? 1 : 0,
      concurrencyKeyIfAny(last.type, last.input),
    );
    const { status, attempt } = task;
    const data = { status, attempt, runAt: new Date(runAtMs).toISOString(), reason: "debounced" };
    if (isTold) this.#tasks.append(taskId, task.events + 1, { name: "status", data }, nowMs);
  }
}
