/**
 * Reports on their way to the ledger.
 *
 * A report on its own would cost a call and a commit, as much as submitting a task. So while this isolate makes
 * frequent calls to a shard, a report waits for the next submission, a few milliseconds at most, and travels with it.
 * The sender stays responsible: if no other call has delivered its report in time, it sends the report itself. A
 * ledger that gets a report twice applies it once.
 */

import { errorFields, log } from "../../kernel/log.ts";
import { callObject } from "../../kernel/objects.ts";
import type { Report } from "../ledger/claim.ts";
import { ledgerOn } from "../ledger/shards.ts";
import { shardOf } from "../ledger/task-id.ts";

/** How long a report waits for another call. */
const BATCH_WAIT_MS = 10;
/** How long a call that carries a report may take before the report is sent again. */
const DELIVERY_TIMEOUT_MS = 2_000;

interface PendingReport {
  report: Report;
  isDelivered: boolean;
}

/** The reports from one isolate to one shard. */
class Outbox {
  pending: PendingReport[] = [];
  /** When the last two calls began. */
  #callsAtMs: [number, number] = [0, 0];

  noteCall(): void {
    this.#callsAtMs = [this.#callsAtMs[1], Date.now()];
  }

  /** Whether calls are so frequent that the next one can be expected soon. */
  get isBusy(): boolean {
    return Date.now() - this.#callsAtMs[0] < BATCH_WAIT_MS;
  }
}

const outboxes = new Map<string, Outbox>();

function outboxOf(shard: string): Outbox {
  const outbox = outboxes.get(shard) ?? new Outbox();
  outboxes.set(shard, outbox);
  return outbox;
}

/** Makes a call to a shard that also carries the reports pending for it. */
export async function callWithReports<T>(shard: string, call: (reports: Report[]) => Promise<T>): Promise<T> {
  const outbox = outboxOf(shard);
  const carried = outbox.pending;
  outbox.pending = [];
  outbox.noteCall();
  try {
    const result = await call(carried.map(({ report }) => report));
    for (const pending of carried) pending.isDelivered = true;
    return result;
  } catch (error) {
    outbox.pending.push(...carried);
    throw error;
  }
}

/** Whether the ledger has the report. If it cannot be reached, that is written to the log. */
export async function deliver(env: Env, report: Report): Promise<boolean> {
  const shard = shardOf(report.taskId);
  if (shard === undefined) return true;
  const outbox = outboxOf(shard);
  const pending: PendingReport = { report, isDelivered: false };
  if (outbox.isBusy) {
    outbox.pending.push(pending);
    await scheduler.wait(BATCH_WAIT_MS);
    for (
      let waitedMs = 0;
      isUnderWay(outbox, pending) && waitedMs < DELIVERY_TIMEOUT_MS;
      waitedMs += BATCH_WAIT_MS
    )
      await scheduler.wait(BATCH_WAIT_MS);
  }
  if (pending.isDelivered) return true;
  outbox.pending = outbox.pending.filter((other) => other !== pending);
  try {
    await callObject(async () =>
      callWithReports(shard, async (others) => ledgerOn(env, shard).report([...others, report])),
    );
  } catch (error) {
    log("error", "the outcome of a run could not be reported", {
      taskId: report.taskId,
      ...errorFields(error),
    });
    return false;
  }
  return true;
}

/** Whether another call is carrying the report. */
const isUnderWay = (outbox: Outbox, pending: PendingReport) =>
  !pending.isDelivered && !outbox.pending.includes(pending);
