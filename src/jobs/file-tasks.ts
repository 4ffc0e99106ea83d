/**
 * The tasks that an upload may start with `?task=<type>`. The files pillar calls this entrypoint through the Worker's own
 * exports, so that files and tasks need not import each other.
 */
import { WorkerEntrypoint } from "cloudflare:workers";
import { z } from "zod";
import { startTaskOnce, type TaskType } from "../tasks/index.ts";
import { TASK_TYPES } from "./task-types.ts";

/** Every type that accepts `{ fileId: string }` as its whole input. */
async function fileTasks(): Promise<TaskType[]> {
  const accepting = await Promise.all(TASK_TYPES.map(acceptsFile));
  return TASK_TYPES.filter((_, i) => accepting[i]);
}

/** A schema that throws accepts nothing. */
async function acceptsFile({ input }: TaskType): Promise<boolean> {
  if (!(input instanceof z.ZodObject) || !("fileId" in input.shape)) return false;
  const parsed = await input.safeParseAsync({ fileId: "any" }).catch(() => undefined);
  return parsed?.success === true;
}

export class FileTasks extends WorkerEntrypoint<Env> {
  /** The names of the types that an upload may start. */
  async types(): Promise<string[]> {
    return (await fileTasks()).map((type) => type.name);
  }

  /** Starts a task for the file, once for each key, and returns its id; null if there is no such type. */
  async start(name: string, fileId: string, key: string): Promise<string | null> {
    const type = (await fileTasks()).find((candidate) => candidate.name === name);
    if (!type) return null;
    return startTaskOnce(this.env, this.ctx, { type, input: { fileId } }, key);
  }
}
