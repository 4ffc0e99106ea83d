import { errorFields, log } from "../../kernel/log.ts";
import { isFinal } from "../ledger/rules.ts";
import { type Task, toTask } from "../ledger/schema.ts";
import { ledgerOf } from "../ledger/shards.ts";

/** The pause before a ledger that restarts is asked again. */
const RESTART_PAUSE_MS = 200;

/** The task, if it ends within `ms`; undefined if it does not. */
export async function waitForTask(env: Env, taskId: string, ms: number): Promise<Task | undefined> {
  const untilMs = Date.now() + ms;
  for (;;) {
    const leftMs = Math.max(0, untilMs - Date.now());
    try {
      const row = await ledgerOf(env, taskId)?.wait(taskId, leftMs);
      return row && isFinal(row.status) ? toTask(row) : undefined;
    } catch (error) {
      // That it is kept is known; only how it is doing is not.
      if (leftMs === 0) {
        log("warn", "a task could not be waited for", { taskId, ...errorFields(error) });
        return undefined;
      }
    }
    await scheduler.wait(Math.min(RESTART_PAUSE_MS, leftMs));
  }
}
