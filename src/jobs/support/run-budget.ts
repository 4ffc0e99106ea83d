/**
 * How much one run of a task does. A run has a limit of CPU time (30 s by default), which the platform enforces by ending
 * it: that is a crash, and after five of them without progress the task fails. So a job that works through much data
 * counts what it does, and continues in another run before that.
 */
import type { TaskContext } from "../../tasks/index.ts";

/**
 * Counts work in any unit, say bytes. Call it whenever what was done is recorded, as a step or a checkpoint: once this run
 * has done `max`, it hands the task over.
 */
export function createRunBudget(
  ctx: Pick<TaskContext, "handOver">,
  max: number,
): (done: number) => Promise<void> {
  let sum = 0;
  return async (done) => {
    sum += done;
    if (sum >= max) await ctx.handOver();
  };
}
