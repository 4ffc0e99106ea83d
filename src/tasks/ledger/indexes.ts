/**
 * The indexes on the table of tasks, and the conditions by which a query finds its index: SQLite takes a partial index
 * only for a query that has the same words.
 *
 * Each entry that is written is billed like a row, also one that is written anew because a column of it, or of its
 * index's condition, is named in an UPDATE; an entry that goes is free. So a task has as few entries as can be. One that
 * runs in the fast lane and soon succeeds, as nearly all do, has one at a time: among the fast, and then in the list.
 */

/** Tasks that run in the invocation of their submitter, each in its first claim. Soon after, each is something else. */
export const FAST = "status = 'running' AND lane = 'fast'";
/** All others: `lane` can be NULL. */
export const NOT_FAST = "(status <> 'running' OR lane IS NOT 'fast')";

/** How long after its creation a task may end and still be in the order of its creation when it is to be removed. */
export const SOON_MS = 60_000;
export const LATE = `finished_at_ms > created_at_ms + ${SOON_MS}`;
/** 1 for a task that has ended later than that, 0 for any other. */
export const IS_LATE = `ifnull(${LATE}, 0)`;

/** By type: newest first for a list. `due_at_ms` is there so that leases are found without a look at the rows. */
const ON_FAST = `task_fast ON task (type, created_at_ms, id, due_at_ms) WHERE ${FAST}`;
/**
 * For lists, counts, retries and removals. There are few statuses and types, so every list is a merge of a few ranges.
 * Of those that have ended soon, the first created are, but for a minute, the first to be removed.
 */
const ON_LISTED = `task_listed ON task (status, ${IS_LATE}, type, created_at_ms, id, finished_at_ms) WHERE ${NOT_FAST}`;
/** The ended tasks that are in another order when they are to be removed. */
const ON_LATE = `task_late ON task (status, finished_at_ms) WHERE ${LATE}`;
/** When the ledger must act on a task by itself. */
export const IS_DUE = `finished_at_ms IS NULL AND due_at_ms IS NOT NULL AND ${NOT_FAST}`;
const ON_WAKING = `task_waking ON task (due_at_ms) WHERE ${IS_DUE}`;
/** The queues, one per type and pool: a type at its concurrency limit, or a pool without a runner, holds up no other. */
const ON_QUEUE = "task_queue ON task (type, pool, rank_ms, id) WHERE status = 'queued'";
/** The tasks that occupy runners. */
const ON_RUNNERS = "task_runners ON task (pool) WHERE lane = 'long'";

/** Active tasks of types that limit each key by itself. Those of other types have no entry. */
export const KEYED = "concurrency_key IS NOT NULL AND finished_at_ms IS NULL";
/** The queues of keys, and which tasks of a key run. */
const ON_KEYED = `task_keyed ON task (type, status, concurrency_key, pool, rank_ms, id) WHERE ${KEYED}`;
/** What a pause does not hold back: hardly ever any. */
export const PASSING = "status = 'queued' AND passes_pause > 0";
const ON_PASSING = `task_passing ON task (type, rank_ms, id) WHERE ${PASSING}`;

const create = (indexes: string[]) => indexes.map((on) => `CREATE INDEX IF NOT EXISTS ${on};`).join("\n");

/** Those that 0.1.0 has as well. */
export const CREATE_SHARED_INDEXES = create([ON_QUEUE, ON_RUNNERS]);
export const CREATE_LEAN_INDEXES = create([ON_FAST, ON_LISTED, ON_LATE, ON_WAKING]);
export const CREATE_LIMIT_INDEXES = create([ON_KEYED, ON_PASSING]);

/**
 * For every start of a ledger. 0.1.0 makes these whenever it starts, so they are back after a rollback, and every task
 * would be written to them as well.
 */
export const DROP_OLD_INDEXES = ["task_due", "task_expiry", "task_kind"]
  .map((name) => `DROP INDEX IF EXISTS ${name};`)
  .join("\n");
