/**
 * The long lane: one Durable Object per claim, which runs the task in its own alarm, for up to 15 minutes.
 *
 * The object stores the claim before it sets the alarm, and stores that the run has begun before any of the task's
 * code runs. If the alarm finds that a run has begun, it is the runtime's second try: the machine died during the
 * first. Then it reports the crash to the ledger, so that the task need not wait for the lease to expire.
 */
import { DurableObject } from "cloudflare:workers";
import { errorFields, log } from "../../kernel/log.ts";
import { RESTART_PAUSES_MS, retry } from "../../kernel/retry.ts";
import type { Claim } from "../ledger/claim.ts";
import { RUNNER_LIFETIME_MS } from "../ledger/rules.ts";
import { ledgerOf } from "../ledger/shards.ts";
import { type Invocation, type RunEnd, type RunHandle, startRun } from "./attempt.ts";
import { deliver } from "./reports.ts";
import { Interruption } from "./run.ts";

const MINUTE_MS = 60_000;

/** The error with which a runner stops code that does not stop by itself. */
const ABANDONED = "The task was abandoned: its code ignored its signal.";

export class TaskRunner extends DurableObject<Env> {
  #run: RunHandle | undefined;
  #isStopped = false;

  /** Accepts a claim to run. The same claim again changes nothing. */
  start(claim: Claim): void {
    if (this.ctx.storage.kv.get("claim") !== undefined) return;
    this.ctx.storage.kv.put("claim", claim);
    this.ctx.waitUntil(this.ctx.storage.setAlarm(Date.now()));
  }

  cancel(): void {
    this.#run?.interrupt.abort(new Interruption("cancelled", "The task was cancelled."));
  }

  /** For the ledger, after the claim has ended: sees to it that none of its code is at work, or will be. */
  stop(): void {
    this.#isStopped = true;
    // Code is stopped together with its object. That breaks this very call.
    if (this.#run) this.ctx.abort(ABANDONED);
  }

  override async alarm(): Promise<void> {
    const claim = this.ctx.storage.kv.get<Claim>("claim");
    if (!claim) return;
    try {
      const end = await this.#runClaim(claim);
      await this.ctx.storage.deleteAll();
      if (end === "abandoned") this.ctx.abort(ABANDONED);
    } catch (error) {
      log("error", "a runner failed", { taskId: claim.taskId, ...errorFields(error) });
      await this.ctx.storage.deleteAll();
    }
  }

  async #runClaim(claim: Claim): Promise<RunEnd> {
    if (this.ctx.storage.kv.get("hasBegun") !== undefined) {
      await deliver(this.env, { ...claim, outcome: { kind: "crashed" } });
      return "ended";
    }
    this.ctx.storage.kv.put("hasBegun", true);
    let requestedAtMs = 0;
    const open = async () => {
      requestedAtMs = Date.now();
      return ledgerOf(this.env, claim.taskId)?.open(claim);
    };
    const assignment = await retry(open, RESTART_PAUSES_MS);
    if (!assignment || this.#isStopped) return "ended";
    this.#run = startRun(this.#invocation(), claim, assignment, requestedAtMs);
    const end = await this.#run.done;
    if (end === "ended") this.#run = undefined;
    return end;
  }

  /** An alarm may take 15 minutes. */
  #invocation(): Invocation {
    const platform = { waitUntil: (promise: Promise<unknown>) => this.ctx.waitUntil(promise) };
    return {
      env: this.env,
      platform,
      budgetMs: 14 * MINUTE_MS,
      graceMs: MINUTE_MS / 2,
      lifetimeMs: RUNNER_LIFETIME_MS,
    };
  }
}
