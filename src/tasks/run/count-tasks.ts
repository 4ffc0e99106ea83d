/** How many tasks there were in a time, over all shards: for reports. */
import { callLedger, ledgerOn, shardsInUse } from "../ledger/shards.ts";
import type { TaskCount } from "../ledger/task-counts.ts";

export type { TaskCount };

/** The tasks that were created from one time to another (ms since the epoch) and are still kept, by type, status and hour. */
export async function countTasks(env: Env, fromMs: number, untilMs: number): Promise<TaskCount[]> {
  const shards = await Promise.all(
    (await shardsInUse(env)).map(async (shard) =>
      callLedger(async () => ledgerOn(env, shard).countByHour(fromMs, untilMs)),
    ),
  );
  return shards.flat();
}
