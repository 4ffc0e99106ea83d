/**
 * The timer beside a task's code. It renews the claim with heartbeats, and interrupts the run when the attempt has
 * timed out, when the invocation's budget is used up, and when the claim is cancelled or lost.
 */
import { errorFields, log } from "../../kernel/log.ts";
import { HEARTBEAT_MS, LEASE_MS } from "../ledger/rules.ts";
import { ledgerOf } from "../ledger/shards.ts";
import { findTaskType } from "../types/registry.ts";
import { Interruption, type Run } from "./run.ts";

/** Starts the timer and returns a function that stops it. One timer only: most runs end before it fires. */
export function startHeartbeats(
  budgetMs: number,
  { claim, assignment, env, interrupt }: Run,
  requestedAtMs: number,
): () => void {
  const startedAtMs = Date.now();
  const timeoutMs = findTaskType(assignment.type)?.timeoutMs ?? budgetMs;
  const timesOutAtMs = assignment.attemptStartedAtMs + timeoutMs;
  const endsAtMs = Math.min(timesOutAtMs, startedAtMs + budgetMs);
  let leaseEndsAtMs = requestedAtMs + LEASE_MS;
  const interruptRun = (reason: Interruption["reason"], message: string) =>
    interrupt.abort(new Interruption(reason, message));

  const sendHeartbeat = async () => {
    const sentAtMs = Date.now();
    const reply = await ledgerOf(env, claim.taskId)?.heartbeat(claim);
    if (reply === "ok") leaseEndsAtMs = sentAtMs + LEASE_MS;
    if (reply === "cancel") interruptRun("cancelled", "The task was cancelled.");
    if (reply === "stale") interruptRun("lost", "Another run has taken over the task.");
  };
  // Interrupted code keeps its claim while it stops.
  const msUntilNext = (nowMs: number) => {
    const untilEndMs = interrupt.signal.aborted ? HEARTBEAT_MS : endsAtMs - nowMs;
    return Math.max(0, Math.min(HEARTBEAT_MS, leaseEndsAtMs - nowMs, untilEndMs));
  };
  const onTimer = () => {
    const nowMs = Date.now();
    if (nowMs >= leaseEndsAtMs) return interruptRun("lost", "The ledger could not be reached in time.");
    if (nowMs >= timesOutAtMs) interruptRun("timeout", `The attempt took longer than ${timeoutMs} ms.`);
    else if (nowMs >= endsAtMs) interruptRun("hand-over", "The task continues in another run.");
    sendHeartbeat().catch((error: unknown) =>
      log("warn", "heartbeat failed", { taskId: claim.taskId, ...errorFields(error) }),
    );
    timer = setTimeout(onTimer, msUntilNext(nowMs));
  };
  let timer = setTimeout(onTimer, msUntilNext(startedAtMs));
  return () => clearTimeout(timer);
}
