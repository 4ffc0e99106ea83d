/** What has happened to a task, recorded by an observer that does not use the rules. */
import type { FinalStatus, TaskState } from "../../src/tasks/ledger/task-state.ts";

/** One life of a task. It lasts until the task ends; a retry by hand begins another. */
interface Life {
  starts: number;
  attempts: number;
  /** Whether the next run begins a new attempt. */
  isFresh: boolean;
  failures: number;
  /** Since the last step that was new. */
  crashes: number;
  hasNewStep: boolean;
  /** Crashes before that. */
  earlierCrashes: number;
  /** Hand-overs, and claims that no runner accepted. */
  resumptions: number;
  cancelledAtMs: number | undefined;
  ended: { as: FinalStatus; atMs: number; codeUntilMs: number } | undefined;
}

export interface Item {
  id: string;
  type: string;
  state: TaskState;
  events: number;
  life: Life;
  /** The token of the current holder, and until when its lease lasts. */
  holder: number | undefined;
  leaseEndsAtMs: number;
  tokens: number[];
  /** As submitted: no life of the task starts earlier. */
  runAtMs: number;
  /** Since when the task is held, and how long its attempt had run before that. */
  claimedAtMs: number;
  ranMs: number;
  /** The task must not start before this. */
  earliestMs: number;
  /** Until then, code of the latest claim may really be at work, for all that anyone outside knows. */
  codeUntilMs: number;
  /** Queued since then. */
  waitsSinceMs: number | undefined;
}

export const newLife = (): Life => ({
  starts: 0,
  attempts: 0,
  isFresh: true,
  failures: 0,
  crashes: 0,
  hasNewStep: false,
  earlierCrashes: 0,
  resumptions: 0,
  cancelledAtMs: undefined,
  ended: undefined,
});

export function must(isTrue: boolean, what: string): asserts isTrue {
  if (!isTrue) throw new Error(`Violated: ${what}.`);
}

/** The status that a task with this history must have. */
export function statusOf({ life, holder, waitsSinceMs }: Item): TaskState["status"] {
  if (life.ended) return life.ended.as;
  if (holder !== undefined) return life.cancelledAtMs === undefined ? "running" : "cancelling";
  return waitsSinceMs === undefined ? "scheduled" : "queued";
}
