/**
 * One action on many tasks. The tasks are chosen first, and acted on after that by their ids: whatever dies in between, doing
 * it again changes nothing more, and counts each task as before.
 *
 * Only tasks that matched when the action began are meant: what is created, or ends, later is left alone, also what the action
 * itself has set going again.
 */
import { errorFields, log } from "../../kernel/log.ts";
import type { TaskRow } from "./schema.ts";
import { ANY_TIME, type Span, type TaskFilter } from "./task-filter.ts";
import { FINAL_STATUSES, isFinal, type TaskStatus } from "./task-state.ts";

export const BULK_ACTIONS = ["cancel", "retry", "delete"] as const;
export type BulkAction = (typeof BULK_ACTIONS)[number];

/** The tasks that an action can be done to. */
const ABLE: Readonly<Record<BulkAction, readonly TaskStatus[]>> = {
  cancel: ["scheduled", "queued", "running"],
  retry: ["failed", "cancelled"],
  delete: FINAL_STATUSES,
};

/** What became of some tasks. `left`: nothing yet; another call goes on with them. */
export interface BulkOutcome {
  /** They are now as the action leaves them. */
  done: number;
  /** The action can no longer be done to them. */
  skipped: number;
  failed: number;
  left: string[];
}

/** The tasks of a filter that an action, begun at a time, can be done to. Undefined: none, of whatever status. */
export function ableTasks(filter: TaskFilter, action: BulkAction, beganMs: number): TaskFilter | undefined {
  const statuses = ABLE[action].filter(
    (status) => filter.statuses.length === 0 || filter.statuses.includes(status),
  );
  if (statuses.length === 0) return undefined;
  const created = until(filter.created, beganMs);
  // What has ended since has perhaps been set going by this action.
  const finished = action === "cancel" ? filter.finished : until(filter.finished ?? ANY_TIME, beganMs);
  return { ...filter, statuses, created, finished };
}

const until = ({ fromMs, untilMs }: Span, ms: number): Span => ({ fromMs, untilMs: Math.min(untilMs, ms) });

/** A ledger, as far as a bulk action uses it. */
interface Target {
  find: (taskId: string) => TaskRow | undefined;
  cancel: (taskId: string) => TaskRow | "ended" | null;
  retry: (taskId: string) => unknown;
  /** As `TaskLedger.removeEnded`. */
  removeEnded: (taskIds: string[], endedBeforeMs: number) => string[];
}

export function actOnAll(
  target: Target,
  action: BulkAction,
  taskIds: readonly string[],
  beganMs: number,
): BulkOutcome {
  const outcome: BulkOutcome = { done: 0, skipped: 0, failed: 0, left: [] };
  const left = action === "delete" ? new Set(target.removeEnded([...taskIds], beganMs)) : new Set<string>();
  for (const id of taskIds) {
    if (left.has(id)) outcome.left.push(id);
    else outcome[actOn(target, action, id, beganMs)]++;
  }
  return outcome;
}

function actOn(
  target: Target,
  action: BulkAction,
  id: string,
  beganMs: number,
): "done" | "skipped" | "failed" {
  try {
    const isDone = { cancel, retry, delete: isRemoved }[action](target, id, beganMs);
    return isDone ? "done" : "skipped";
  } catch (error) {
    log("error", "a bulk action could not be done to a task", { taskId: id, action, ...errorFields(error) });
    return "failed";
  }
}

const cancel = (target: Target, id: string): boolean => {
  const task = target.cancel(id);
  return task !== null && task !== "ended";
};

function retry(target: Target, id: string, beganMs: number): boolean {
  const task = target.find(id);
  if (!task) return false;
  // It had ended when it was chosen: so it has been retried since.
  if (!isFinal(task.status) || (task.finished_at_ms ?? 0) >= beganMs) return true;
  const retried = target.retry(id);
  return retried !== "refused" && retried !== "held";
}

const isRemoved = (target: Target, id: string): boolean => target.find(id) === undefined;
