import { z } from "zod";
import { TASK_STATUSES, type TaskError, type TaskState } from "./rules.ts";

/** One task as SQLite keeps it: `input`, `result` and `error` are JSON text, times are ms since the epoch. */
export type TaskRow = TaskState & {
  id: string;
  type: string;
  input: string;
  created_at_ms: number;
  progress_ratio: number | null;
  progress_message: string | null;
  callback_url: string | null;
  /** How many events there are of it, and so the id of the last. */
  events: number;
};

/** One line of a task's history, save for the first; its number is its place in that. */
export type EventRow = { task_id: string; number: number; at_ms: number; name: string; data: string };

/** A request that was made under an Idempotency-Key. */
export type KeyRow = {
  key: string;
  fingerprint: string;
  /** JSON: of the tasks that it was to make. */
  task_ids: string;
  /** Until then, whoever holds it may still be making them; null once they are made. */
  lease_ends_at_ms: number | null;
  expires_at_ms: number;
};

export const CREATE_TABLES = `
  CREATE TABLE IF NOT EXISTS task (
    id               TEXT PRIMARY KEY,
    type             TEXT NOT NULL,
    input            TEXT NOT NULL,
    status           TEXT NOT NULL CHECK (status IN (${TASK_STATUSES.map((status) => `'${status}'`).join(", ")})),
    priority         INTEGER NOT NULL,
    rank_ms          INTEGER,
    token            INTEGER NOT NULL,
    attempt          INTEGER NOT NULL,
    crashes          INTEGER NOT NULL,
    is_resuming      INTEGER NOT NULL,
    lane             TEXT,
    due_at_ms        INTEGER CHECK (due_at_ms IS NOT NULL OR status = 'queued'),
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
  ) STRICT;
  -- Whom the ledger has to look at by itself, and when; and, apart, whom it has to remove.
  CREATE INDEX IF NOT EXISTS task_due ON task (due_at_ms) WHERE finished_at_ms IS NULL AND due_at_ms IS NOT NULL;
  CREATE INDEX IF NOT EXISTS task_expiry ON task (due_at_ms) WHERE finished_at_ms IS NOT NULL;
  -- The lines, one for each type, so that a type that is at its cap holds up no other.
  CREATE INDEX IF NOT EXISTS task_line ON task (type, rank_ms, id) WHERE status = 'queued';
  -- Who takes up room among the runners.
  CREATE INDEX IF NOT EXISTS task_long ON task (lane) WHERE lane = 'long';
  -- For listing, counting and retrying. Statuses and types are few, so any list is a merge of a few of its ranges.
  CREATE INDEX IF NOT EXISTS task_kind ON task (status, type, created_at_ms, id);

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
  ) STRICT;

  CREATE TABLE IF NOT EXISTS key (
    key              TEXT PRIMARY KEY,
    fingerprint      TEXT NOT NULL,
    task_ids         TEXT NOT NULL,
    lease_ends_at_ms INTEGER,
    expires_at_ms    INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX IF NOT EXISTS key_expiry ON key (expires_at_ms);
`;

/** As a caller names a type; longer than any type's name, it is none. */
export const typeNameSchema = z.string().max(64);

const moment = z.iso.datetime().nullable();

/** A task as its caller sees it. */
export const taskSchema = z
  .object({
    id: z.string(),
    type: z.string(),
    status: z.enum(TASK_STATUSES).meta({
      description:
        "`scheduled`: waits for its time (a delay, a retry, a sleep). `queued`: waits for room. " +
        "`cancelling`: its code has been asked to end. The last three are final; `failed` are the dead letters.",
    }),
    priority: z.int(),
    attempt: z.int().min(0).meta({ description: "0 until it has begun." }),
    crashes: z.int().min(0).meta({ description: "How often the machine that ran it died." }),
    input: z.unknown(),
    progress: z.object({ ratio: z.number(), message: z.string().nullable() }).nullable(),
    createdAt: z.iso.datetime(),
    runAt: moment.meta({ description: "While it is scheduled: when it is to be queued." }),
    startedAt: moment,
    finishedAt: moment,
    result: z.unknown().meta({ description: "What the task returned; null until it has succeeded." }),
    error: z
      .object({ name: z.string(), message: z.string() })
      .nullable()
      .meta({ description: "Why it failed; before that, why its last attempt did." }),
    callbackUrl: z.string().nullable(),
  })
  .meta({ id: "Task" });

export type Task = z.output<typeof taskSchema>;

/** A row as its caller sees it. What is not readable any more is null: it must not hide the rest. */
export function toTask(row: TaskRow): Task {
  return {
    id: row.id,
    type: row.type,
    status: row.status,
    priority: row.priority,
    attempt: row.attempt,
    crashes: row.crashes,
    input: readJsonOrNull(row.input),
    progress:
      row.progress_ratio === null ? null : { ratio: row.progress_ratio, message: row.progress_message },
    createdAt: time(row.created_at_ms) ?? new Date(0).toISOString(),
    runAt: row.status === "scheduled" ? time(row.due_at_ms) : null,
    startedAt: time(row.started_at_ms),
    finishedAt: time(row.finished_at_ms),
    result: row.result === null ? null : readJsonOrNull(row.result),
    error: row.error === null ? null : readError(row.error),
    callbackUrl: row.callback_url,
  };
}

/** Within what a date can be (ECMA-262 §21.4.1.1); anything else is not readable. */
const LATEST_MS = 8.64e15;

const time = (ms: number | null) =>
  ms === null || Math.abs(ms) > LATEST_MS ? null : new Date(ms).toISOString();

const errorSchema = z.object({ name: z.string(), message: z.string() });

function readError(text: string): TaskError {
  const parsed = errorSchema.safeParse(readJsonOrNull(text));
  return parsed.success ? parsed.data : { name: "Error", message: "The error is not readable any more." };
}

function readJsonOrNull(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** What a caller gets for each task that was started. */
export const taskLinkSchema = z.object({ id: z.string(), url: z.url() }).meta({ id: "TaskLink" });

/** `base` is any URL of this Worker. */
export function taskLink(id: string, base: string): z.output<typeof taskLinkSchema> {
  return { id, url: new URL(`/tasks/${id}`, base).href };
}
