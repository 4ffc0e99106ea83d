/**
 * The files that a task makes: what they are called, and that nothing is left of them when nobody will finish them.
 *
 * A run that is cut off cannot clean up, and should not: the next one goes on with what there is. But a task that fails for
 * good, or is cancelled while it runs, has no next run. A file without the rest would pass for a result, and a draft would
 * take up space for a day.
 */
import { env } from "cloudflare:workers";
import { discardDraft, findFile, removeFile } from "../../files/index.ts";
import { isCancelled, NonRetryableError, type TaskContext } from "../../tasks/index.ts";

type Run = Pick<TaskContext, "taskId" | "signal">;

/**
 * The id of a file that a task makes: the same in each of its runs, so that a repeated run replaces its own file and leaves
 * none behind. `suffix` tells the files of a task apart, and ends in what the name should: `report.pdf`.
 */
export const outputId = ({ taskId }: Pick<TaskContext, "taskId">, suffix: string): string =>
  `${taskId}.${suffix}`;

/**
 * Does what makes the files with these ids. If it is the end of the task and no success, none of them is left; the last goes
 * first. So as long as the last is there, all are.
 */
export async function allOrNothing<T>(ctx: Run, ids: readonly string[], make: () => Promise<T>): Promise<T> {
  try {
    return await make();
  } catch (error) {
    if (isTheEnd(ctx, error)) for (const id of ids.toReversed()) await removeOutput(ctx, id);
    throw error;
  }
}

/** Whether no run of the task goes on after this error, unless somebody starts the task again. */
export const isTheEnd = ({ signal }: Run, error: unknown): boolean =>
  error instanceof NonRetryableError || isCancelled(signal);

/** Removes what the task has made of a file, whole or not; returns whether there was a whole one. */
export async function removeOutput({ taskId }: Run, id: string): Promise<boolean> {
  // First: a draft remembers the file that it has become.
  await discardDraft(env, id, taskId);
  return (await isThere({ taskId }, id)) && (await removeFile(env, id));
}

/** Whether there is the file that this task has made. */
export async function isThere({ taskId }: Pick<TaskContext, "taskId">, id: string): Promise<boolean> {
  return (await findFile(env, id))?.task === taskId;
}
