/**
 * The tasks that an upload may start with `?task=`: a type's name, or a task as JSON. The files pillar calls this entrypoint
 * through the Worker's own exports, so that files and tasks need not import each other.
 */
import { WorkerEntrypoint } from "cloudflare:workers";
import { z } from "zod";
import type { CheckedFile } from "../files/index.ts";
import { Problem } from "../kernel/problem.ts";
import { readTaskRequest, type Start, startTaskOnce, type TaskType } from "../tasks/index.ts";
import { publishFile } from "./publish-file.ts";
import { TASK_TYPES } from "./task-types.ts";

/** Why an upload cannot start a task: a `Problem`, as far as it can be sent. */
export interface Refusal {
  kind: "invalid" | "task-type-unavailable";
  detail: string;
  errors: { at: string; detail: string }[];
}

const AT = "query/task";

/** Every type that accepts `{ fileId: string }` as its whole input. */
async function fileTasks(): Promise<TaskType[]> {
  const accepting = await Promise.all(TASK_TYPES.map(acceptsFile));
  return TASK_TYPES.filter((_, i) => accepting[i]);
}

const takesFile = ({ input }: TaskType): boolean => input instanceof z.ZodObject && "fileId" in input.shape;

/** Whether there is such a file is not known yet. A schema that throws accepts nothing. */
async function acceptsFile(type: TaskType): Promise<boolean> {
  if (!takesFile(type)) return false;
  const parsed = await type.input.safeParseAsync({ fileId: "any" }).catch(() => undefined);
  const issues = parsed?.error?.issues ?? [];
  return parsed !== undefined && issues.every(({ code, path }) => code === "custom" && path[0] === "fileId");
}

/** Throws a `Problem` if an upload cannot start this task. */
async function readTask(env: Env, task: string, fileId: string): Promise<Start> {
  const text = task.startsWith("{") ? task : JSON.stringify({ type: await nameOf(task) });
  const start = await readTaskRequest(env, text, AT, { fileId });
  if (takesFile(start.type)) return start;
  throw invalid(`${AT}/type`, `The task type "${start.type.name}" takes no fileId.`);
}

async function nameOf(task: string): Promise<string> {
  const names = (await fileTasks()).map(({ name }) => name);
  if (names.includes(task)) return task;
  const all = `There is no task type of this name that takes a file alone; these do: ${names.join(", ")}.`;
  throw invalid(AT, `${all} Any other is given as JSON: {"type": …, "input": …}.`);
}

const invalid = (at: string, detail: string) => new Problem("invalid", detail, { errors: [{ at, detail }] });

export class FileTasks extends WorkerEntrypoint<Env> {
  /** The names of the types that an upload may start by their name. */
  async types(): Promise<string[]> {
    return (await fileTasks()).map((type) => type.name);
  }

  /** Why an upload cannot start this task; null if it can. */
  async check(task: string): Promise<Refusal | null> {
    try {
      await readTask(this.env, task, "any");
      return null;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      const { kind, detail, options } = error;
      if (kind !== "invalid" && kind !== "task-type-unavailable") throw error;
      return { kind, detail, errors: options.errors ?? [] };
    }
  }

  /**
   * Starts the task that decides about a file before it is seen, and what follows from its decision. As `start`.
   */
  async startCheck(type: string, { fileId, ...input }: CheckedFile, key: string): Promise<string | null> {
    const then = [{ type: publishFile.name, input: { fileId, version: input.version } }];
    return this.start(JSON.stringify({ type, input, then }), fileId, key);
  }

  /** Starts the task for the file, once for each key, and returns its id; null if it can no longer be started. */
  async start(task: string, fileId: string, key: string): Promise<string | null> {
    const start = await readTask(this.env, task, fileId).catch((error: unknown) => {
      if (error instanceof Problem && error.kind === "invalid") return null;
      throw error;
    });
    return start && startTaskOnce(this.env, this.ctx, start, key);
  }
}
