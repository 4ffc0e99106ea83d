/**
 * Flows in SQL: the children of the tasks of this shard, and the parents of its tasks. `flow-rules.ts` decides, and
 * `flow-work.ts` does what follows.
 *
 * Each call here is part of one turn of the ledger: what it writes is committed together with the change of the task.
 */

import type { FlowMessage, ParentLink } from "./flow-messages.ts";
import { type ChildEnd, isNews, isSatisfied, type WaitMode } from "./flow-rules.ts";
import type { ChildRow, FlowView, ParentRow } from "./flow-schema.ts";
import type { Outbox } from "./outbox.ts";
import { readError, type TaskRow } from "./schema.ts";
import { isFinal, type TaskStatus } from "./task-state.ts";

/** How many bytes of outcomes one message holds; a single one may be longer. */
const MAX_OUTCOMES_BYTES = 8 * 1024 * 1024;

/** What is known of a child that was waited for: JSON text of a `ChildEnd`. */
export interface ChildOutcome {
  id: string;
  outcome: string;
}

export class Flows {
  readonly #sql: SqlStorage;
  readonly #outbox: Outbox<FlowMessage>;
  /** Whether there may be any rows: most ledgers have none, and so need not look for them. Undefined until it is asked. */
  #mayHaveRows: boolean | undefined;

  constructor(sql: SqlStorage, outbox: Outbox<FlowMessage>) {
    this.#sql = sql;
    this.#outbox = outbox;
  }

  /** Whether the end of a task concerns other tasks: those that it has started, or that has started it. */
  concerns(taskId: string): boolean {
    return this.#isUsed && (this.#parent(taskId) !== undefined || this.#hasChildren(taskId));
  }

  /** How many tasks are above a task. */
  depthOf(taskId: string): number {
    return this.#isUsed ? (this.#parent(taskId)?.depth ?? 0) : 0;
  }

  countChildren(taskId: string): number {
    const query = "SELECT count(*) AS count FROM child WHERE parent_id = ?";
    return this.#sql.exec<{ count: number }>(query, taskId).one().count;
  }

