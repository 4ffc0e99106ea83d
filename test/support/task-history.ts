/** What has happened to a task, as whoever stands by sees it, without a rule. */
import type { FinalStatus, TaskState } from "../../src/tasks/ledger/task-state.ts";

/** One life of a task: until it ends, and begins another. */
interface Life {
  starts: number;
  attempts: number;
  /** Its next run begins an attempt. */
  isFresh: boolean;
  failures: number;
  crashes: number;
  /** Hand-overs, and claims that nobody began. */
  resumptions: number;
  cancelledAtMs: number | undefined;
  ended: { as: FinalStatus; atMs: number } | undefined;
}

export interface Item {
  id: string;
  type: string;
  state: TaskState;
  events: number;
  life: Life;
  /** The token of whoever has it, and when that was last heard of. */
  holder: number | undefined;
  heardAtMs: number;
  tokens: number[];
  /** As it was submitted: no life of it begins before. */
  runAtMs: number;
  /** Since when it is held, and how long its attempt had run before that. */
  claimedAtMs: number;
  ranMs: number;
  /** It may not begin before. */
  earliestMs: number;
  /** In the line since then. */
  waitsSinceMs: number | undefined;
}

export const newLife = (): Life => ({
  starts: 0,
  attempts: 0,
  isFresh: true,
  failures: 0,
  crashes: 0,
  resumptions: 0,
  cancelledAtMs: undefined,
  ended: undefined,
});

export function must(isTrue: boolean, what: string): asserts isTrue {
  if (!isTrue) throw new Error(`It must be true that ${what}.`);
}

/** What such a task is called. */
export function statusOf({ life, holder, waitsSinceMs }: Item): TaskState["status"] {
  if (life.ended) return life.ended.as;
  if (holder !== undefined) return life.cancelledAtMs === undefined ? "running" : "cancelling";
  return waitsSinceMs === undefined ? "scheduled" : "queued";
}
