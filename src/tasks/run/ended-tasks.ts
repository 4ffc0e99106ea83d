/** Tasks that have ended before a time, and their removal, in pieces: for cleaning up before their retention is over. */
import { callLedger, ledgerOn, shardsInUse } from "../ledger/shards.ts";
import type { EndedCursor, EndedQuery } from "../ledger/task-queries.ts";

export type TaskCursor = EndedCursor;

/** The shards that may keep tasks: each is gone through by itself. */
export const taskShards = async (env: Env): Promise<string[]> => shardsInUse(env);

/**
 * A piece of the tasks that have ended, without those whose callback may still be tried. `next` is where the following
 * piece begins; null in the last one.
 */
export async function findEndedTasks(
  env: Env,
  shard: string,
  query: EndedQuery,
): Promise<{ ids: string[]; next: TaskCursor | null }> {
  return callLedger(async () => ledgerOn(env, shard).listEnded(query));
}

/** Has the ledger remove tasks of a shard, soon. It can be repeated safely; one that runs again meanwhile stays. */
export async function expireTasks(
  env: Env,
  shard: string,
  taskIds: readonly string[],
  endedBeforeMs: number,
): Promise<void> {
  const ids = [...taskIds];
  await callLedger(async () => ledgerOn(env, shard).expire(ids, endedBeforeMs));
}
