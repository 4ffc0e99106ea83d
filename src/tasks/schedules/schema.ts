import { z } from "zod";
import { addColumns } from "../../kernel/schema.ts";
import { TASK_STATUSES } from "../ledger/task-state.ts";
import { followUpsSchema } from "../types/follow-ups.ts";
import { guardError, guardMembers } from "../types/guards.ts";
import { tagsSchema } from "../types/tags.ts";
import { typeNameSchema } from "../types/type-name.ts";
import { nextRuns } from "./pattern.ts";
import { MISSED_POLICIES, type MissedPolicy, NEVER_MS, OVERLAPS, type Overlap, type Run } from "./rules.ts";

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
  /** The first tick that is not decided yet; `NEVER_MS` while the schedule is paused. */
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
  /** The latest runs, newest first, as JSON text of `Run`s. In the row, since a row of their own would cost more. */
  last_runs?: string | null;
  /** The tags of each run, likewise. */
  tags?: string | null;
  /** Their guard, as `GuardMembers`, likewise. */
  guard?: string | null;
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
  addColumns("schedule", { last_runs: "TEXT" }),
  addColumns("schedule", { tags: "TEXT" }),
  addColumns("schedule", { guard: "TEXT" }),
];

/** The members of a schedule that callers set, without their defaults. */
const members = {
  cron: z
    .string()
    .max(200)
    .meta({
      description:
        "Minute, hour, day of the month, month, day of the week; or `@hourly`, `@daily` (`@midnight`), `@weekly`, `@monthly`, " +
        "`@yearly` (`@annually`). Of the two days, either has to fit; both if the second begins with `+`.",
      example: "30 2 * * MON-FRI",
    }),
  time_zone: z.string().max(100).meta({
    description: "A name from the IANA database. Daylight saving time is observed. Default: UTC.",
    example: "Europe/Berlin",
  }),
  type: typeNameSchema.meta({ description: "The name of a task type.", example: "task_a" }),
  input: z.unknown().meta({ description: "The input, as the task type requires it. Default: {}." }),
  then: followUpsSchema.meta({
    description: "Tasks that start when a run has succeeded, each with its result and input filled in.",
  }),
  tags: tagsSchema,
  ...guardMembers,
  overlap: z.enum(OVERLAPS).meta({
    description:
      "While the previous run has not ended, a tick is dropped (`skip`) or waits (`queue`). Runs of one schedule " +
      "never overlap. Default: skip.",
  }),
  missed: z.enum(MISSED_POLICIES).meta({
    description:
      "Of the ticks that are more than 60 s late, the last one still runs (`run_once`), or none does (`skip`). " +
      "Default: run_once.",
  }),
  paused: z.boolean().meta({ description: "No tick is taken. Default: false." }),
};

/** The body of `POST /schedules`, and of `PUT /schedules/{id}`. */
export const newScheduleSchema = z
  .strictObject({
    cron: members.cron,
    time_zone: members.time_zone.optional().transform((zone) => zone ?? "UTC"),
    type: members.type,
    input: members.input.optional().transform((input) => (input === undefined ? {} : input)),
    then: members.then.optional(),
    tags: members.tags,
    unique: members.unique,
    debounce: members.debounce,
    overlap: members.overlap.optional().transform((overlap) => overlap ?? "skip"),
    missed: members.missed.optional().transform((missed) => missed ?? "run_once"),
    paused: members.paused.optional().transform((paused) => paused ?? false),
  })
  .superRefine((schedule, ctx) => {
    const wrong = guardError(schedule);
    if (wrong) ctx.addIssue({ code: "custom", message: wrong.detail, path: [wrong.at] });
  })
  .meta({ id: "NewSchedule" });

/** The body of `PATCH /schedules/{id}`. */
export const scheduleChangeSchema = z
  .strictObject({
    ...members,
    then: members.then.nullable().meta({ description: "As in NewSchedule. null: nothing follows any more." }),
    tags: members.tags.nullable().meta({ description: "As in NewSchedule. null: none any more." }),
    unique: members.unique.nullable().meta({ description: "As in NewSchedule. null: not any more." }),
    debounce: members.debounce.nullable().meta({ description: "As in NewSchedule. null: not any more." }),
  })
  .partial()
  .meta({
    id: "ScheduleChange",
    description: "What is left out stays as it is. Each member that is named is replaced whole.",
  });

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
    unique: z.unknown().optional(),
    debounce: z.unknown().optional(),
    overlap: z.enum(OVERLAPS),
    missed: z.enum(MISSED_POLICIES),
    declared: z.boolean().meta({
      description: "Declared in code: it can be changed or deleted there, and not through the API.",
    }),
    paused: z.boolean().meta({ description: "No tick is taken. A run by hand is possible." }),
    createdAt: z.iso.datetime(),
    next: z.array(z.iso.datetime()).meta({ description: "The next five ticks; none while it is paused." }),
    lastTickAt: z.iso.datetime().nullable().meta({
      description: "The last tick or run by hand that has a task, if any. `lastTaskId` is that.",
    }),
    lastTaskId: z.string().nullable(),
    lastTaskUrl: z.url().nullable(),
    waiting: z.int().meta({ description: "How many ticks wait for the previous run to end; at most 100." }),
    skippedCount: z.int().meta({
      description:
        "How many ticks were dropped because of the previous run, or of a unique key that was held.",
    }),
    missedCount: z.int().meta({
      description: "How many ticks were missed and never ran; at most 100 are counted per downtime.",
    }),
    lastError: z.object({ name: z.string(), message: z.string() }).nullable().meta({
      description:
        "Why the latest tick could not be enqueued. It is tried again; null once it has succeeded.",
    }),
  })
  .meta({ id: "Schedule" });

/** A run of a schedule as callers see it. */
export const scheduleRunSchema = z
  .object({
    dueAt: z.iso.datetime().meta({ description: "The tick, or when it was asked for by hand." }),
    taskId: z.string(),
    taskUrl: z.url(),
    enqueuedAt: z.iso.datetime(),
    status: z
      .enum(TASK_STATUSES)
      .nullable()
      .meta({ description: "Of the task; null if it has been deleted, or is not kept any longer." }),
    startedAt: z.iso.datetime().nullable(),
    finishedAt: z.iso.datetime().nullable(),
  })
  .meta({ id: "ScheduleRun" });

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
    ...(row.guard ? z.record(z.string(), z.unknown()).parse(JSON.parse(row.guard)) : {}),
    overlap,
    missed,
    declared: row.is_declared === 1,
    paused: isPaused(row),
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

/** Empty if it is paused, or if the pattern can no longer be read: that must not hide the other schedules. */
function nextTimes(row: ScheduleRow, nowMs: number): string[] {
  if (isPaused(row)) return [];
  try {
    return nextRuns(timingOf(row), 5, nowMs).map(time);
  } catch {
    return [];
  }
}

const runsSchema = z.array(z.tuple([z.int(), z.string(), z.int()]));

/** The latest runs, newest first. */
export const runsOf = ({ last_runs }: ScheduleRow): Run[] => runsSchema.parse(JSON.parse(last_runs ?? "[]"));

export const isPaused = (row: ScheduleRow): boolean => row.next_at_ms >= NEVER_MS;

export const time = (ms: number): string => new Date(ms).toISOString();
