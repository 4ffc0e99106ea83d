import { z } from "zod";
import { addColumns } from "../../kernel/schema.ts";
import { followUpsSchema } from "../types/follow-ups.ts";
import { tagsSchema } from "../types/tags.ts";
import { typeNameSchema } from "../types/type-name.ts";
import type { ScheduleSpec } from "./registry.ts";
import { MISSED_POLICIES, type MissedPolicy, nextRuns, OVERLAPS, type Overlap } from "./rules.ts";

/** A schedule as SQLite stores it: `input` and `last_error` are JSON text, times are ms since the epoch. */
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
  /** The first tick that is not decided yet. */
  next_at_ms: number;
  /** When the alarm must handle the schedule: at that tick, or sooner while ticks wait or after a failure. */
  look_at_ms: number;
  last_tick_at_ms: number | null;
  last_task_id: string | null;
  skipped_count: number;
  missed_count: number;
  last_error: string | null;
  /** The follow-ups of each run, as JSON text. Missing in what a scheduler of an earlier version sends. */
  then_tasks?: string | null;
  /** The tags of each run, likewise. */
  tags?: string | null;
};

/** A row, with the number of ticks that were taken but not enqueued yet. */
export type CountedRow = ScheduleRow & { waiting: number };

const CREATE_TABLES = `
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
  -- The ticks that were taken, each until its run is in the ledger.
  CREATE TABLE IF NOT EXISTS tick (
    schedule_id TEXT NOT NULL,
    at_ms       INTEGER NOT NULL,
    PRIMARY KEY (schedule_id, at_ms)
  ) STRICT, WITHOUT ROWID;
`;

/** Only ever append: see kernel/schema.ts. */
export const MIGRATIONS = [
  CREATE_TABLES,
  addColumns("schedule", { then_tasks: "TEXT" }),
  addColumns("schedule", { tags: "TEXT" }),
];

/** The column that turns a row into a counted row. */
export const WAITING = "(SELECT COUNT(*) FROM tick WHERE schedule_id = schedule.id) AS waiting";
export const COUNTED_ROWS = `SELECT *, ${WAITING} FROM schedule`;

/** The body of `POST /schedules`. */
export const newScheduleSchema = z
  .strictObject({
    cron: z.string().max(200).meta({
      description: "Minute, hour, day of the month, month, day of the week.",
      example: "30 2 * * MON-FRI",
    }),
    time_zone: z
      .string()
      .max(100)
      .optional()
      .transform((zone) => zone ?? "UTC")
      .meta({
        description: "A name from the IANA database. Daylight saving time is observed. Default: UTC.",
        example: "Europe/Berlin",
      }),
    type: typeNameSchema.meta({ description: "The name of a task type.", example: "task_a" }),
    input: z
      .unknown()
      .optional()
      .transform((input) => (input === undefined ? {} : input))
      .meta({ description: "The input, as the task type requires it. Default: {}." }),
    then: followUpsSchema.optional().meta({
      description: "Tasks that start when a run has succeeded, each with its result and input filled in.",
    }),
    tags: tagsSchema,
    overlap: z
      .enum(OVERLAPS)
      .optional()
      .transform((overlap) => overlap ?? "skip")
      .meta({
        description:
          "While the previous run has not ended, a tick is dropped (`skip`) or waits (`queue`). Runs of one schedule " +
          "never overlap. Default: skip.",
      }),
    missed: z
      .enum(MISSED_POLICIES)
      .optional()
      .transform((missed) => missed ?? "run_once")
      .meta({
        description:
          "Of the ticks that are more than 60 s late, the last one still runs (`run_once`), or none does (`skip`). " +
          "Default: run_once.",
      }),
  })
  .meta({ id: "NewSchedule" });

/** A schedule as callers see it. */
export const scheduleSchema = z
  .object({
    id: z.string(),
    url: z.url(),
    cron: z.string(),
    timeZone: z.string(),
    type: z.string(),
    input: z.unknown(),
    then: z.array(z.unknown()).meta({ description: "What follows each run that has succeeded." }),
    tags: z.array(z.string()).optional().meta({ description: "Of each run. Missing if there are none." }),
    overlap: z.enum(OVERLAPS),
    missed: z.enum(MISSED_POLICIES),
    declared: z.boolean().meta({ description: "Declared in code: it cannot be deleted through the API." }),
    createdAt: z.iso.datetime(),
    next: z.array(z.iso.datetime()).meta({ description: "The next five ticks." }),
    lastTickAt: z.iso.datetime().nullable().meta({
      description: "The last tick that ran, if any. `lastTaskId` is its task.",
    }),
    lastTaskId: z.string().nullable(),
    lastTaskUrl: z.url().nullable(),
    waiting: z.int().meta({ description: "How many ticks wait for the previous run to end; at most 100." }),
    skippedCount: z.int().meta({ description: "How many ticks were dropped because of the previous run." }),
    missedCount: z.int().meta({
      description: "How many ticks were missed and never ran; at most 100 are counted per downtime.",
    }),
    lastError: z.object({ name: z.string(), message: z.string() }).nullable().meta({
      description:
        "Why the latest tick could not be enqueued. It is tried again; null once it has succeeded.",
    }),
  })
  .meta({ id: "Schedule" });

export type Schedule = z.output<typeof scheduleSchema>;

const errorSchema = scheduleSchema.shape.lastError;

/** A row as callers see it at `nowMs`. `base` is any URL of this Worker. */
export function toSchedule(row: CountedRow, nowMs: number, base: string): Schedule {
  const { id, cron, type, overlap, missed, waiting, last_task_id: lastTaskId } = row;
  return {
    id,
    url: new URL(`/schedules/${id}`, base).href,
    cron,
    timeZone: row.time_zone,
    type,
    input: JSON.parse(row.input),
    then: z.array(z.unknown()).parse(JSON.parse(row.then_tasks ?? "[]")),
    ...(row.tags ? { tags: z.array(z.string()).parse(JSON.parse(row.tags)) } : {}),
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

/** The timing of a row, as the rules name its parts. */
export const timingOf = ({ cron, time_zone }: ScheduleRow) => ({ cron, timeZone: time_zone });

/** Empty if the pattern can no longer be read: that must not hide the other schedules. */
function nextTimes(row: ScheduleRow, nowMs: number): string[] {
  try {
    return nextRuns(timingOf(row), 5, nowMs).map(time);
  } catch {
    return [];
  }
}

const time = (ms: number): string => new Date(ms).toISOString();

/** What must change so that the stored declared schedules match the code. */
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
  (row.then_tasks ?? null) === (spec.then ?? null) &&
  (row.tags ?? null) === (spec.tags ?? null) &&
  row.overlap === spec.overlap &&
  row.missed === spec.missed;
