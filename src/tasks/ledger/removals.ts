/**
 * Removing tasks that have ended, with all that is stored of them. None is removed whose code may be at work: if it were
 * submitted again under the same id, such code would hold a valid token.
 */
import { MAX_REMOVED_ROWS } from "./alarm-work.ts";
import { isFinal } from "./task-state.ts";
import type { LedgerParts } from "./transitions.ts";

export class Removals {
  readonly #storage: DurableObjectStorage;
  readonly #parts: LedgerParts;

  constructor(storage: DurableObjectStorage, parts: LedgerParts) {
    this.#storage = storage;
    this.#parts = parts;
  }

  /** "active" for a task that has not ended, and "busy" while code of it may be at work. */
  remove(taskId: string, nowMs: number): "removed" | "active" | "busy" | null {
    const { tasks, figures } = this.#parts;
    const task = tasks.getLean(taskId);
    if (!task) return null;
    if (!isFinal(task.status)) return "active";
    if (task.busy_until_ms > nowMs) return "busy";
    figures.beforeForgetting([task], nowMs);
    this.#storage.transactionSync(() => tasks.remove(taskId));
    return "removed";
  }

  /** None that has ended later than a time. Returns those that are left for another call: calls wait for this one. */
  removeEnded(taskIds: readonly string[], endedBeforeMs: number, nowMs: number): string[] {
    const { tasks, figures } = this.#parts;
    let room = MAX_REMOVED_ROWS;
    for (const [done, id] of taskIds.entries()) {
      if (room <= 0) return taskIds.slice(done);
      const task = tasks.getLean(id);
      const isOld = task && isFinal(task.status) && (task.finished_at_ms ?? nowMs) < endedBeforeMs;
      if (!isOld || task.busy_until_ms > nowMs) continue;
      figures.beforeForgetting([task], nowMs);
      const removed = this.#storage.transactionSync(() => tasks.removePart(id, room));
      // What has more rows than that goes on in the next call.
      if (removed >= room && tasks.getLean(id)) return taskIds.slice(done);
      room -= removed;
    }
    return [];
  }
}
