/** Work that outlives its request. */
import { allLedgers } from "./shards.ts";

export { defineTask, type TaskContext, type TaskType } from "./define.ts";
export { TaskLedger } from "./ledger.ts";
export { taskRoutes } from "./routes.ts";
export { type Start, startTaskOnce, startTasks } from "./run.ts";
export { taskLinkSchema } from "./schema.ts";

/** Finds the tasks whose Worker died, on every shard. For the per-minute cron. */
export async function sweepTasks(env: Env): Promise<void> {
  await Promise.all(allLedgers(env).map((ledger) => ledger.sweep()));
}
