/**
 * The tags of a ledger's tasks: a task has them in its row, and each has an entry here, by which its tasks are found, newest
 * first. A task without tags has no entry.
 *
 * Triggers keep the two alike. So they stay alike when a release that knows no tags removes tasks, after a rollback.
 */
import type { TaskStatus } from "./task-state.ts";

export const CREATE_TAGS = `
  CREATE TABLE IF NOT EXISTS task_tag (
    tag           TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    task_id       TEXT NOT NULL,
    PRIMARY KEY (tag, created_at_ms, task_id)
  ) STRICT, WITHOUT ROWID;
  CREATE TRIGGER IF NOT EXISTS task_tagged AFTER INSERT ON task WHEN new.tags IS NOT NULL BEGIN
    INSERT OR IGNORE INTO task_tag (tag, created_at_ms, task_id)
      SELECT value, new.created_at_ms, new.id FROM json_each(new.tags);
  END;
  CREATE TRIGGER IF NOT EXISTS task_retagged AFTER UPDATE OF tags ON task WHEN old.tags IS NOT new.tags BEGIN
    DELETE FROM task_tag WHERE tag IN (SELECT value FROM json_each(coalesce(old.tags, '[]')))
      AND created_at_ms = old.created_at_ms AND task_id = old.id;
    INSERT OR IGNORE INTO task_tag (tag, created_at_ms, task_id)
      SELECT value, new.created_at_ms, new.id FROM json_each(coalesce(new.tags, '[]'));
  END;
  CREATE TRIGGER IF NOT EXISTS task_untagged AFTER DELETE ON task WHEN old.tags IS NOT NULL BEGIN
    DELETE FROM task_tag WHERE tag IN (SELECT value FROM json_each(old.tags))
      AND created_at_ms = old.created_at_ms AND task_id = old.id;
  END;
`;

/** How many tasks have a tag. */
export type TagCount = { tag: string; count: number };

/** How many tasks with a tag have a type and a status. */
export type TaggedCount = { type: string; status: TaskStatus; count: number };

/** How many tags are counted, and how many tasks of each: counting reads each entry. */
export const MAX_COUNTED_TAGS = 100;
const MAX_COUNTED = 1_000;
/** How many tasks with one tag are counted: counting reads each. */
const MAX_COUNTED_TASKS = 10_000;

/** The first tags in the order of their text. */
export function countTags(sql: SqlStorage): TagCount[] {
  const counts: TagCount[] = [];
  while (counts.length < MAX_COUNTED_TAGS) {
    const query = "SELECT tag FROM task_tag WHERE tag > ? ORDER BY tag LIMIT 1";
    const [next] = sql.exec<{ tag: string }>(query, counts.at(-1)?.tag ?? "").toArray();
    if (!next) break;
    const count = `SELECT count(*) AS count FROM (SELECT 1 FROM task_tag WHERE tag = ? LIMIT ${MAX_COUNTED})`;
    counts.push({ ...next, ...sql.exec<{ count: number }>(count, next.tag).one() });
  }
  return counts;
}

export function countTagged(sql: SqlStorage, tag: string): TaggedCount[] {
  return sql
    .exec<TaggedCount>(
      `SELECT type, status, count(*) AS count FROM task WHERE id IN
         (SELECT task_id FROM task_tag WHERE tag = ? LIMIT ${MAX_COUNTED_TASKS}) GROUP BY type, status`,
      tag,
    )
    .toArray();
}
