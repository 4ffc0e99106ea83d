/** A page of tasks that follows what happens: pure, so that it can be tested without a browser. */
import type { TaskChanges, TaskLine } from "./types.ts";

export interface TaskFilter {
  /** Empty: all. */
  statuses: readonly string[];
  /** "": all. */
  type: string;
  /** Created at or after, and before; ms since the epoch. */
  fromMs: number;
  untilMs: number;
  /** It has all of them. */
  tags: readonly string[];
  /** The id of a schedule, and the name of an error; "": any. */
  schedule: string;
  error: string;
}

/**
 * The page after some changes: newest first, at most `limit`. Tasks that no longer fit the filter go. `isFirst`: no newer
 * page is before it, so new tasks come in at the top.
 */
export function withChanges(
  tasks: readonly TaskLine[],
  { tasks: changed, removed }: TaskChanges,
  filter: TaskFilter,
  { limit, isFirst }: { limit: number; isFirst: boolean },
): TaskLine[] {
  const byId = new Map(tasks.map((task) => [task.id, task]));
  const oldest = tasks.at(-1);
  for (const id of removed) byId.delete(id);
  for (const task of changed) {
    const isShown = byId.has(task.id);
    const fits = fitsFilter(task, filter);
    if (isShown && !fits) byId.delete(task.id);
    // Older ones are on a later page, unless this one has room.
    else if (fits && (isShown || (isFirst && (tasks.length < limit || !oldest || byAge(task, oldest) < 0))))
      byId.set(task.id, task);
  }
  return [...byId.values()].toSorted(byAge).slice(0, limit);
}

function fitsFilter(
  task: TaskLine,
  { statuses, type, fromMs, untilMs, tags, schedule, error }: TaskFilter,
): boolean {
  const createdAtMs = Date.parse(task.createdAt);
  return (
    (statuses.length === 0 || statuses.includes(task.status)) &&
    (type === "" || task.type === type) &&
    createdAtMs >= fromMs &&
    createdAtMs < untilMs &&
    tags.every((tag) => task.tags?.includes(tag)) &&
    (schedule === "" || task.scheduleId === schedule) &&
    (error === "" || task.error?.name === error)
  );
}

/** Whether a task has a text in its id, type, error or progress, whatever the case. */
export function hasText({ id, type, error, progress }: TaskLine, text: string): boolean {
  const wanted = text.toLowerCase();
  return [id, type, error?.name, error?.message, progress?.message].some((part) =>
    part?.toLowerCase().includes(wanted),
  );
}

/** Newest first; within a millisecond, the greater id first: as the list has them. */
const byAge = (a: TaskLine, b: TaskLine): number =>
  Date.parse(b.createdAt) - Date.parse(a.createdAt) || (a.id < b.id ? 1 : -1);
