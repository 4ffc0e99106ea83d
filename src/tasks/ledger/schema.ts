import { z } from "zod";
import { cleanUrl } from "../../kernel/clean-url.ts";
import { addColumns } from "../../kernel/schema.ts";
import { parseTraceparent } from "../../kernel/trace.ts";
import { CALLBACK_TYPE } from "../types/define.ts";
import { CREATE_FLOWS, childrenSchema, type FlowView, parentSchema } from "./flow-schema.ts";
import { CREATE_GUARD_INDEX, GUARD_COLUMNS } from "./guard-columns.ts";
import {
  CREATE_LEAN_INDEXES,
  CREATE_LIMIT_INDEXES,
  CREATE_SHARED_INDEXES,
  DROP_OLD_INDEXES,
} from "./indexes.ts";
import { TASK_STATUSES, type TaskError, type TaskState } from "./task-state.ts";
import { CREATE_TAGS } from "./task-tags.ts";
import { CREATE_WAITS, WAIT_FOR_TASKS, type WaitingFor, waitingForSchema } from "./wait-schema.ts";

/** A task as SQLite stores it: `input`, `result` and `error` are JSON text, times are ms since the epoch. */
export type TaskRow = TaskState & {
  id: string;
  type: string;
  input: string;
  created_at_ms: number;
  progress_ratio: number | null;
  progress_message: string | null;
  callback_url: string | null;
  /** The follow-ups that have still to start, as JSON text. */
  then_tasks: string | null;
  /** The ids of those that have started, as JSON text. Missing in what a ledger of an earlier version sends. */
  follow_ups?: string | null;
  /** The `traceparent` that its runs continue. Missing in what a ledger of an earlier version sends. */
  trace?: string | null;
  /** By which its type limits it, if it does so by key. Missing in what a ledger of an earlier version sends. */
  concurrency_key?: string | null;
  /** Its tags, as JSON text, and the schedule that it is a run of. Missing in what a ledger of an earlier version sends. */
  tags?: string | null;
  schedule_id?: string | null;
  /** The number of events that are stored. The last one of a task that has ended is not: the row says what is in it. */
  events: number;
};

/** A task as `getTask` returns it. */
export type TaskView = TaskRow & {
  /** Of a task that is parked. */
  waiting_for?: WaitingFor;
  /** Of a task that has a parent or children. */
  flow?: FlowView;
};

/** One event of a task's history, numbered by its place there. The table has neither the first nor, usually, the last. */
export type EventRow = { task_id: string; number: number; at_ms: number; name: string; data: string };

/** A request that came with an Idempotency-Key. */
export type KeyRow = {
  key: string;
  fingerprint: string;
  /** JSON text: the ids of the tasks that the request creates. */
  task_ids: string;
  /** Until then, the holder may still be creating the tasks; null once they exist. */
  lease_ends_at_ms: number | null;
  expires_at_ms: number;
};

/** Without a rowid, whose index would be one more row to write. Those of ledgers that 0.1.0 has made keep theirs. */
const CREATE_TABLES = `
  CREATE TABLE IF NOT EXISTS task (
    id               TEXT PRIMARY KEY,
    type             TEXT NOT NULL,
    input            TEXT NOT NULL,
    status           TEXT NOT NULL,
    priority         INTEGER NOT NULL,
    rank_ms          INTEGER,
    token            INTEGER NOT NULL,
    attempt          INTEGER NOT NULL,
    crashes          INTEGER NOT NULL,
    has_new_step     INTEGER NOT NULL DEFAULT 0,
    is_resuming      INTEGER NOT NULL,
    lane             TEXT,
    pool             TEXT NOT NULL,
    busy_until_ms    INTEGER NOT NULL,
    due_at_ms        INTEGER,
    run_at_ms        INTEGER NOT NULL,
    created_at_ms    INTEGER NOT NULL,
    started_at_ms    INTEGER,
    attempt_started_at_ms INTEGER,
    spent_ms         INTEGER NOT NULL,
    finished_at_ms   INTEGER,
    progress_ratio   REAL,
    progress_message TEXT,
    callback_url     TEXT,
    first_event      TEXT NOT NULL,
    events           INTEGER NOT NULL,
    result           TEXT,
    error            TEXT
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS event (
    task_id TEXT NOT NULL,
    number  INTEGER NOT NULL,
    at_ms   INTEGER NOT NULL,
    name    TEXT NOT NULL,
    data    TEXT NOT NULL,
    PRIMARY KEY (task_id, number)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE IF NOT EXISTS step (
    task_id TEXT NOT NULL,
    name    TEXT NOT NULL,
    result  TEXT NOT NULL,
    PRIMARY KEY (task_id, name)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE IF NOT EXISTS key (
    key              TEXT PRIMARY KEY,
    fingerprint      TEXT NOT NULL,
    task_ids         TEXT NOT NULL,
    lease_ends_at_ms INTEGER,
    expires_at_ms    INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS key_expiry ON key (expires_at_ms);
`;

