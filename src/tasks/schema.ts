import { z } from "zod";
import { statusAt, TASK_STATUSES, type TaskStatus } from "./rules.ts";

/** One task as SQLite keeps it: `input`, `result` and `error` are JSON text, times are ms since the epoch. */
export interface TaskRow {
  [column: string]: SqlStorageValue;
  id: string;
  type: string;
  input: string;
  status: TaskStatus;
  /** How often it has been claimed, and so the fencing token of the latest claim. */
  token: number;
  lease_ends_at_ms: number;
  created_at_ms: number;
  started_at_ms: number;
  finished_at_ms: number | null;
  result: string | null;
  error: string | null;
}

export const CREATE_TABLES = `
  CREATE TABLE IF NOT EXISTS task (
    id               TEXT PRIMARY KEY,
    type             TEXT NOT NULL,
    input            TEXT NOT NULL,
    status           TEXT NOT NULL,
    token            INTEGER NOT NULL,
    lease_ends_at_ms INTEGER NOT NULL,
    created_at_ms    INTEGER NOT NULL,
    started_at_ms    INTEGER NOT NULL,
    finished_at_ms   INTEGER,
    result           TEXT,
    error            TEXT
  ) STRICT, WITHOUT ROWID;
  -- Finding the dead costs what is running, not what is kept.
  CREATE INDEX IF NOT EXISTS task_running ON task (lease_ends_at_ms) WHERE status = 'running';
`;

/** A task as its caller sees it. */
export const taskSchema = z
  .object({
    id: z.string(),
    type: z.string(),
    status: z.enum(TASK_STATUSES).meta({
      description: "`lost`: its Worker stopped reporting before the task had finished.",
    }),
    attempt: z.int().min(1),
    input: z.unknown(),
    createdAt: z.iso.datetime(),
    startedAt: z.iso.datetime(),
    finishedAt: z.iso.datetime().nullable(),
    result: z.unknown().meta({ description: "What the task returned; null until it has succeeded." }),
    error: z.object({ name: z.string(), message: z.string() }).nullable(),
  })
  .meta({ id: "Task" });

export type Task = z.output<typeof taskSchema>;

/** A row as its caller sees it at `nowMs`. */
export function toTask(row: TaskRow, nowMs: number): Task {
  return {
    id: row.id,
    type: row.type,
    status: statusAt(row, nowMs),
    attempt: row.token,
    input: JSON.parse(row.input),
    createdAt: time(row.created_at_ms),
    startedAt: time(row.started_at_ms),
    finishedAt: row.finished_at_ms === null ? null : time(row.finished_at_ms),
    result: row.result === null ? null : JSON.parse(row.result),
    error: row.error === null ? null : JSON.parse(row.error),
  };
}

const time = (ms: number): string => new Date(ms).toISOString();

/** What a caller gets for each task that was started. */
export const taskLinkSchema = z.object({ id: z.string(), url: z.url() }).meta({ id: "TaskLink" });