  /** Notes a child that a task starts. The first note under an id stays. */
  addChild(parentId: string, id: string, type: string): void {
    this.#mayHaveRows = true;
    this.#sql.exec(
      `INSERT INTO child (parent_id, id, number, type, life)
         VALUES (?1, ?2, (SELECT count(*) + 1 FROM child WHERE parent_id = ?1), ?3, 0)
         ON CONFLICT (parent_id, id) DO NOTHING`,
      parentId,
      id,
      type,
    );
  }

  /** Notes the parent of a new task of this shard. */
  addParent(taskId: string, { parent_id, depth, life }: ParentLink): void {
    this.#mayHaveRows = true;
    this.#sql.exec(
      `INSERT INTO parent (task_id, parent_id, depth, life, is_told) VALUES (?, ?, ?, ?, 0)
         ON CONFLICT (task_id) DO NOTHING`,
      taskId,
      parent_id,
      depth,
      life,
    );
  }

  /** Writes a message for another task, on whatever shard it is. The alarm must follow. */
  post(message: FlowMessage, nowMs: number): void {
    const life = "life" in message ? `:${message.life}` : "";
    this.#outbox.add(`${message.kind}:${message.childId}${life}`, message, nowMs);
  }

  /** Whether a child is still on its way to its shard. */
  isOnItsWay(childId: string): boolean {
    return this.#outbox.has(`start:${childId}`);
  }

  /** A task has ended. Returns what its parent must hear, once in each of its lives; undefined if nobody must. */
  takeNews(
    task: Pick<TaskRow, "id" | "status" | "result" | "error">,
  ): Extract<FlowMessage, { kind: "ended" }> | undefined {
    const parent = this.#parent(task.id);
    if (!parent || parent.is_told !== 0 || !isFinal(task.status)) return undefined;
    this.#sql.exec("UPDATE parent SET is_told = 1 WHERE task_id = ?", task.id);
    const { parent_id: parentId, life } = parent;
    return { kind: "ended", childId: task.id, parentId, life, end: endOf(task, task.status) };
  }

  /** The children of a task that have not ended, as far as is known here. */
  openChildren(parentId: string): Pick<ChildRow, "id" | "life">[] {
    const query = "SELECT id, life FROM child WHERE parent_id = ? AND status IS NULL";
    return this.#sql.exec<Pick<ChildRow, "id" | "life">>(query, parentId).toArray();
  }

  /** Notes the end of a child, if it is news. Returns the waits of its parent that are over by that. */
  noteEnd(
    parentId: string,
    childId: string,
    life: number,
    end: ChildEnd,
  ): { key: string; parked_token: number | null }[] {
    const query = "SELECT status, life FROM child WHERE parent_id = ? AND id = ?";
    const child = this.#sql.exec<Pick<ChildRow, "status" | "life">>(query, parentId, childId).toArray()[0];
    if (!child || !isNews(child, life)) return [];
    this.#sql.exec(
      `UPDATE child SET status = ?3, outcome = ?4,
         ended = (SELECT ifnull(max(ended), 0) + 1 FROM child WHERE parent_id = ?1) WHERE parent_id = ?1 AND id = ?2`,
      parentId,
      childId,
      end.status,
      JSON.stringify(end),
    );
    return this.#waits(parentId).filter(
      ({ ids, mode }) => ids.includes(childId) && this.#isSatisfied(parentId, ids, mode),
    );
  }

  /** Which of these are no children of the task. */
  strangers(parentId: string, ids: readonly string[]): string[] {
    const own = new Set(this.#children(parentId).map(({ id }) => id));
    return ids.filter((id) => !own.has(id));
  }

  isReady(parentId: string, ids: readonly string[], mode: WaitMode): boolean {
    return this.#isSatisfied(parentId, ids, mode);
  }

  /** How the children have ended, as many as fit into a message, from the first on. */
  outcomes(parentId: string, ids: readonly string[]): ChildOutcome[] {
    const found: ChildOutcome[] = [];
    let bytes = 0;
    for (const id of ids) {
      const query = "SELECT outcome FROM child WHERE parent_id = ? AND id = ?";
      const outcome = this.#sql.exec<{ outcome: string | null }>(query, parentId, id).toArray()[0]?.outcome;
      if (outcome === null || outcome === undefined) break;
      bytes += outcome.length;
      if (found.length > 0 && bytes > MAX_OUTCOMES_BYTES) break;
      found.push({ id, outcome });
    }
    return found;
  }

  /** The child that was the first to end otherwise than by success, of these. */
  firstFailure(parentId: string, ids: readonly string[]): ChildOutcome | undefined {
    const failed = this.#sql.exec<{ id: string; outcome: string }>(
      `SELECT id, outcome FROM child WHERE parent_id = ? AND status IS NOT NULL AND status <> 'succeeded' ORDER BY ended`,
      parentId,
    );
    return failed.toArray().find(({ id }) => ids.includes(id));
  }

  /** A task begins another life: so must each child that has not succeeded. Returns the messages for them. */
  reopen(parentId: string): Extract<FlowMessage, { kind: "retry" }>[] {
    if (!this.#isUsed) return [];
    const children = this.#children(parentId);
    const life = Math.max(0, ...children.map((child) => child.life)) + 1;
    const again = children.filter(({ status }) => status !== "succeeded");
    for (const { id } of again)
      this.#sql.exec(
        "UPDATE child SET life = ?, status = NULL, outcome = NULL, ended = NULL WHERE parent_id = ? AND id = ?",
        life,
        parentId,
        id,
      );
    return again.map(({ id }) => ({ kind: "retry", childId: id, parentId, life }));
  }

  /** The life of its parent that a task of this shard is for; undefined if it has no parent or is gone. */
  lifeOf(taskId: string): number | undefined {
    return this.#parent(taskId)?.life;
  }

  /** A task is now for another life of its parent, and has not told it anything. */
  enterLife(taskId: string, life: number): void {
    this.#sql.exec("UPDATE parent SET life = ?, is_told = 0 WHERE task_id = ?", life, taskId);
  }

  /** The tasks whose end an earlier version has written, after a rollback, or removed: nobody was told. */
  untold(limit: number): string[] {
    if (!this.#isUsed) return [];
    const query = `SELECT p.task_id AS id FROM parent p LEFT JOIN task t ON t.id = p.task_id
      WHERE p.is_told = 0 AND (t.id IS NULL OR t.status IN ('succeeded', 'failed', 'cancelled')) LIMIT ?`;
    return this.#ids(query, limit);
  }

  /** The cancelled tasks that have children which have not ended. */
  abandoning(limit: number): string[] {
    if (!this.#isUsed) return [];
    const query = `SELECT DISTINCT c.parent_id AS id FROM child c JOIN task t ON t.id = c.parent_id
      WHERE c.status IS NULL AND t.status IN ('cancelling', 'cancelled') LIMIT ?`;
    return this.#ids(query, limit);
  }

  /** Forgets the parent of a task that is gone, and returns what that must hear of it. */
  takeGone(taskId: string): Extract<FlowMessage, { kind: "ended" }> | undefined {
    const parent = this.#parent(taskId);
    this.#sql.exec("DELETE FROM parent WHERE task_id = ?", taskId);
    if (!parent || parent.is_told !== 0) return undefined;
    const { parent_id: parentId, life } = parent;
    return { kind: "ended", childId: taskId, parentId, life, end: REMOVED };
  }

  view(taskId: string): FlowView {
    if (!this.#isUsed) return {};
    const parent = this.#parent(taskId)?.parent_id;
    const children = this.#sql
      .exec<{ id: string; type: string; status: TaskStatus | null }>(
        `SELECT c.id, c.type, ifnull(t.status, c.status) AS status FROM child c LEFT JOIN task t ON t.id = c.id
           WHERE c.parent_id = ? ORDER BY c.number`,
        taskId,
      )
      .toArray();
    return { ...(parent === undefined ? {} : { parent }), ...(children.length > 0 ? { children } : {}) };
  }

  /** Not asked in the constructor: the tables may still have to be made. */
  get #isUsed(): boolean {
    this.#mayHaveRows ??=
      this.#sql.exec("SELECT 1 FROM child UNION ALL SELECT 1 FROM parent LIMIT 1").toArray().length > 0;
    return this.#mayHaveRows;
  }

  #ids(query: string, limit: number): string[] {
    return this.#sql
      .exec<{ id: string }>(query, limit)
      .toArray()
      .map(({ id }) => id);
  }

  #isSatisfied(parentId: string, ids: readonly string[], mode: WaitMode): boolean {
    const statuses = new Map(this.#children(parentId).map(({ id, status }) => [id, status]));
    return isSatisfied(
      mode,
      ids.map((id) => statuses.get(id) ?? null),
    );
  }

  #waits(parentId: string): { key: string; parked_token: number | null; ids: string[]; mode: WaitMode }[] {
    const query = "SELECT key, parked_token, tasks FROM wait WHERE task_id = ? AND tasks IS NOT NULL";
    return this.#sql
      .exec<{ key: string; parked_token: number | null; tasks: string }>(query, parentId)
      .toArray()
      .map(({ tasks, ...wait }) => {
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- `Waits` wrote it
        const { ids, mode } = JSON.parse(tasks) as { ids: string[]; mode: WaitMode };
        return { ...wait, ids, mode };
      });
  }

  #parent(taskId: string): ParentRow | undefined {
    return this.#sql.exec<ParentRow>("SELECT * FROM parent WHERE task_id = ?", taskId).toArray()[0];
  }

  #hasChildren(taskId: string): boolean {
    return this.#sql.exec("SELECT 1 FROM child WHERE parent_id = ? LIMIT 1", taskId).toArray().length > 0;
  }

  /** Without their outcomes, which may be long. */
  #children(parentId: string): Pick<ChildRow, "id" | "life" | "status">[] {
    const query = "SELECT id, life, status FROM child WHERE parent_id = ? ORDER BY number";
    return this.#sql.exec<Pick<ChildRow, "id" | "life" | "status">>(query, parentId).toArray();
  }
}

/** The end of a child that is no longer there. */
export const REMOVED: ChildEnd = {
  status: "failed",
  error: { name: "TaskRemoved", message: "The task was removed before it could tell how it had ended." },
};

function endOf({ result, error }: Pick<TaskRow, "result" | "error">, status: ChildEnd["status"]): ChildEnd {
  if (status === "succeeded") return { status, result: result ?? "null" };
  return error === null ? { status } : { status, error: readError(error) };
}
