/** Sluice on the simulated platform, which says what it has counted. */
import { registerTaskTypes } from "../../src/tasks/index.ts";
import { platform } from "../../test/support/platform/platform.ts";
import sluice from "../../test/support/worker.ts";
import { COST_TYPES } from "./types.ts";

export * from "../../test/support/worker.ts";

registerTaskTypes(COST_TYPES);

const SHARDS = ["s0", "s1", "s2", "s3"];

/** Has the ledgers remove what has expired, as the watchdog would within a minute. Of that, only the rows count. */
async function removeExpired(env: Env): Promise<void> {
  const before = { ...platform.total };
  await Promise.all(SHARDS.map(async (shard) => env.TASK_LEDGER.getByName(shard).rearm()));
  platform.total = { ...before, rowsWritten: platform.total.rowsWritten };
}

export default {
  async fetch(request, env, ctx) {
    const { pathname } = new URL(request.url);
    if (pathname === "/used") return Response.json({ used: platform.total, isIdle: platform.isIdle });
    if (pathname === "/remove") {
      await removeExpired(env);
      return new Response();
    }
    if (pathname !== "/cron") return sluice.fetch(request, env, ctx);
    await sluice.scheduled({ scheduledTime: Date.now(), cron: "* * * * *", noRetry: () => {} }, env);
    return new Response();
  },
} satisfies ExportedHandler<Env>;
