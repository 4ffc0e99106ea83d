/**
 * The long lane: one Durable Object per claim, which runs the task in its own alarm, for up to 15 minutes.
 *
 * The object stores the claim before it sets the alarm, and stores that the run has begun before any of the task's
 * code runs. If the alarm finds that a run has begun, it is the runtime's second try: the first was cut off. Then it
 * reports that to the ledger, so that the task need not wait for the lease to expire. It was a crash, unless it was a
 * deploy: the platform restarts every object for one, and so the second try runs under another version of the Worker.
 */
import { DurableObject } from "cloudflare:workers";
import { errorFields, log } from "../../kernel/log.ts";
import { callObject, markRepeatable } from "../../kernel/objects.ts";
import { SubrequestCount } from "../../kernel/subrequests.ts";
import type { Claim, Report } from "../ledger/claim.ts";
import { RUNNER_LEASE_MS, RUNNER_LIFETIME_MS } from "../ledger/rules.ts";
import { readTaskSettings } from "../ledger/settings.ts";
import { ledgerOf } from "../ledger/shards.ts";
import type { Outcome } from "../ledger/task-state.ts";
import { type Invocation, type RunEnd, type RunHandle, startRun } from "./attempt.ts";
import { deliver } from "./reports.ts";
import { Interruption } from "./run.ts";

const MINUTE_MS = 60_000;

/** How long after a report could not be delivered it is tried again, and how often: until the lease has expired. */
const REPORT_RETRY_MS = 5_000;
const MAX_REPORT_TRIES = RUNNER_LEASE_MS / REPORT_RETRY_MS;

/** The error with which a runner stops code that does not stop by itself. */
const ABANDONED = "The task was abandoned: its code ignored its signal.";

/** Undefined if `wrangler.toml` lacks the binding: then no deploy can be told from a crash. */
const versionOf = (env: Partial<Env>): string | undefined => env.CF_VERSION_METADATA?.id;

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
    const { kv } = this.ctx.storage;
    const claim = kv.get<Claim>("claim");
    if (!claim) return;
    try {
      const report = kv.get<Report>("report");
      if (report) return await this.#deliverAgain(report);
      const end = await this.#runClaim(claim);
      if (kv.get("report") === undefined) await this.ctx.storage.deleteAll();
      else await this.ctx.storage.setAlarm(Date.now() + REPORT_RETRY_MS);
      if (end === "abandoned") this.ctx.abort(ABANDONED);
    } catch (error) {
      log("error", "a runner failed", { taskId: claim.taskId, ...errorFields(error) });
      await this.ctx.storage.deleteAll();
    }
  }

  /**
   * Tries again to deliver a report, in an alarm of its own: with a new allowance of subrequests. Until the lease has
   * expired, nobody else does anything about the task.
   */
  async #deliverAgain(report: Report): Promise<void> {
    const { kv } = this.ctx.storage;
    const tries = (kv.get<number>("reportTries") ?? 0) + 1;
    const isOver = (await deliver(this.env, report, "alone")) || tries >= MAX_REPORT_TRIES;
    if (isOver) return this.ctx.storage.deleteAll();
    kv.put("reportTries", tries);
    await this.ctx.storage.setAlarm(Date.now() + REPORT_RETRY_MS);
  }

  async #runClaim(claim: Claim): Promise<RunEnd> {
    const { kv } = this.ctx.storage;
    const version = versionOf(this.env);
    if (kv.get("hasBegun") !== undefined) {
      const isDeploy = version !== undefined && kv.get("hasBegun") !== version;
      const outcome: Outcome = isDeploy ? { kind: "handed-over", notBeforeMs: 0 } : { kind: "crashed" };
      const report = { ...claim, outcome };
      if (!(await deliver(this.env, report, "alone"))) kv.put("report", report);
      return "ended";
    }
    kv.put("hasBegun", version ?? true);
    let requestedAtMs = 0;
    const open = async () => {
      requestedAtMs = Date.now();
      return ledgerOf(this.env, claim.taskId)?.open(claim);
    };
    const assignment = await callObject(open).catch((error: unknown) => {
      log("warn", "a runner could not open its claim", { taskId: claim.taskId, ...errorFields(error) });
      return "unreachable" as const;
    });
    if (assignment === "unreachable") {
      // Nothing has crashed. The next alarm delivers it, when the ledger may be back.
      kv.put("report", { ...claim, outcome: { kind: "not-begun" } } satisfies Report);
      return "ended";
    }
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
      subrequests: new SubrequestCount(readTaskSettings(this.env).subrequestLimits),
      travels: "alone",
      keepReport: (report) => this.ctx.storage.kv.put("report", report),
    };
  }
}

markRepeatable(TaskRunner, "start", "cancel");
