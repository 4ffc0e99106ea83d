/** The tables of a ledger, used directly, without the ledger's rules. */
import { Dispatch } from "../../src/tasks/ledger/dispatch.ts";
import { DispatchTable } from "../../src/tasks/ledger/dispatch-table.ts";
import { type Change, limitsOf } from "../../src/tasks/ledger/limits.ts";
import { submit } from "../../src/tasks/ledger/rules.ts";
import type { TaskRow } from "../../src/tasks/ledger/schema.ts";
import { TaskQueries } from "../../src/tasks/ledger/task-queries.ts";
import type { Pool, TaskStatus } from "../../src/tasks/ledger/task-state.ts";
import { TaskTable } from "../../src/tasks/ledger/task-table.ts";
import type { Lane } from "../../src/tasks/types/define.ts";
import { findTaskType } from "../../src/tasks/types/registry.ts";
import { inLedger, newLedgerName, T0 } from "./ledgers.ts";

export interface Tables {
  tasks: TaskTable;
  queries: TaskQueries;
  sql: SqlStorage;
  dispatch: Dispatch;
  /** What an operator has changed, by type. */
  changes: Map<string, Change>;
  /** The tasks for which the table has reported an event. */
  changedIds: string[];
}

/** Runs `action` on the tables of a new ledger. */
export const withTables = async (action: (tables: Tables) => void) =>
  inLedger(newLedgerName(), ({ storage: { sql } }) => {
    const changedIds: string[] = [];
    const tasks = new TaskTable(sql, (taskId) => changedIds.push(taskId));
    const queries = new TaskQueries(sql);
    const changes = new Map<string, Change>();
    const limits = (type: string) => limitsOf(findTaskType(type), changes.get(type));
    const dispatch = new Dispatch(queries, new DispatchTable(sql), limits);
    action({ tasks, queries, sql, dispatch, changes, changedIds });
  });

interface InsertOptions {
  type?: string;
  atMs?: number;
  priority?: number;
  runAtMs?: number;
  input?: string;
  lane?: Lane | null;
  pool?: Pool;
  key?: string | null;
  force?: boolean;
}

/** Inserts a task; false if its id is taken. */
export function insert({ tasks }: Pick<Tables, "tasks">, id: string, options: InsertOptions = {}): boolean {
  const {
    type = "t",
    atMs = T0,
    priority = 0,
    runAtMs = 0,
    input = "1",
    lane = null,
    pool = "new",
    key = null,
    force = false,
  } = options;
  return tasks.insert(
    { id, type, input, callbackUrl: null, concurrencyKey: key },
    submit(priority, runAtMs, lane, atMs, { pool, force }),
    atMs,
  );
}

export function leanRow({ tasks }: Pick<Tables, "tasks">, id: string): TaskRow {
  const row = tasks.getLean(id);
  if (!row) throw new Error(`there is no task ${id}`);
  return row;
}

export const STATUS_EVENT = { name: "status", data: {} } as const;

/** Saves the task with another status. */
export const setStatus = (tables: Pick<Tables, "tasks">, id: string, status: TaskStatus) =>
  tables.tasks.save({ task: { ...leanRow(tables, id), status, due_at_ms: T0 }, event: STATUS_EVENT }, T0);
