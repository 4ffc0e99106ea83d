/**
 * Finds the tasks that match a filter for which there is no index, newest first. A call looks at a bounded number of tasks,
 * and says how far it has come; the next one goes on there.
 */
import { SOON_MS } from "./indexes.ts";
import type { TaskRow } from "./schema.ts";
import { createdSpan, matches, type TaskFilter } from "./task-filter.ts";
import { byAge, type Page, type Section, sectionsOf, type TaskQueries } from "./task-queries.ts";
import { isFinal, TASK_STATUSES, type TaskStatus } from "./task-state.ts";
import { LEAN_COLUMNS } from "./task-table.ts";

export interface Search {
  filter: TaskFilter;
  /** Only tasks after this one in the list. */
  before: Page["before"];
  limit: number;
}

/** A part of a list: all that match, from where the search began to `until`. Null: to the end. */
export interface Found {
  rows: TaskRow[];
  until: Page["before"] | null;
}

/** How many tasks one call looks at, but at least so many of each part of the list. */
const MAX_LOOKED_AT = 2_000;
const MIN_OF_PART = 20;

/** A part of the list: a query for its tasks, newest first. `?` after the values: how many. */
interface Part {
  query: string;
  values: SqlStorageValue[];
}

export class TaskSearch {
  readonly #sql: SqlStorage;
  readonly #queries: TaskQueries;

  constructor(sql: SqlStorage, queries: TaskQueries) {
    this.#sql = sql;
    this.#queries = queries;
  }

  find(search: Search): Found {
    const parts = this.#parts(search);
    const share = Math.max(MIN_OF_PART, Math.floor(MAX_LOOKED_AT / Math.max(1, parts.length)));
    const rows: TaskRow[] = [];
    const ends: TaskRow[] = [];
    for (const { query, values } of parts) {
      const looked = this.#sql.exec<TaskRow>(query, ...values, share).toArray();
      rows.push(...looked.filter((row) => matches(row, search.filter)));
      const last = looked.at(-1);
      if (last && looked.length === share) ends.push(last);
    }
    return cut(rows, ends, search.limit);
  }

  #parts({ filter, before }: Search): Part[] {
    const [tag] = filter.tags ?? [];
    if (tag !== undefined) return [taggedPart(tag, filter, before)];
    return statusesOf(filter).flatMap((status) =>
      sectionsOf(status).flatMap((section) =>
        (filter.type === undefined ? this.#queries.typesIn(section) : [filter.type]).map((type) =>
          sectionPart(
            section,
            type,
            createdSpan(filter, isSoon(status, section) ? SOON_MS : undefined).fromMs,
            before,
          ),
        ),
      ),
    );
  }
}

/** Beyond the newest place at which a part was left, another task may be missing between those that were found. */
function cut(rows: TaskRow[], ends: TaskRow[], limit: number): Found {
  const [end] = ends.toSorted(byAge);
  const sure = rows
    .filter((row) => !end || byAge(row, end) <= 0)
    .toSorted(byAge)
    .slice(0, limit);
  const last = sure.length === limit ? sure.at(-1) : end;
  return { rows: sure, until: last ? { createdAtMs: last.created_at_ms, id: last.id } : null };
}

/** Those in which a task can match: only some have an error, or an end. */
function statusesOf({ statuses, error, finished }: TaskFilter): TaskStatus[] {
  return TASK_STATUSES.filter(
    (status) =>
      (statuses.length === 0 || statuses.includes(status)) &&
      (error === undefined || status !== "succeeded") &&
      (finished === undefined || isFinal(status)),
  );
}

/** The first section of a final status has the tasks that have ended soon. */
const isSoon = (status: TaskStatus, { values }: Section) => isFinal(status) && values[1] === 0;

const sectionPart = (
  { from, values }: Section,
  type: string,
  fromMs: number,
  { createdAtMs, id }: Page["before"],
): Part => ({
  query: `SELECT ${LEAN_COLUMNS} FROM ${from} AND type = ? AND created_at_ms >= ? AND (created_at_ms, id) < (?, ?)
    ORDER BY created_at_ms DESC, id DESC LIMIT ?`,
  values: [...values, type, fromMs, createdAtMs, id],
});

const taggedPart = (tag: string, filter: TaskFilter, { createdAtMs, id }: Page["before"]): Part => ({
  query: `SELECT ${LEAN_COLUMNS} FROM task WHERE id IN (
      SELECT task_id FROM task_tag WHERE tag = ? AND created_at_ms >= ? AND (created_at_ms, task_id) < (?, ?)
      ORDER BY created_at_ms DESC, task_id DESC LIMIT ?)
    ORDER BY created_at_ms DESC, id DESC`,
  values: [tag, createdSpan(filter).fromMs, createdAtMs, id],
});
