/**
 * Which tasks a ledger has: what is due, what is queued, how many are running, and the pages of a list. An index
 * serves each query, so its cost does not grow with all the tasks that are kept. All rows are lean (`LEAN_COLUMNS`).
 */
import { IS_FORGOTTEN, type TaskRow } from "./schema.ts";
import { type FinalStatus, type Pool, TASK_STATUSES, type TaskStatus } from "./task-state.ts";
import { LEAN_COLUMNS } from "./task-table.ts";

/** Which tasks to list, newest first. */
export interface Page {
  /** Empty: all of them. */
  statuses: readonly TaskStatus[];
  type: string | undefined;
  /** Created at or after this; ms since the epoch. */
  fromMs: number;
  /** Only tasks after this one in the list. For the first page, both values lie past every task. */
  before: { createdAtMs: number; id: string };
  limit: number;
}

/** Where a walk through ended tasks is: after this task. */
export interface EndedCursor {
  type: string;
  createdAtMs: number;
  id: string;
}

export interface EndedQuery {
  status: FinalStatus;
  /** Without it: of all types. */
  type?: string | undefined;
  /** Ended before this; ms since the epoch. */
  beforeMs: number;
  /** `next` of the piece before. */
  after?: EndedCursor | null;
  /** How many tasks to look at. */
  limit: number;
}

/** For so long a callback may be tried, which needs its task. */
const CALLBACK_TIME_MS = 3 * 86_400_000;

/** One query for active tasks, one for ended tasks: each has an index of its own. */
const FIRST_DUE = ["NULL", "NOT NULL"].map(
  (isEnded) => `SELECT due_at_ms AS at FROM task WHERE finished_at_ms IS ${isEnded} AND due_at_ms IS NOT NULL
    ORDER BY due_at_ms LIMIT 1`,
);

export class TaskQueries {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  /** The active tasks that the ledger must act on now, the most overdue first. */
  due(nowMs: number, limit: number): TaskRow[] {
    const query = `SELECT ${LEAN_COLUMNS} FROM task WHERE finished_at_ms IS NULL AND due_at_ms <= ?
      ORDER BY due_at_ms LIMIT ?`;
    return this.#sql.exec<TaskRow>(query, nowMs, limit).toArray();
  }

  /** The ended tasks that have been kept long enough. */
  expired(nowMs: number, limit: number): TaskRow[] {
    const query = `SELECT ${LEAN_COLUMNS} FROM task WHERE finished_at_ms IS NOT NULL AND due_at_ms <= ?
      ORDER BY due_at_ms LIMIT ?`;
    return this.#sql.exec<TaskRow>(query, nowMs, limit).toArray();
  }

