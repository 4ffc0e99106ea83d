/**
 * Flows, as rules without clock, storage or network: a task starts children, and waits until they have ended.
 *
 * The first end of a child is what its parent gets to see, in each of its runs: so a later run decides as an earlier one did.
 * Only a retry of the parent by hand asks for another end: it begins another life of the parent, and of each child that has
 * not succeeded. What a child or a parent says about an earlier life is ignored.
 */
import type { FinalStatus, TaskError } from "./task-state.ts";

/** How many children a task may start, in all its runs, and how many tasks may be above another. */
export const MAX_CHILDREN = 1_000;
export const MAX_DEPTH = 8;

/** How a child has ended. `result` is JSON text. */
export interface ChildEnd {
  status: FinalStatus;
  result?: string;
  error?: TaskError;
}

/** `all`: until all have succeeded or one has not; `allSettled`: until all have ended. */
export type WaitMode = "all" | "allSettled";

/** Whether a task that waits for children with these ends can go on; null: not ended yet. */
export function isSatisfied(mode: WaitMode, ends: readonly (FinalStatus | null)[]): boolean {
  const hasFailed = ends.some((status) => status !== null && status !== "succeeded");
  return (mode === "all" && hasFailed) || ends.every((status) => status !== null);
}

/** Why a task cannot start so many children more; undefined if it can. `depth`: how many tasks are above it. */
export function refusal(had: number, more: number, depth: number): string | undefined {
  if (had + more > MAX_CHILDREN)
    return `A task may start at most ${MAX_CHILDREN} children in all; this one has ${had}, and would start ${more} more.`;
  if (depth >= MAX_DEPTH) return `There may be at most ${MAX_DEPTH} tasks above a child.`;
  return undefined;
}

/** Whether what a child says of its end is what its parent waits to hear. */
export const isNews = (child: { life: number; status: FinalStatus | null }, life: number): boolean =>
  child.status === null && child.life === life;

/**
 * What a child does when its parent has begun a life. `status`: its own; undefined if it has been removed. `told`: the
 * life in which it has last told of its end, or was asked to.
 */
export function onParentRetried(
  child: { status: string; life: number } | undefined,
  life: number,
): "removed" | "nothing" | "later" | "retry" | "tell again" | "go on" {
  if (!child) return "removed";
  if (life <= child.life) return "nothing";
  switch (child.status) {
    case "cancelling":
      return "later";
    case "failed":
    case "cancelled":
      return "retry";
    case "succeeded":
      return "tell again";
    default:
      return "go on";
  }
}
