/** The messages between the ledger and those who submit and run tasks. */
import type { Lane } from "../types/define.ts";
import type { Guard } from "../types/guards.ts";
import type { Outcome, Pool } from "./task-state.ts";
import type { TaskFields } from "./task-table.ts";

export interface NewTask extends TaskFields {
  priority: number;
  /** The task starts no earlier than this. */
  runAtMs: number;
  /** The lane in which the submitter would start the task at once, if the ledger lets it; null if it would not. */
  lane: Lane | null;
  /** How long after the claim the submitter's invocation can last, if it runs the task. */
  lifetimeMs?: number;
  /** Default: `new`. */
  pool?: Pool;
  /** What it says about other tasks with its key. */
  guard?: Guard;
  /** Whoever submits it, and would run it. If that one submits it again, the first claim is given again. */
  claimant?: string;
  /** It also begins while its type is paused. */
  force?: boolean;
}

/** What became of a submission: for each task the claim with which it must be run now, or null; or why none is written. */
export type Written = { claims: (Claim | null)[] } | { error: string };

/**
 * What became of one task of a submission with guards. `id`: of the task that is there for it. `is`: it was written (`new`), in
 * place of another that is cancelled (`replaced`), or the one that holds its key is kept, or has become it (`debounced`).
 */
export interface Placed {
  id: string;
  claim: Claim | null;
  is: "new" | "replaced" | "kept" | "debounced";
  /** The id of the task that it has replaced. */
  replaces?: string;
}

/** The right to run a task. The ledger accepts reports only with the latest `token`. */
export interface Claim {
  taskId: string;
  token: number;
}

export interface Report extends Claim {
  outcome: Outcome;
  /** The run has abandoned its code, which may be at work until then. Without it, the code has ended. */
  busyUntilMs?: number;
}

/**
 * The reply to a heartbeat, and how long the lease lasts from now on. `cancel`: the code should stop. `stale`: the caller
 * no longer holds the task.
 */
export interface Renewal {
  reply: "ok" | "cancel" | "stale";
  leaseMs: number;
}

/** What a runner needs to know about a task. */
export interface Assignment {
  type: string;
  /** JSON text. */
  input: string;
  attempt: number;
  attemptStartedAtMs: number;
  /** How long the lease lasts from now on. A ledger of version 0.1.0 does not say so; it gives `LEASE_MS`. */
  leaseMs?: number;
  /** The steps that earlier runs have recorded: JSON text by the step's name. */
  steps: Record<string, string>;
  /** The `traceparent` that the run continues. */
  trace?: string | null | undefined;
  /** The checkpoint that was saved last, as JSON text. */
  checkpoint?: string;
}
