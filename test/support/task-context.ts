/** A task's context, for running a task's code without a ledger. */
import type { TaskContext } from "../../src/tasks/index.ts";

/** Runs each step at once and ignores everything else. `changes` replaces single members. */
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
