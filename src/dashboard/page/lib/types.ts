/** What the API says of tasks, schedules and files, as far as the page shows it. */

export const STATUSES = [
  "scheduled",
  "queued",
  "running",
  "cancelling",
  "succeeded",
  "failed",
  "cancelled",
] as const;
type Status = (typeof STATUSES)[number];

export const FINAL_STATUSES: readonly Status[] = ["succeeded", "failed", "cancelled"];

export interface TaskLine {
  id: string;
  type: string;
  status: Status;
  priority: number;
  attempt: number;
  crashes: number;
  progress: { ratio: number; message: string | null } | null;
  createdAt: string;
  runAt: string | null;
  startedAt: string | null;
  finishedAt: string | null;
  error: { name: string; message: string } | null;
  /** Missing if it has none. */
  tags?: string[];
  /** Of the schedule that it is a run of. */
  scheduleId?: string;
}

export interface Task extends TaskLine {
  input: unknown;
  result: unknown;
  /** Of the trace that it was submitted in, if that was named. */
  traceId?: string;
  /** While it waits for signals or children. */
  waitingFor?: WaitingFor[];
  followUps: string[];
  parent?: string;
  children?: Child[];
}

/** A signal, or children. */
export type WaitingFor = { signal: string; until: string } | { tasks: string[] };

export interface Child {
  id: string;
  type: string;
  status: Status;
}

export interface TaskType {
  name: string;
  input: JsonSchema;
  lane: "fast" | "long";
  concurrency: number | null;
  /** The concurrency is for each key. */
  perKey: boolean;
  rate: { per_second: number; burst: number } | null;
  /** null: not known at the moment. */
  paused: boolean | null;
  /** What this deployment lacks to run it; null if it can. */
  unavailableReason: string | null;
}

/** The part of JSON Schema that forms are made from. */
export interface JsonSchema {
  type?: string;
  description?: string;
  properties?: Record<string, JsonSchema>;
  required?: string[];
  enum?: unknown[];
  default?: unknown;
  example?: unknown;
}

export interface Schedule {
  id: string;
  cron: string;
  timeZone: string;
  type: string;
  overlap: string;
  missed: string;
  declared: boolean;
  paused: boolean;
  input: unknown;
  waiting: number;
  skippedCount: number;
  missedCount: number;
  /** The next five ticks. */
  next: string[];
  lastTickAt: string | null;
  lastTaskId: string | null;
  lastError: { name: string; message: string } | null;
}

export interface ScheduleRun {
  dueAt: string;
  taskId: string;
  /** Of the task; null if that is gone. */
  status: Status | null;
}

export interface FileLine {
  id: string;
  filename: string;
  size: number;
  contentType: string;
  sha256: string;
  etag: string;
  modifiedAt: string;
  expiresAt: string | null;
  /** The file and the task that it was made from; null for an upload. */
  source: string | null;
  sourceTask: string | null;
  /** Who uploaded it, if that is known. */
  owner: string | null;
}

/** What the event stream says of changes. */
export interface TaskChanges {
  tasks: TaskLine[];
  removed: string[];
}

export interface FileChanges {
  files: FileLine[];
  removed: string[];
}

/** By their ids. */
export interface ScheduleChanges {
  schedules: string[];
  removed: string[];
}

/** A task that waits for another attempt is told apart from one that has not begun. */
export const stateOf = ({ status, attempt, error }: TaskLine): string =>
  status === "scheduled" && attempt > 0 && error !== null ? "retrying" : status;