  nextDueAtMs(): number | null {
    const rows = FIRST_DUE.flatMap((query) => [...this.#sql.exec<{ at: number }>(query)]);
    return rows.length === 0 ? null : Math.min(...rows.map(({ at }) => at));
  }

  /** The types that have queued tasks. */
  queuedTypes(): string[] {
    return this.#types("queued");
  }

  /** The first tasks of a pool in a type's queue. */
  queued(type: string, pool: Pool, limit: number): TaskRow[] {
    const query = `SELECT ${LEAN_COLUMNS} FROM task WHERE status = 'queued' AND type = ? AND pool = ?
      ORDER BY rank_ms, id LIMIT ?`;
    return this.#sql.exec<TaskRow>(query, type, pool, limit).toArray();
  }

  /** How many tasks of a type are running or being cancelled. */
  countRunning(type: string): number {
    const query = "SELECT count(*) AS count FROM task WHERE status IN ('running', 'cancelling') AND type = ?";
    return this.#sql.exec<{ count: number }>(query, type).one().count;
  }

  hasQueued(): boolean {
    return this.#sql.exec("SELECT 1 FROM task WHERE status = 'queued' LIMIT 1").toArray().length > 0;
  }

  /** How many tasks of each pool are in runners. */
  countRunners(): Record<Pool, number> {
    const counts = { new: 0, begun: 0, tick: 0, callback: 0 };
    const query = "SELECT pool, count(*) AS count FROM task WHERE lane = 'long' GROUP BY pool";
    for (const { pool, count } of this.#sql.exec<{ pool: Pool; count: number }>(query)) counts[pool] = count;
    return counts;
  }

  /** The dead letters of a type that failed before a time and can be retried, the oldest first. */
  deadLetters(type: string, beforeMs: number, limit: number): TaskRow[] {
    const query = `SELECT ${LEAN_COLUMNS} FROM task WHERE status = 'failed' AND type = ? AND finished_at_ms < ?
      AND started_at_ms IS NOT NULL
      ORDER BY created_at_ms, id LIMIT ?`;
    return this.#sql.exec<TaskRow>(query, type, beforeMs, limit).toArray();
  }

  /**
   * Looks at the next tasks that have ended in a way, the oldest first, and returns those that ended before a time. Tasks of
   * other types follow in later calls. `next`: where to go on; null if there are no more.
   */
  ended({ status, type, beforeMs, after, limit }: EndedQuery): { ids: string[]; next: EndedCursor | null } {
    const types = type === undefined ? this.#types(status) : [type];
    const [current, following] = types.filter((name) => name >= (after?.type ?? ""));
    if (current === undefined) return { ids: [], next: null };
    const from = after?.type === current ? after : { createdAtMs: 0, id: "" };
    const rows = this.#sql
      .exec<Pick<TaskRow, "id" | "created_at_ms" | "finished_at_ms" | "callback_url">>(
        `SELECT id, created_at_ms, finished_at_ms, callback_url FROM task
         WHERE status = ? AND type = ? AND created_at_ms < ? AND (created_at_ms, id) > (?, ?)
         ORDER BY created_at_ms, id LIMIT ?`,
        status,
        current,
        beforeMs,
        from.createdAtMs,
        from.id,
        limit,
      )
      .toArray();
    const calledBackMs = Math.min(beforeMs, Date.now() - CALLBACK_TIME_MS);
    const isOld = ({ finished_at_ms, callback_url }: (typeof rows)[number]) =>
      finished_at_ms !== null && finished_at_ms < (callback_url === null ? beforeMs : calledBackMs);
    const last = rows.length < limit ? undefined : rows.at(-1);
    return {
      ids: rows.filter(isOld).map(({ id }) => id),
      next: last
        ? { type: current, createdAtMs: last.created_at_ms, id: last.id }
        : following === undefined
          ? null
          : { type: following, createdAtMs: 0, id: "" },
    };
  }

  /** The tasks that have succeeded without their follow-ups having started. */
  forgotten(limit: number): string[] {
    const query = `SELECT id FROM task WHERE ${IS_FORGOTTEN} LIMIT ?`;
    return this.#sql
      .exec<{ id: string }>(query, limit)
      .toArray()
      .map(({ id }) => id);
  }

  list({ statuses, type, fromMs, before, limit }: Page): TaskRow[] {
    let rows: TaskRow[] = [];
    for (const status of statuses.length === 0 ? TASK_STATUSES : statuses) {
      for (const listedType of type === undefined ? this.#types(status) : [type]) {
        // Once the page is full, only tasks newer than its last one can still get on it.
        const sinceMs = rows.length < limit ? fromMs : (rows.at(-1)?.created_at_ms ?? fromMs);
        const found = this.#sql.exec<TaskRow>(
          `SELECT ${LEAN_COLUMNS} FROM task WHERE status = ? AND type = ? AND created_at_ms >= ?
           AND (created_at_ms, id) < (?, ?) ORDER BY created_at_ms DESC, id DESC LIMIT ?`,
          status,
          listedType,
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

  /** The types that have tasks of a status. The cost grows with the number of types, not of tasks. */
  #types(status: TaskStatus): string[] {
    const query = "SELECT type FROM task WHERE status = ? AND type > ? ORDER BY type LIMIT 1";
    const types: string[] = [];
    for (;;) {
      const [next] = this.#sql.exec<{ type: string }>(query, status, types.at(-1) ?? "").toArray();
      if (!next) return types;
      types.push(next.type);
    }
  }
}

/** Newest first; within a millisecond, the greater id first. */
export function byAge(a: Pick<TaskRow, "created_at_ms" | "id">, b: typeof a): number {
  return b.created_at_ms - a.created_at_ms || (a.id < b.id ? 1 : -1);
}
