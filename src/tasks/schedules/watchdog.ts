/** The per-minute cron: sets alarms that were lost again, and logs by how much their objects are overdue. */

import { errorFields, log } from "../../kernel/log.ts";
import { ledgerOn, schedulerOf } from "../ledger/shards.ts";
import { SHARDS } from "../ledger/task-id.ts";

/** `scheduledTimeMs`: when the cron was due. Never throws: one object's failure must not affect the others. */
export async function wakeOverdue(env: Env, scheduledTimeMs: number): Promise<void> {
  const cronLateMs = Date.now() - scheduledTimeMs;
  const rearm = async (what: string, call: () => Promise<number>) => {
    try {
      const lateMs = await call();
      if (lateMs > 0) log("warn", "overdue; its alarm was set again", { what, lateMs, cronLateMs });
    } catch (error) {
      log("error", "the watchdog could not reach an object", { what, ...errorFields(error) });
    }
  };
  const shards = SHARDS.map(async (shard) =>
    rearm(`ledger ${shard}`, async () => ledgerOn(env, shard).rearm()),
  );
  await Promise.all([...shards, rearm("schedules", async () => schedulerOf(env).rearm())]);
}
