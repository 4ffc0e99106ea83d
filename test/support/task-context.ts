/** A task's context, for code that is run without a ledger. */
import type { TaskContext } from "../../src/tasks/index.ts";

/** Does each step at once, and takes no notice of anything else, but for what `changes` does. */
export function taskContext(changes: Partial<TaskContext> = {}): TaskContext {
  return {
    taskId: "s0-task",
    attempt: 1,
    signal: new AbortController().signal,
    step: async (_name, action) => action(),
    progress: () => {},
    sleep: async () => {},
    log: () => {},
    waitUntil: () => {},
    ...changes,
  };
}