/** Columns that a table of 0.1.0, or of a version before that, lacks. */
const ADDED_COLUMNS = {
  pool: "TEXT NOT NULL DEFAULT 'new'",
  busy_until_ms: "INTEGER NOT NULL DEFAULT 0",
  has_new_step: "INTEGER NOT NULL DEFAULT 0",
};

/** Whoever got the task's first claim with its submission, and gets it again if the reply was lost. */
const CLAIMANT = { claimant: "TEXT" };

const FOLLOW_UPS = { then_tasks: "TEXT", follow_ups: "TEXT" };
/**
 * The tasks whose end a version without follow-ups has written, after a rollback. This version writes no entry: it takes
 * `then_tasks` away before it writes the end.
 */
export const IS_FORGOTTEN = "then_tasks IS NOT NULL AND status = 'succeeded'";
const CREATE_FORGOTTEN_INDEX = `CREATE INDEX IF NOT EXISTS task_forgotten ON task (id) WHERE ${IS_FORGOTTEN};`;

const LIMITED = { concurrency_key: "TEXT", passes_pause: "INTEGER NOT NULL DEFAULT 0" };
/** How far types are that have keys or a rate (dispatch-table.ts). */
const CREATE_DISPATCH = `
  CREATE TABLE IF NOT EXISTS dispatch (
    type        TEXT PRIMARY KEY,
    last_key    TEXT NOT NULL,
    next_due_ms REAL NOT NULL
  ) STRICT, WITHOUT ROWID;
`;

/** Tasks on their way to another shard (handovers.ts). */
const CREATE_HANDOVERS = `
  CREATE TABLE IF NOT EXISTS handover (
    id        TEXT PRIMARY KEY,
    task      TEXT NOT NULL,
    tries     INTEGER NOT NULL,
    due_at_ms INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
`;

/** Of each task that has saved one, the last. */
const CREATE_CHECKPOINTS = `
  CREATE TABLE IF NOT EXISTS checkpoint (
    task_id TEXT PRIMARY KEY,
    value   TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;
`;

export const MIGRATIONS = [
  CREATE_TABLES,
  addColumns("task", ADDED_COLUMNS),
  // After the columns: an index may be on one that was added.
  CREATE_SHARED_INDEXES,
  addColumns("task", CLAIMANT),
  CREATE_LEAN_INDEXES,
  CREATE_CHECKPOINTS,
  addColumns("task", FOLLOW_UPS),
  CREATE_FORGOTTEN_INDEX + CREATE_HANDOVERS,
  addColumns("task", { trace: "TEXT" }),
  addColumns("task", LIMITED),
  CREATE_DISPATCH + CREATE_LIMIT_INDEXES,
  CREATE_WAITS,
  addColumns("task", { tags: "TEXT", schedule_id: "TEXT" }),
  CREATE_TAGS,
  addColumns("task", GUARD_COLUMNS),
  CREATE_GUARD_INDEX,
  addColumns("wait", WAIT_FOR_TASKS),
  CREATE_FLOWS,
];

/**
 * The tables of 0.1.0 have a CHECK for each status and pool there was, which another one would break, and SQLite can only
 * remove it by copying the table, of up to 10 GB.
 */
const IGNORE_OLD_CHECKS = "PRAGMA ignore_check_constraints = ON;";

export const FOR_EVERY_START = IGNORE_OLD_CHECKS + DROP_OLD_INDEXES;

const moment = z.iso.datetime().nullable();

/** A task as callers see it. */
export const taskSchema = z
  .object({
    id: z.string(),
    type: z.string(),
    status: z.enum(TASK_STATUSES).meta({
      description:
        "`scheduled`: waits for its time (a delay, a retry, a sleep) or for a signal. `queued`: waits for a free slot. " +
        "`cancelling`: its code has been asked to stop. The last three are final; `failed` tasks are the dead letters.",
    }),
    priority: z.int(),
    attempt: z.int().min(0).meta({ description: "0 until the first attempt has begun." }),
    crashes: z.int().min(0).meta({
      description:
        "How often the machine that ran the task died. A crash counts as the first one if a step was recorded before.",
    }),
    input: z.unknown(),
    progress: z.object({ ratio: z.number(), message: z.string().nullable() }).nullable(),
    createdAt: z.iso.datetime(),
    runAt: moment.meta({ description: "While the task is scheduled: when it will be queued." }),
    startedAt: moment,
    finishedAt: moment,
    result: z.unknown().meta({ description: "What the task returned; null until it has succeeded." }),
    error: z
      .object({ name: z.string(), message: z.string() })
      .nullable()
      .meta({ description: "Why the task failed; before that, why its last attempt failed." }),
    callbackUrl: z.string().nullable().meta({ description: "Without its query, which may hold a secret." }),
    traceId: z.string().optional().meta({
      description:
        "Of the W3C trace that it was submitted in, and that its runs and its callback are part of.",
    }),
    tags: z.array(z.string()).optional().meta({ description: "Missing if it has none." }),
    scheduleId: z.string().optional().meta({ description: "Of the schedule that it is a run of." }),
    waitingFor: waitingForSchema,
    parent: parentSchema,
    children: childrenSchema,
    followUps: z.array(z.string()).meta({
      description: "The ids of the tasks that started when it succeeded: those of `then`, in their order.",
    }),
  })
  .meta({ id: "Task" });

