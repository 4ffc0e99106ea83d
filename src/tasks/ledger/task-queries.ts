/**
 * Which tasks a ledger has: what is due, what is queued, how many are running, and the pages of a list. An index
 * serves each query, so its cost does not grow with all the tasks that are kept. All rows are lean (`LEAN_COLUMNS`).
 */
import { FAST, IS_DUE, IS_LATE, LATE, NOT_FAST } from "./indexes.ts";
import type { RuleInputs } from "./rules.ts";
import { IS_FORGOTTEN, type TaskRow } from "./schema.ts";
import {
  FINAL_STATUSES,
  type FinalStatus,
  isFinal,
  type Pool,
  TASK_STATUSES,
  type TaskStatus,
} from "./task-state.ts";
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
  section: number;
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

/** A type and status may be there twice. */
export interface StatusCount {
  type: string;
  status: TaskStatus;
  count: number;
}

/** So many tasks are counted at most in a part of the list: counting reads each. */
const MAX_COUNTED = 10_000;

/** For so long a callback may be tried, which needs its task. */
const CALLBACK_TIME_MS = 3 * 86_400_000;

/** Part of a list, which an index has in its order. With the values of its conditions, if it has any. */
export interface Section {
  from: string;
  values: SqlStorageValue[];
}

const LISTED = `task INDEXED BY task_listed WHERE ${NOT_FAST}`;
const RUNNING_FAST = `task INDEXED BY task_fast WHERE ${FAST}`;
const ENDED_LATE = `task INDEXED BY task_late WHERE ${LATE}`;
const ENDED = "status = ? AND finished_at_ms <= ? AND busy_until_ms <= ?";
const WAKING = `task INDEXED BY task_waking WHERE ${IS_DUE}`;
const QUEUED = "task INDEXED BY task_queue WHERE status = 'queued'";

