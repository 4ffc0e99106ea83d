/** The columns of guarded tasks, and the index that has only those that hold a key (guards.ts). */
export const GUARD_COLUMNS = { guard_key: "TEXT", holds_key: "INTEGER" };
export const CREATE_GUARD_INDEX =
  "CREATE UNIQUE INDEX IF NOT EXISTS task_guard ON task (guard_key) WHERE holds_key = 1;";
