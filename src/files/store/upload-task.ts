/**
 * The task that an upload starts: `?task=<type>`.
 *
 * This pillar does not know what a task is. `src/jobs/` provides the entrypoint `FileTasks`, which is called through
 * the Worker's own exports. Each such call is an invocation of its own, so the task has that invocation's `waitUntil`
 * to itself.
 */
import { exports } from "cloudflare:workers";
import { errorFields, log } from "../../kernel/log.ts";
import { Problem } from "../../kernel/problem.ts";

/** Throws a `Problem` 422 if there is no such type, or if it does not take a file. */
export async function checkTaskType(type: string | undefined): Promise<void> {
  if (type === undefined) return;
  const types = await exports.FileTasks.types();
  if (types.includes(type)) return;
  const detail = `There is no task type of this name that takes a file; these do: ${types.join(", ")}.`;
  throw new Problem("invalid", detail, { errors: [{ at: "query/task", detail }] });
}

/**
 * Starts the task for a file, once for each `key`, and returns the task's id, or null if the type no longer exists.
 * Throws a `Problem` 503 if the task cannot be started now; the file is stored all the same.
 */
export async function startTask(type: string, fileId: string, key: string): Promise<string | null> {
  try {
    // Not repeated here: it repeats its own call to the ledger.
    const id = await exports.FileTasks.start(type, fileId, key);
    if (id === null) log("error", "the task type of an upload no longer exists", { fileId, type });
    return id;
  } catch (error) {
    log("error", "the task of an upload was not started", { fileId, type, ...errorFields(error) });
    throw taskNotStarted(fileId);
  }
}

export const taskNotStarted = (fileId: string) =>
  new Problem("task-not-started", `The file ${fileId} is stored, but its task could not be started.`, {
    headers: { "Retry-After": "5" },
  });

export const taskLink = (id: string, base: string) => ({ id, url: new URL(`/tasks/${id}`, base).href });
