/** Which tasks a caller asks for: a filter of lists and of bulk actions. Pure, so that both mean the same. */
import { readIds, readJsonOrNull, type TaskRow } from "./schema.ts";
import type { TaskStatus } from "./task-state.ts";

/** A task matches if every member does. Times are ms since the epoch; a time is in `[fromMs, untilMs)`. */
export interface TaskFilter {
  /** Empty: all of them. */
  statuses: readonly TaskStatus[];
  type?: string | undefined;
  /** The task has all of them. */
  tags?: readonly string[] | undefined;
  /** The name of the error of its last attempt. */
  error?: string | undefined;
  /** The id of the schedule that it is a run of. */
  scheduleId?: string | undefined;
  /** In its id, type, error or progress, whatever the case. */
  text?: string | undefined;
  created: Span;
  started?: Span | undefined;
  finished?: Span | undefined;
}

export interface Span {
  fromMs: number;
  untilMs: number;
}

export const ANY_TIME: Span = { fromMs: 0, untilMs: Number.MAX_SAFE_INTEGER };

/** Whether an index finds exactly these tasks; else tasks are looked at, one by one. */
export const isIndexed = ({ tags = [], error, scheduleId, text, started, finished }: TaskFilter): boolean =>
  tags.length === 0 && [error, scheduleId, text, started, finished].every((part) => part === undefined);

export function matches(row: TaskRow, filter: TaskFilter): boolean {
  const { statuses, type, tags = [], scheduleId, created, started, finished } = filter;
  return (
    (statuses.length === 0 || statuses.includes(row.status)) &&
    (type === undefined || row.type === type) &&
    (scheduleId === undefined || row.schedule_id === scheduleId) &&
    isIn(created, row.created_at_ms) &&
    isIn(started, row.started_at_ms) &&
    isIn(finished, row.finished_at_ms) &&
    hasTags(row, tags) &&
    hasErrorOrText(row, filter)
  );
}

const isIn = (span: Span | undefined, timeMs: number | null): boolean =>
  span === undefined || (timeMs !== null && timeMs >= span.fromMs && timeMs < span.untilMs);

function hasTags({ tags }: TaskRow, wanted: readonly string[]): boolean {
  if (wanted.length === 0) return true;
  const own = readIds(tags ?? "[]");
  return wanted.every((tag) => own.includes(tag));
}

function hasErrorOrText(row: TaskRow, { error, text }: TaskFilter): boolean {
  if (error === undefined && text === undefined) return true;
  const { name, message } = errorOf(row);
  if (error !== undefined && name !== error) return false;
  const wanted = text?.toLowerCase() ?? "";
  return [row.id, row.type, name, message, row.progress_message].some((part) =>
    part?.toLowerCase().includes(wanted),
  );
}

function errorOf({ error }: TaskRow): { name?: string; message?: string } {
  const read: unknown = error === null ? null : readJsonOrNull(error);
  if (typeof read !== "object" || read === null) return {};
  const member = (key: string): unknown => Reflect.get(read, key);
  const [name, message] = [member("name"), member("message")];
  return {
    ...(typeof name === "string" ? { name } : {}),
    ...(typeof message === "string" ? { message } : {}),
  };
}

/**
 * Between which times of its creation a task can match: it starts and ends no earlier than it is created. `endsWithinMs`: it
 * has ended so long after that at most.
 */
export function createdSpan(
  { created, started, finished }: TaskFilter,
  endsWithinMs = Number.POSITIVE_INFINITY,
): Span {
  const later = [started, finished].filter((span) => span !== undefined);
  return {
    fromMs: Math.max(created.fromMs, ...later.map(({ fromMs }) => fromMs - endsWithinMs)),
    untilMs: Math.min(created.untilMs, ...later.map(({ untilMs }) => untilMs)),
  };
}
