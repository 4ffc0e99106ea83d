/** Tasks that have ended before a time, and their removal, in pieces: for cleaning up before their retention is over. */
import { callLedger, ledgerOn, shardsInUse } from "../ledger/shards.ts";
import type { EndedCursor, EndedQuery } from "../ledger/task-queries.ts";

export type TaskCursor = EndedCursor;

/** The shards that may keep tasks: each is gone through by itself. */
export const taskShards = async (env: Env): Promise<string[]> => shardsInUse(env);

/**
 * A piece of the tasks that have ended, without those whose callback may still be tried or whose code may be at work. `next` is where the following
 * piece begins; null in the last one.
 */
export async function findEndedTasks(
  env: Env,
  shard: string,
  query: EndedQuery,
): Promise<{ ids: string[]; next: TaskCursor | null }> {
  return callLedger(async () => ledgerOn(env, shard).listEnded(query));
}

/** Removes tasks of a shard, but none that has ended again meanwhile. It can be repeated safely. */
export async function removeEndedTasks(
  env: Env,
  shard: string,
  taskIds: readonly string[],
  endedBeforeMs: number,
): Promise<void> {
  for (let left = [...taskIds]; left.length > 0; ) {
    const ids = left;
    left = await callLedger(async () => ledgerOn(env, shard).removeEnded(ids, endedBeforeMs));
  }
}
