/**
 * What an upload may start: `?task=<type>`. The files pillar calls this entrypoint through the Worker's own exports,
 * so that neither it nor the tasks need know of the other.
 */
import { WorkerEntrypoint } from "cloudflare:workers";
import { z } from "zod";
import { startTaskOnce, type TaskType } from "../tasks/index.ts";
import { TASK_TYPES } from "./task-types.ts";

/** Every type whose input is `{ fileId: string }`, or can be. */
const FILE_TASKS: TaskType[] = TASK_TYPES.filter(
  ({ input }) =>
    input instanceof z.ZodObject && "fileId" in input.shape && input.safeParse({ fileId: "any" }).success,
);

export class FileTasks extends WorkerEntrypoint<Env> {
  /** The names of the types that an upload may start. */
  types(): string[] {
    return FILE_TASKS.map((type) => type.name);
  }

  /** Starts a task with the file, once for each key, and gives its id; null if there is no such type. */
  async start(name: string, fileId: string, key: string): Promise<string | null> {
    const type = FILE_TASKS.find((candidate) => candidate.name === name);
    if (!type) return null;
    return startTaskOnce(this.env, this.ctx, { type, input: { fileId } }, key);
  }
}
