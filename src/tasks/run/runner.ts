/**
 * The long lane: one object for each claim, which runs the task in its own alarm, for up to 15 minutes.
 *
 * The claim is kept before the alarm is set, and that it has begun before any code runs. An alarm that finds a run
 * begun is the runtime's second try, after the machine has died under the first: it says so to the ledger, so that the
 * task need not wait for the lease to end.
 */
import { DurableObject } from "cloudflare:workers";
import { errorFields, log } from "../../kernel/log.ts";
import { RESTART_PAUSES_MS, retry } from "../../kernel/retry.ts";
import type { Claim } from "../ledger/claim.ts";
import { ledgerOf } from "../ledger/shards.ts";
import { type Place, type Running, startRun } from "./attempt.ts";
import { Interruption } from "./context.ts";
import { deliver } from "./reports.ts";

const MINUTE_MS = 60_000;

export class TaskRunner extends DurableObject<Env> {
  #running: Running | undefined;

  /** Takes a claim to run; the same one again changes nothing. */
  start(claim: Claim): void {
    if (this.ctx.storage.kv.get("claim") !== undefined) return;
    this.ctx.storage.kv.put("claim", claim);
    this.ctx.waitUntil(this.ctx.storage.setAlarm(Date.now()));
  }

  cancel(): void {
    this.#running?.interrupt.abort(new Interruption("cancelled", "The task was cancelled."));
  }

  override async alarm(): Promise<void> {
    const claim = this.ctx.storage.kv.get<Claim>("claim");
    if (!claim) return;
    try {
      const end = await this.#run(claim);
      await this.ctx.storage.deleteAll();
      // Code that would not end is ended with the object that it runs in.
      if (end === "given-up") this.ctx.abort("The task was given up.");
    } catch (error) {
      log("error", "a runner failed", { taskId: claim.taskId, ...errorFields(error) });
      await this.ctx.storage.deleteAll();
    }
  }

  async #run(claim: Claim): Promise<"ended" | "given-up"> {
    if (this.ctx.storage.kv.get("hasBegun") !== undefined) {
      await deliver(this.env, { ...claim, outcome: { kind: "crashed" } });
      return "ended";
    }
    this.ctx.storage.kv.put("hasBegun", true);
    let askedAtMs = 0;
    const open = async () => {
      askedAtMs = Date.now();
      return ledgerOf(this.env, claim.taskId)?.open(claim);
    };
    const assignment = await retry(open, RESTART_PAUSES_MS);
    if (!assignment) return "ended";
    this.#running = startRun(this.#place(), claim, assignment, askedAtMs);
    return this.#running.done;
  }

  /** An alarm may take 15 minutes. */
  #place(): Place {
    const waiting = { waitUntil: (promise: Promise<unknown>) => this.ctx.waitUntil(promise) };
    return {
      env: this.env,
      waiting,
      budgetMs: 14 * MINUTE_MS,
      patienceMs: MINUTE_MS / 2,
      lifeMs: 15 * MINUTE_MS,
    };
  }
}
