/**
 * The tasks that an upload may start with `?task=<type>`. The files pillar calls this entrypoint through the Worker's own
 * exports, so that files and tasks need not import each other.
 */
import { WorkerEntrypoint } from "cloudflare:workers";
import { z } from "zod";
import { startTaskOnce, type TaskType } from "../tasks/index.ts";
import { TASK_TYPES } from "./task-types.ts";

/** Every type that accepts `{ fileId: string }` as its whole input. */
const FILE_TASKS: TaskType[] = TASK_TYPES.filter(
  ({ input }) =>
    input instanceof z.ZodObject && "fileId" in input.shape && input.safeParse({ fileId: "any" }).success,
);

export class FileTasks extends WorkerEntrypoint<Env> {
  /** The names of the types that an upload may start. */
  types(): string[] {
    return FILE_TASKS.map((type) => type.name);
  }

  /** Starts a task for the file, once for each key, and returns its id; null if there is no such type. */
  async start(name: string, fileId: string, key: string): Promise<string | null> {
    const type = FILE_TASKS.find((candidate) => candidate.name === name);
    if (!type) return null;
    return startTaskOnce(this.env, this.ctx, { type, input: { fileId } }, key);
  }
}
