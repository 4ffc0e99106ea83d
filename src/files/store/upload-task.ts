/**
 * The task that an upload starts: `?task=`, with the name of a type or a task as JSON.
 *
 * This pillar does not know what a task is. `src/jobs/` provides the entrypoint `FileTasks`, which is called through
 * the Worker's own exports. Each such call is an invocation of its own, so the task has that invocation's `waitUntil`
 * to itself.
 */
import { exports } from "cloudflare:workers";
import { errorFields, log } from "../../kernel/log.ts";
import { Problem } from "../../kernel/problem.ts";

/** Throws a `Problem` 422 if there is no such task, or if it does not take a file, and a 503 if it cannot run here. */
export async function checkTask(task: string | undefined): Promise<void> {
  if (task === undefined) return;
  const refusal = await exports.FileTasks.check(task);
  if (refusal) throw new Problem(refusal.kind, refusal.detail, { errors: refusal.errors });
}

/**
 * Starts the task for a file, once for each `key`, and returns the task's id, or null if it can no longer be
 * started.
 * Throws a `Problem` 503 if the task cannot be started now; the file is stored all the same.
 */
export async function startTask(task: string, fileId: string, key: string): Promise<string | null> {
  try {
    // Not repeated here: it repeats its own call to the ledger.
    const id = await exports.FileTasks.start(task, fileId, key);
    if (id === null) log("error", "the task of an upload can no longer be started", { fileId, task });
    return id;
  } catch (error) {
    log("error", "the task of an upload was not started", { fileId, task, ...errorFields(error) });
    throw taskNotStarted(fileId);
  }
}

export const taskNotStarted = (fileId: string) =>
  new Problem("task-not-started", `The file ${fileId} is stored, but its task could not be started.`, {
    headers: { "Retry-After": "5" },
  });

export const taskLink = (id: string, base: string) => ({ id, url: new URL(`/tasks/${id}`, base).href });
