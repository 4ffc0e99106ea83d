/** What happens to all tasks, over all shards: each a stream of its own (ledger/feed.ts). */
import type { Watched } from "../../kernel/merged-events.ts";
import { callLedger, ledgerOn, shardsInUse } from "../ledger/shards.ts";

/** `caller` is the name of the token. */
export async function watchTasks(env: Env, caller: string): Promise<Watched[]> {
  return (await shardsInUse(env)).map((shard) => ({
    name: `tasks ${shard}`,
    open: async () => callLedger(async () => ledgerOn(env, shard).watchAll(caller)),
  }));
}
