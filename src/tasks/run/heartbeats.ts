/**
 * The timer beside a task's code. It renews the claim with heartbeats, and interrupts the run when the attempt has
 * timed out, when the invocation's budget is used up, and when the claim is cancelled or lost.
 */
import { errorFields, log } from "../../kernel/log.ts";
import { lacksMethod } from "../../kernel/objects.ts";
import type { Claim, Renewal } from "../ledger/claim.ts";
import { HEARTBEAT_MS, LEASE_MS, RUNNER_HEARTBEAT_MS } from "../ledger/rules.ts";
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
  let leaseEndsAtMs = requestedAtMs + (assignment.leaseMs ?? LEASE_MS);
  let intervalMs = assignment.leaseMs === undefined ? HEARTBEAT_MS : RUNNER_HEARTBEAT_MS;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isStopped = false;
  const interruptRun = (reason: Interruption["reason"], message: string) =>
    interrupt.abort(new Interruption(reason, message));

  // Interrupted code keeps its claim while it stops.
  const setTimer = (maxMs: number) => {
    const nowMs = Date.now();
    const untilEndMs = interrupt.signal.aborted ? maxMs : endsAtMs - nowMs;
    clearTimeout(timer);
    if (!isStopped)
      timer = setTimeout(onTimer, Math.max(0, Math.min(maxMs, leaseEndsAtMs - nowMs, untilEndMs)));
  };
  const sendHeartbeat = async () => {
    const sentAtMs = Date.now();
    const { reply, leaseMs, isFromOldLedger } = await renew(env, claim);
    if (reply === "ok") leaseEndsAtMs = sentAtMs + leaseMs;
    if (reply === "cancel") interruptRun("cancelled", "The task was cancelled.");
    if (reply === "stale") interruptRun("lost", "Another run has taken over the task.");
    if (!isFromOldLedger || intervalMs === HEARTBEAT_MS) return;
    intervalMs = HEARTBEAT_MS;
    setTimer(intervalMs);
  };
  const onTimer = () => {
    const nowMs = Date.now();
    if (nowMs >= leaseEndsAtMs) return interruptRun("lost", "The ledger could not be reached in time.");
    if (nowMs >= timesOutAtMs) interruptRun("timeout", `The attempt took longer than ${timeoutMs} ms.`);
    else if (nowMs >= endsAtMs) interruptRun("hand-over", "The task continues in another run.");
    sendHeartbeat().catch((error: unknown) => {
      log("warn", "heartbeat failed", { taskId: claim.taskId, ...errorFields(error) });
      // Not a whole interval later, which may be as long as what is left of the lease.
      if (intervalMs > HEARTBEAT_MS) setTimer(HEARTBEAT_MS);
    });
    setTimer(intervalMs);
  };
  setTimer(intervalMs);
  return () => {
    isStopped = true;
    clearTimeout(timer);
  };
}

/** During a deploy, the ledger may still be of version 0.1.0, whose leases are short. */
async function renew(env: Env, claim: Claim): Promise<Renewal & { isFromOldLedger: boolean }> {
  const ledger = ledgerOf(env, claim.taskId);
  if (!ledger) return { reply: "stale", leaseMs: 0, isFromOldLedger: false };
  try {
    return { ...(await ledger.renew(claim)), isFromOldLedger: false };
  } catch (error) {
    if (!lacksMethod(error)) throw error;
    return { reply: await ledger.heartbeat(claim), leaseMs: LEASE_MS, isFromOldLedger: true };
  }
}