export type Task = z.output<typeof taskSchema>;

/** A row as callers see it. A value that can no longer be read becomes null, so that it does not hide the others. */
export function toTask(row: TaskView): Task {
  return {
    id: row.id,
    type: row.type,
    status: row.status,
    priority: row.priority,
    attempt: row.attempt,
    crashes: row.crashes,
    input: row.type === CALLBACK_TYPE ? withCleanUrl(row.input) : readJsonOrNull(row.input),
    progress:
      row.progress_ratio === null ? null : { ratio: row.progress_ratio, message: row.progress_message },
    createdAt: time(row.created_at_ms) ?? new Date(0).toISOString(),
    runAt: row.status === "scheduled" ? time(row.due_at_ms) : null,
    startedAt: time(row.started_at_ms),
    finishedAt: time(row.finished_at_ms),
    result: row.result === null ? null : readJsonOrNull(row.result),
    error: row.error === null ? null : readError(row.error),
    callbackUrl: row.callback_url === null ? null : cleanUrl(row.callback_url),
    ...traceIdOf(row),
    ...labelsOf(row),
    ...(row.waiting_for ? { waitingFor: row.waiting_for } : {}),
    ...(row.flow ? treeOf(row.flow) : {}),
    followUps: readIds(row.follow_ups ?? "[]"),
  };
}

/** A child that its shard does not have yet is on its way there. */
const treeOf = ({ parent, children }: FlowView): Pick<Task, "parent" | "children"> => ({
  ...(parent === undefined ? {} : { parent }),
  ...(children && { children: children.map((child) => ({ ...child, status: child.status ?? "queued" })) }),
});

function traceIdOf({ trace }: TaskRow): { traceId?: string } {
  const context = parseTraceparent(trace);
  return context ? { traceId: context.traceId } : {};
}

function labelsOf({ tags, schedule_id }: TaskRow): { tags?: string[]; scheduleId?: string } {
  return { ...(tags ? { tags: readIds(tags) } : {}), ...(schedule_id ? { scheduleId: schedule_id } : {}) };
}

/** A task in a list: without its input and result, which may be long. */
export const taskLineSchema = taskSchema
  .omit({ input: true, result: true, waitingFor: true, parent: true, children: true })
  .meta({ id: "TaskLine" });

export type TaskLine = z.output<typeof taskLineSchema>;

export function toLine(row: TaskRow): TaskLine {
  const { input: _input, result: _result, ...line } = toTask(row);
  return line;
}

/** The range of a date (ECMA-262 §21.4.1.1). A time outside it cannot be shown. */
const MAX_DATE_MS = 8.64e15;

const time = (ms: number | null) =>
  ms === null || Math.abs(ms) > MAX_DATE_MS ? null : new Date(ms).toISOString();

const errorSchema = z.object({ name: z.string(), message: z.string() });

export function readError(text: string): TaskError {
  const parsed = errorSchema.safeParse(readJsonOrNull(text));
  return parsed.success
    ? parsed.data
    : { name: "Error", message: "The recorded error can no longer be read." };
}

export const readIds = (text: string): string[] =>
  z.array(z.string()).safeParse(readJsonOrNull(text)).data ?? [];

/** The input of a callback, whose URL is shown like that of the task which it reports. */
function withCleanUrl(text: string): unknown {
  const parsed = z.looseObject({ url: z.url() }).safeParse(readJsonOrNull(text));
  return parsed.success ? { ...parsed.data, url: cleanUrl(parsed.data.url) } : null;
}

export function readJsonOrNull(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** What a caller receives for each task that was started. */
export const taskLinkSchema = z.object({ id: z.string(), url: z.url() }).meta({ id: "TaskLink" });

/** `base` is any URL of this Worker, as the runtime writes it. Not parsed: each submission has links. */
export function taskLink(id: string, base: string): z.output<typeof taskLinkSchema> {
  const [origin = ""] = /^https?:\/\/[^/]+/.exec(base) ?? [];
  return { id, url: `${origin}/tasks/${id}` };
}
