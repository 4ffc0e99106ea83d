/** What the ledger and those who submit and run tasks tell each other. */
import { type Lane } from "../types/define.ts";
import type { Outcome } from "./rules.ts";
import type { Entry } from "./task-table.ts";

export interface NewTask extends Entry {
  priority: number;
  /** Not before. */
  runAtMs: number;
  /** Whoever submits it would run it at once, if it may. */
  lane: Lane | null;
}

/** The right to run a task: reports are taken only with the latest `token`. */
export interface Claim {
  taskId: string;
  token: number;
}

export interface Report extends Claim {
  outcome: Outcome;
}

/** What a runner needs to know of a task. */
export interface Assignment {
  type: string;
  /** JSON text. */
  input: string;
  attempt: number;
  attemptStartedAtMs: number;
  /** What earlier runs have recorded: JSON text by the step's name. */
  steps: Record<string, string>;
}
