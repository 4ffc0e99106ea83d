/** What the per-minute cron does for the tasks: an alarm that was lost is set again, and it says how late that is. */

import { errorFields, log } from "../../kernel/log.ts";
import { ledgerOn } from "../ledger/shards.ts";
import { SHARDS } from "../ledger/task-id.ts";
import { schedulerOf } from "./scheduler.ts";

/** `scheduledTimeMs`: when the cron was due. Never throws: one object that fails must not hide the others. */
export async function wakeOverdue(env: Env, scheduledTimeMs: number): Promise<void> {
  const cronLateMs = Date.now() - scheduledTimeMs;
  const tend = async (what: string, ask: () => Promise<number>) => {
    try {
      const lateMs = await ask();
      if (lateMs > 0) log("warn", "overdue, and set going again", { what, lateMs, cronLateMs });
    } catch (error) {
      log("error", "could not be tended", { what, ...errorFields(error) });
    }
  };
  const shards = SHARDS.map(async (shard) =>
    tend(`ledger ${shard}`, async () => ledgerOn(env, shard).tend()),
  );
  await Promise.all([...shards, tend("schedules", async () => schedulerOf(env).tend())]);
}
