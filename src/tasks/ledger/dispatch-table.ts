/**
 * What dispatch needs besides the queues of types: the queues of keys, the tasks that a pause does not hold back, and how far
 * each type is. Types that have none of these have no rows here, and no entries in these indexes.
 */
import { KEYED, PASSING } from "./indexes.ts";
import type { TaskRow } from "./schema.ts";
import type { Pool } from "./task-state.ts";
import { LEAN_COLUMNS } from "./task-table.ts";

/** How far a type is: a row of its own. */
export type Progress = {
  /** The key that was served last. */
  last_key: string;
  /** When the next task is due by the rate; ms since the epoch. */
  next_due_ms: number;
};

const OF_KEY = `task INDEXED BY task_keyed WHERE ${KEYED} AND type = ?1 AND status = ?2`;

export class DispatchTable {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  /** The keys of a type that have queued tasks: those after a key, and then from the first one to that key. */
  *keysAfter(type: string, last: string): Generator<string> {
    yield* this.#keys(type, last, "");
    if (last !== "") yield* this.#keys(type, "", last);
  }

  /** The keys after one, up to another; with "", to the last. A query for each, so the cost is that of those looked at. */
  *#keys(type: string, after: string, upTo: string): Generator<string> {
    const query = `SELECT concurrency_key AS key, concurrency_key > ?4 AS isBeyond FROM ${OF_KEY} AND concurrency_key > ?3
      ORDER BY concurrency_key LIMIT 1`;
    for (let key = after; ; ) {
      const [next] = this.#sql
        .exec<{ key: string; isBeyond: number }>(query, type, "queued", key, upTo)
        .toArray();
      if (!next || (upTo !== "" && next.isBeyond === 1)) return;
      yield next.key;
      key = next.key;
    }
  }

  /** The first tasks of a pool in a key's queue. */
  queued(type: string, key: string, pool: Pool, limit: number): TaskRow[] {
    const query = `SELECT ${LEAN_COLUMNS} FROM ${OF_KEY} AND concurrency_key = ?3 AND pool = ?4
      ORDER BY rank_ms, id LIMIT ?5`;
    return this.#sql.exec<TaskRow>(query, type, "queued", key, pool, limit).toArray();
  }

  /** How many tasks of a key are running or being cancelled; without a key, how many of any. */
  countRunning(type: string, key?: string): number {
    const [ofKey, values] = key === undefined ? ["", []] : ["AND concurrency_key = ?3", [key]];
    const query = `SELECT count(*) AS count FROM ${OF_KEY} ${ofKey}`;
    return ["running", "cancelling"].reduce(
      (sum, status) => sum + this.#sql.exec<{ count: number }>(query, type, status, ...values).one().count,
      0,
    );
  }

  /** The queued tasks of a type that a pause does not hold back. */
  passing(type: string, limit: number): TaskRow[] {
    const query = `SELECT ${LEAN_COLUMNS} FROM task INDEXED BY task_passing WHERE ${PASSING} AND type = ?
      ORDER BY rank_ms, id LIMIT ?`;
    return this.#sql.exec<TaskRow>(query, type, limit).toArray();
  }

  progressOf(type: string): Progress {
    const query = "SELECT last_key, next_due_ms FROM dispatch WHERE type = ?";
    return this.#sql.exec<Progress>(query, type).toArray()[0] ?? { last_key: "", next_due_ms: 0 };
  }

  saveProgress(type: string, { last_key, next_due_ms }: Progress): void {
    const query = "INSERT OR REPLACE INTO dispatch (type, last_key, next_due_ms) VALUES (?, ?, ?)";
    this.#sql.exec(query, type, last_key, next_due_ms);
  }
}