export class TaskQueries {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  /** The active tasks that the ledger must act on now, the most overdue first. */
  due(nowMs: number, limit: number): TaskRow[] {
    return [RUNNING_FAST, WAKING]
      .flatMap((from) => this.#lean(`${from} AND due_at_ms <= ? ORDER BY due_at_ms LIMIT ?`, nowMs, limit))
      .toSorted((a, b) => (a.due_at_ms ?? 0) - (b.due_at_ms ?? 0))
      .slice(0, limit);
  }

  /** When the ledger must act on an active task. */
  nextDueAtMs(): number | null {
    const times = [RUNNING_FAST, WAKING].flatMap((from) => {
      const query = `SELECT due_at_ms AS at FROM ${from} ORDER BY due_at_ms LIMIT 1`;
      return this.#sql.exec<{ at: number }>(query).toArray();
    });
    return times.length === 0 ? null : Math.min(...times.map(({ at }) => at));
  }

  /** The tasks that have ended and been kept long enough. */
  expired(nowMs: number, retentionMs: RuleInputs["retentionMs"], limit: number): TaskRow[] {
    const found: TaskRow[] = [];
    const add = (from: string, order: string, ...values: SqlStorageValue[]) =>
      found.push(...this.#lean(`${from} ORDER BY ${order} LIMIT ?`, ...values, limit - found.length));
    for (const status of FINAL_STATUSES) {
      const untilMs = nowMs - retentionMs[status];
      const ended = [status, untilMs, nowMs];
      add(`${ENDED_LATE} AND ${ENDED}`, "finished_at_ms", ...ended);
      const soon = `${LISTED} AND ${IS_LATE} = 0`;
      for (const type of this.typesIn({ from: `${soon} AND status = ?`, values: [status] }))
        add(
          `${soon} AND ${ENDED} AND type = ? AND created_at_ms <= ?`,
          "created_at_ms",
          ...ended,
          type,
          untilMs,
        );
    }
    return found;
  }

  /** The types that have queued tasks. */
  queuedTypes(): string[] {
    return this.typesIn({ from: QUEUED, values: [] });
  }

  /** How many tasks there are of each type and status: of each, at most about 10,000 are counted. */
  countByStatus(): StatusCount[] {
    return TASK_STATUSES.flatMap((status) =>
      sectionsOf(status).flatMap((section) =>
        this.typesIn(section).map((type) => ({ type, status, count: this.#countUpTo(section, type) })),
      ),
    );
  }

  /** The first tasks of a pool in a type's queue. */
  queued(type: string, pool: Pool, limit: number): TaskRow[] {
    return this.#lean(`${QUEUED} AND type = ? AND pool = ? ORDER BY rank_ms, id LIMIT ?`, type, pool, limit);
  }

  /** How many tasks of a type are running or being cancelled. */
  countRunning(type: string): number {
    const query = `SELECT
      (SELECT count(*) FROM ${LISTED} AND status IN ('running', 'cancelling') AND ${IS_LATE} = 0 AND type = ?1) +
      (SELECT count(*) FROM ${RUNNING_FAST} AND type = ?1) AS count`;
    return this.#sql.exec<{ count: number }>(query, type).one().count;
  }

  /** How many tasks of a type are queued: at most about 10,000 are counted. */
  countQueued(type: string): number {
    return this.#countUpTo({ from: QUEUED, values: [] }, type);
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
    return sectionsOf("failed")
      .flatMap(({ from, values }) => {
        const rest =
          "AND type = ? AND finished_at_ms < ? AND started_at_ms IS NOT NULL ORDER BY created_at_ms, id LIMIT ?";
        return this.#lean(`${from} ${rest}`, ...values, type, beforeMs, limit);
      })
      .toSorted((a, b) => byAge(b, a))
      .slice(0, limit);
  }

  /**
   * Looks at the next tasks that have ended in a way, the oldest first, and returns those that ended before a time. Tasks of
   * other types and sections follow in later calls. `next`: where to go on; null if there are no more.
   */
  ended({ status, type, beforeMs, after, limit }: EndedQuery): { ids: string[]; next: EndedCursor | null } {
    const number = after?.section ?? 0;
    const [section, nextSection] = sectionsOf(status).slice(number);
    if (!section) return { ids: [], next: null };
    const types = type === undefined ? this.typesIn(section) : [type];
    const [current, following] = types.filter((name) => name >= (after?.type ?? ""));
    const end = nextSection ? beginOf({ section: number + 1, type: "" }) : null;
    if (current === undefined) return { ids: [], next: end };
    const from = after?.type === current ? after : beginOf({ section: number, type: current });
    const rows = this.#lean(
      `${section.from} AND type = ? AND created_at_ms < ? AND (created_at_ms, id) > (?, ?)
        ORDER BY created_at_ms, id LIMIT ?`,
      ...section.values,
      current,
      beforeMs,
      from.createdAtMs,
      from.id,
      limit,
    );
    const last = rows.length < limit ? undefined : rows.at(-1);
    const rest = following === undefined ? end : beginOf({ section: number, type: following });
    return {
      ids: rows.filter((row) => isRemovable(row, beforeMs, Date.now())).map(({ id }) => id),
      next: last ? { section: number, type: current, createdAtMs: last.created_at_ms, id: last.id } : rest,
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
    for (const section of (statuses.length === 0 ? TASK_STATUSES : statuses).flatMap(sectionsOf)) {
      for (const listedType of type === undefined ? this.typesIn(section) : [type]) {
        // Once the page is full, only tasks newer than its last one can still get on it.
        const sinceMs = rows.length < limit ? fromMs : (rows.at(-1)?.created_at_ms ?? fromMs);
        const found = this.#lean(
          `${section.from} AND type = ? AND created_at_ms >= ? AND (created_at_ms, id) < (?, ?)
            ORDER BY created_at_ms DESC, id DESC LIMIT ?`,
          ...section.values,
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

  /** The types that have tasks there. The cost grows with the number of types, not of tasks. */
  typesIn({ from, values }: Section): string[] {
    const query = `SELECT type FROM ${from} AND type > ? ORDER BY type LIMIT 1`;
    const types: string[] = [];
    for (;;) {
      const [next] = this.#sql.exec<{ type: string }>(query, ...values, types.at(-1) ?? "").toArray();
      if (!next) return types;
      types.push(next.type);
    }
  }

  #countUpTo({ from, values }: Section, type: string): number {
    const query = `SELECT count(*) AS count FROM (SELECT 1 FROM ${from} AND type = ? LIMIT ${MAX_COUNTED})`;
    return this.#sql.exec<{ count: number }>(query, ...values, type).one().count;
  }

  #lean(from: string, ...values: SqlStorageValue[]): TaskRow[] {
    return this.#sql.exec<TaskRow>(`SELECT ${LEAN_COLUMNS} FROM ${from}`, ...values).toArray();
  }
}

const beginOf = (place: Pick<EndedCursor, "section" | "type">): EndedCursor => ({
  ...place,
  createdAtMs: 0,
  id: "",
});

/** Not while its callback may be tried, or code of it may be at work. */
function isRemovable(
  { finished_at_ms, callback_url, busy_until_ms }: TaskRow,
  beforeMs: number,
  nowMs: number,
): boolean {
  const untilMs = callback_url === null ? beforeMs : Math.min(beforeMs, nowMs - CALLBACK_TIME_MS);
  return finished_at_ms !== null && finished_at_ms < untilMs && busy_until_ms <= nowMs;
}

/** Where the tasks of a status are, of each type in the order of their creation. */
export function sectionsOf(status: TaskStatus): Section[] {
  const listed = (isLate: number): Section => ({
    from: `${LISTED} AND status = ? AND ${IS_LATE} = ?`,
    values: [status, isLate],
  });
  if (isFinal(status)) return [listed(0), listed(1)];
  return status === "running" ? [listed(0), { from: RUNNING_FAST, values: [] }] : [listed(0)];
}

/** Newest first; within a millisecond, the greater id first. */
export function byAge(a: Pick<TaskRow, "created_at_ms" | "id">, b: typeof a): number {
  return b.created_at_ms - a.created_at_ms || (a.id < b.id ? 1 : -1);
}
