/**
 * What becomes of a guarded submission, as rules without clock or storage.
 *
 * Of all tasks with a key, the last one holds it: there is at most one holder. All submissions with a key come to one shard,
 * one after the other. So of a unique key, at most one task is live at any time; and of a debounce, whatever is submitted while
 * its holder waits becomes that holder.
 */
import type { Guard } from "../types/guards.ts";
import type { NewTask } from "./claim.ts";
import { isFinal, type TaskState } from "./task-state.ts";

/** The task that holds a key. */
export type Holder = { id: string; created_at_ms: number } & Pick<
  TaskState,
  "status" | "token" | "due_at_ms"
>;

export type Decision =
  /** It is written, and holds the key from now on. `replaces`: a task that is cancelled for it. */
  | { is: "new"; replaces?: string; runAtMs?: number }
  /** Nothing is written: the holder stays as it is. */
  | { is: "kept"; id: string }
  /** The holder becomes what was submitted, and starts at this time. */
  | { is: "debounced"; id: string; runAtMs: number }
  | { is: "rejected"; id: string; why: "is held" | "has begun" | "is being cancelled" };

export function decide(guard: Guard, holder: Holder | undefined, nowMs: number): Decision {
  return guard.is === "unique" ? decideUnique(guard, holder, nowMs) : decideDebounce(guard, holder, nowMs);
}

function decideUnique(
  { withinMs, onConflict }: Extract<Guard, { is: "unique" }>,
  holder: Holder | undefined,
  nowMs: number,
): Decision {
  if (!holder) return { is: "new" };
  const { id, status, created_at_ms } = holder;
  if (isFinal(status)) {
    const isHeld = status !== "cancelled" && created_at_ms + withinMs > nowMs;
    if (!isHeld || onConflict === "replace") return { is: "new" };
  } else if (status === "cancelling") return { is: "rejected", id, why: "is being cancelled" };
  else if (onConflict === "replace")
    return hasBegun(holder) ? { is: "rejected", id, why: "has begun" } : { is: "new", replaces: id };
  return onConflict === "keep" ? { is: "kept", id } : { is: "rejected", id, why: "is held" };
}

function decideDebounce(
  { waitMs, maxWaitMs }: Extract<Guard, { is: "debounce" }>,
  holder: Holder | undefined,
  nowMs: number,
): Decision {
  const isOpen =
    holder?.status === "scheduled" &&
    !hasBegun(holder) &&
    holder.due_at_ms !== null &&
    holder.due_at_ms > nowMs;
  if (!isOpen) return { is: "new", runAtMs: nowMs + waitMs };
  const latestMs = Math.max(nowMs, holder.created_at_ms + maxWaitMs);
  return { is: "debounced", id: holder.id, runAtMs: Math.min(nowMs + waitMs, latestMs) };
}

/** Some code of it may have run. */
const hasBegun = ({ token }: Holder): boolean => token > 0;

export type Accepted = Exclude<Decision, { is: "rejected" }>;

/** Why a batch is not written: the place in it of a task that was rejected, and the holder of its key. */
export interface Conflict {
  at: number;
  holder: string;
  why: Extract<Decision, { is: "rejected" }>["why"];
}

/**
 * Decides tasks that are submitted together, each as if those before it were written; or why none is. `exists`: a task with this
 * id is there, since the submission comes again.
 */
export function decideAll(
  tasks: readonly NewTask[],
  { exists, holderOf }: { exists: (id: string) => boolean; holderOf: (key: string) => Holder | undefined },
  nowMs: number,
): Accepted[] | Conflict {
  const holders = new Map<string, Holder>();
  const decisions: Accepted[] = [];
  for (const [at, task] of tasks.entries()) {
    const { id, guard } = task;
    const holder = guard && (holders.get(guard.key) ?? holderOf(guard.key));
    const decision: Decision = guard && !exists(id) ? decide(guard, holder, nowMs) : { is: "new" };
    if (decision.is === "rejected") return { at, holder: decision.id, why: decision.why };
    if (guard && decision.is === "new" && !exists(id))
      holders.set(guard.key, newHolder(task, decision.runAtMs, nowMs));
    if (guard && holder && decision.is === "debounced")
      holders.set(guard.key, { ...holder, due_at_ms: decision.runAtMs });
    decisions.push(decision);
  }
  return decisions;
}

/** One that may start at once counts as begun. */
function newHolder(
  { id, lane, runAtMs: givenMs }: NewTask,
  decidedMs: number | undefined,
  nowMs: number,
): Holder {
  const runAtMs = decidedMs ?? givenMs;
  const waits = runAtMs > nowMs;
  return {
    id,
    created_at_ms: nowMs,
    status: waits ? "scheduled" : "queued",
    token: !waits && lane !== null ? 1 : 0,
    due_at_ms: waits ? runAtMs : null,
  };
}
