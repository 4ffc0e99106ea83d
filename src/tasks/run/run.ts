/** One run of a task, and the reasons for which it is interrupted. */
import type { WaitUntil } from "../../kernel/wait-until.ts";
import type { Assignment, Claim } from "../ledger/claim.ts";

/** Why a run must end before its code has ended. Every call on the context throws it from then on. */
export class Interruption extends Error {
  override readonly name = "Interruption";
  readonly reason: "cancelled" | "timeout" | "hand-over" | "lost";
  /** When a sleeping task continues; 0 for any other reason. */
  readonly notBeforeMs: number;
  /** The keys of what wakes it before that. */
  readonly waits: string[];

  constructor(reason: Interruption["reason"], message: string, notBeforeMs = 0, waits: string[] = []) {
    super(message);
    this.reason = reason;
    this.notBeforeMs = notBeforeMs;
    this.waits = waits;
  }
}

/** Whether this is the signal of a run that was interrupted because its task was cancelled. */
export const isCancelled = ({ reason }: AbortSignal): boolean =>
  reason instanceof Interruption && reason.reason === "cancelled";

export interface Run {
  env: Env;
  claim: Claim;
  assignment: Assignment;
  platform: WaitUntil;
  /** Aborted with an `Interruption`. */
  interrupt: AbortController;
}
