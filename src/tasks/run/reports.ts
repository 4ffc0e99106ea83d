/**
 * Reports on their way to the ledger.
 *
 * A report alone would cost a call and a commit, as much as the submission of a task does. So while calls to a shard
 * come close together from this isolate, reports wait for the next submission to take them along, a few milliseconds
 * at most. Whoever reports stays responsible: what nobody has delivered in time it sends itself, and a ledger that gets a
 * report twice takes it once.
 */

import { errorFields, log } from "../../kernel/log.ts";
import { RESTART_PAUSES_MS, retry } from "../../kernel/retry.ts";
import type { Report } from "../ledger/claim.ts";
import { ledgerOn } from "../ledger/shards.ts";
import { shardOf } from "../ledger/task-id.ts";

/** How long a report waits to be taken along. */
const PATIENCE_MS = 10;
/** How long one that was taken along may be on its way. */
const JOURNEY_MS = 2_000;

interface Parcel {
  report: Report;
  isDelivered: boolean;
}

/** What one isolate has to tell one shard. */
class Outbox {
  waiting: Parcel[] = [];
  /** When the last two calls began. */
  #callsAtMs: [number, number] = [0, 0];

  noteCall(): void {
    this.#callsAtMs = [this.#callsAtMs[1], Date.now()];
  }

  /** Whether calls come so close together that another is to be expected soon. */
  get isBusy(): boolean {
    return Date.now() - this.#callsAtMs[0] < PATIENCE_MS;
  }
}

const outboxes = new Map<string, Outbox>();

function outboxOf(shard: string): Outbox {
  const outbox = outboxes.get(shard) ?? new Outbox();
  outboxes.set(shard, outbox);
  return outbox;
}

/** Makes a call to a shard that takes along whatever waits to be reported there. */
export async function takeAlong<T>(shard: string, call: (reports: Report[]) => Promise<T>): Promise<T> {
  const outbox = outboxOf(shard);
  const parcels = outbox.waiting;
  outbox.waiting = [];
  outbox.noteCall();
  try {
    const result = await call(parcels.map(({ report }) => report));
    for (const parcel of parcels) parcel.isDelivered = true;
    return result;
  } catch (error) {
    outbox.waiting.push(...parcels);
    throw error;
  }
}

/** Resolves when the ledger has a report; logs it if it cannot be reached. */
export async function deliver(env: Env, report: Report): Promise<void> {
  const shard = shardOf(report.taskId);
  if (shard === undefined) return;
  const outbox = outboxOf(shard);
  const parcel: Parcel = { report, isDelivered: false };
  if (outbox.isBusy) {
    outbox.waiting.push(parcel);
    await scheduler.wait(PATIENCE_MS);
    for (let waitedMs = 0; isUnderWay(outbox, parcel) && waitedMs < JOURNEY_MS; waitedMs += PATIENCE_MS)
      await scheduler.wait(PATIENCE_MS);
  }
  if (parcel.isDelivered) return;
  outbox.waiting = outbox.waiting.filter((other) => other !== parcel);
  try {
    await retry(
      async () => takeAlong(shard, async (others) => ledgerOn(env, shard).report([...others, report])),
      RESTART_PAUSES_MS,
    );
  } catch (error) {
    log("error", "the end of a run could not be reported", { taskId: report.taskId, ...errorFields(error) });
  }
}

const isUnderWay = (outbox: Outbox, parcel: Parcel) =>
  !parcel.isDelivered && !outbox.waiting.includes(parcel);
