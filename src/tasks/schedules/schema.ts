import { z } from "zod";
import { typeNameSchema } from "../ledger/schema.ts";
import type { ScheduleSpec } from "./registry.ts";
import { MISSED_POLICIES, type MissedPolicy, nextRuns, OVERLAPS, type Overlap } from "./rules.ts";

/** One schedule as SQLite keeps it: `input` and `last_error` are JSON text, times are ms since the epoch. */
export type ScheduleRow = {
  id: string;
  cron: string;
  time_zone: string;
  type: string;
  input: string;
  overlap: Overlap;
  missed: MissedPolicy;
  is_declared: number;
  created_at_ms: number;
  /** The first tick that nothing has been decided about. */
  next_at_ms: number;
  /** When the alarm is to look at it: at that tick, or sooner, while ticks wait or after a failure. */
  look_at_ms: number;
  last_tick_at_ms: number | null;
  last_task_id: string | null;
  skipped_count: number;
  missed_count: number;
  last_error: string | null;
};

/** A row, and how many of its ticks were taken and are not enqueued yet. */
export type CountedRow = ScheduleRow & { waiting: number };

export const CREATE_SCHEDULE_TABLES = `
  CREATE TABLE IF NOT EXISTS schedule (
    id              TEXT PRIMARY KEY,
    cron            TEXT NOT NULL,
    time_zone       TEXT NOT NULL,
    type            TEXT NOT NULL,
    input           TEXT NOT NULL,
    overlap         TEXT NOT NULL,
    missed          TEXT NOT NULL,
    is_declared     INTEGER NOT NULL,
    created_at_ms   INTEGER NOT NULL,
    next_at_ms      INTEGER NOT NULL,
    look_at_ms      INTEGER NOT NULL,
    last_tick_at_ms INTEGER,
    last_task_id    TEXT,
    skipped_count   INTEGER NOT NULL DEFAULT 0,
    missed_count    INTEGER NOT NULL DEFAULT 0,
    last_error      TEXT
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS schedule_look ON schedule (look_at_ms);
  -- A tick that was taken, until its run is in the ledger.
  CREATE TABLE IF NOT EXISTS tick (
    schedule_id TEXT NOT NULL,
    at_ms       INTEGER NOT NULL,
    PRIMARY KEY (schedule_id, at_ms)
  ) STRICT, WITHOUT ROWID;
`;

/** The column that makes a row a counted one. */
export const WAITING = "(SELECT COUNT(*) FROM tick WHERE schedule_id = schedule.id) AS waiting";
export const COUNTED_ROWS = `SELECT *, ${WAITING} FROM schedule`;

/** What a caller asks for. */
export const newScheduleSchema = z
  .strictObject({
    cron: z.string().max(200).meta({
      description: "Minute, hour, day of the month, month, day of the week.",
      example: "30 2 * * MON-FRI",
    }),
    time_zone: z.string().max(100).default("UTC").meta({
      description: "Of the IANA database. Daylight saving time is kept.",
      example: "Europe/Berlin",
    }),
    type: typeNameSchema.meta({ description: "The name of a task type.", example: "task_a" }),
    input: z.unknown().default({}).meta({ description: "What the task type takes." }),
    overlap: z.enum(OVERLAPS).default("skip").meta({
      description:
        "While the run before goes on, a tick is dropped, or waits. Runs of one schedule never overlap.",
    }),
    missed: z.enum(MISSED_POLICIES).default("run_once").meta({
      description: "Of the ticks that are more than 60 s late, the last runs after all, or none does.",
    }),
  })
  .meta({ id: "NewSchedule" });

/** A schedule as its caller sees it. */
export const scheduleSchema = z
  .object({
    id: z.string(),
    url: z.url(),
    cron: z.string(),
    timeZone: z.string(),
    type: z.string(),
    input: z.unknown(),
    overlap: z.enum(OVERLAPS),
    missed: z.enum(MISSED_POLICIES),
    declared: z.boolean().meta({ description: "In code: it cannot be deleted here." }),
    createdAt: z.iso.datetime(),
    next: z.array(z.iso.datetime()).meta({ description: "The next five ticks." }),
    lastTickAt: z.iso.datetime().nullable().meta({
      description: "The tick that ran last, if one has; with `lastTaskId`, its task.",
    }),
    lastTaskId: z.string().nullable(),
    lastTaskUrl: z.url().nullable(),
    waiting: z.int().meta({ description: "Ticks that wait for the run before to end; 100 at most." }),
    skippedCount: z.int().meta({ description: "Ticks that were dropped because of the run before." }),
    missedCount: z.int().meta({
      description: "Ticks that nobody was there for and that never ran; of one downtime, 100 at most count.",
    }),
    lastError: z.object({ name: z.string(), message: z.string() }).nullable().meta({
      description: "Why the latest tick could not be enqueued; it is tried again. Null once it could.",
    }),
  })
  .meta({ id: "Schedule" });

export type Schedule = z.output<typeof scheduleSchema>;

const errorSchema = scheduleSchema.shape.lastError;

/** A row as its caller sees it at `nowMs`; `base` is any URL of this Worker. */
export function toSchedule(row: CountedRow, nowMs: number, base: string): Schedule {
  const { id, cron, type, overlap, missed, waiting, last_task_id: lastTaskId } = row;
  return {
    id,
    url: new URL(`/schedules/${id}`, base).href,
    cron,
    timeZone: row.time_zone,
    type,
    input: JSON.parse(row.input),
    overlap,
    missed,
    declared: row.is_declared === 1,
    createdAt: time(row.created_at_ms),
    next: nextTimes(row, nowMs),
    lastTickAt: row.last_tick_at_ms === null ? null : time(row.last_tick_at_ms),
    lastTaskId,
    lastTaskUrl: lastTaskId === null ? null : new URL(`/tasks/${lastTaskId}`, base).href,
    waiting,
    skippedCount: row.skipped_count,
    missedCount: row.missed_count,
    lastError: row.last_error === null ? null : errorSchema.parse(JSON.parse(row.last_error)),
  };
}

/** What the rules call it. */
export const timingOf = ({ cron, time_zone }: ScheduleRow) => ({ cron, timeZone: time_zone });

/** None for a pattern that could be read once and cannot be any more: the others are still to be seen. */
function nextTimes(row: ScheduleRow, nowMs: number): string[] {
  try {
    return nextRuns(timingOf(row), 5, nowMs).map(time);
  } catch {
    return [];
  }
}

const time = (ms: number): string => new Date(ms).toISOString();

/** What has to change so that the declared ones of the rows are what the code says. */
export function compareDeclared(rows: ScheduleRow[], specs: readonly ScheduleSpec[]) {
  const declared = new Map(rows.filter((row) => row.is_declared === 1).map((row) => [row.id, row]));
  const changed = specs.filter((spec) => {
    const row = declared.get(spec.id);
    declared.delete(spec.id);
    return !row || !isSame(row, spec);
  });
  return { changed, gone: [...declared.keys()] };
}

const isSame = (row: ScheduleRow, spec: ScheduleSpec) =>
  row.cron === spec.cron &&
  row.time_zone === spec.timeZone &&
  row.type === spec.type &&
  row.input === spec.input &&
  row.overlap === spec.overlap &&
  row.missed === spec.missed;
