import { errorFields, log } from "../../kernel/log.ts";
import { isOverloaded } from "../../kernel/objects.ts";
import { type Task, toTask } from "../ledger/schema.ts";
import { ledgerOf } from "../ledger/shards.ts";
import { isFinal } from "../ledger/task-state.ts";

/** The pause before a ledger that is restarting is called again. */
const RESTART_PAUSE_MS = 200;

/** The task, if it ends within `ms`; otherwise undefined. */
export async function waitForTask(env: Env, taskId: string, ms: number): Promise<Task | undefined> {
  const untilMs = Date.now() + ms;
  for (;;) {
    const leftMs = Math.max(0, untilMs - Date.now());
    try {
      const row = await ledgerOf(env, taskId)?.wait(taskId, leftMs);
      return row && isFinal(row.status) ? toTask(row) : undefined;
    } catch (error) {
      // The task is in the ledger; only its state is unknown.
      if (leftMs === 0 || isOverloaded(error)) {
        log("warn", "the ledger did not respond while a caller waited for a task", {
          taskId,
          ...errorFields(error),
        });
        return undefined;
      }
    }
    await scheduler.wait(Math.min(RESTART_PAUSE_MS, leftMs));
  }
}
