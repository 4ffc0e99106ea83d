import type { z } from "zod";
import type { LogLevel } from "../kernel/log.ts";

/** What a task's code is given while it runs. */
export interface TaskContext {
  taskId: string;
  /** 1 for the first attempt. */
  attempt: number;
  /** Writes a structured line that carries the task's id, type and attempt. */
  log(level: LogLevel, message: string, fields?: Record<string, unknown>): void;
}

/** A kind of background work. The ledger keeps its name and the input: a closure cannot survive, a name can. */
export interface TaskType<Input extends z.ZodType = z.ZodType> {
  /** Letters, digits, `_`, `-` and `.`, at most 64. The ledger keeps it: a type that tasks are kept of keeps its name. */
  name: string;
  input: Input;
  /** Does the work. What it returns is kept as the result and must be JSON; what it throws fails the task. */
  run(ctx: TaskContext, input: z.output<Input>): Promise<unknown>;
}

/** Defines a kind of background work, typed from its input schema. Throws if its name cannot be one. */
export function defineTask<Input extends z.ZodType>(type: TaskType<Input>): TaskType<Input> {
  if (!/^[\w.-]{1,64}$/.test(type.name))
    throw new TypeError(`"${type.name}" cannot be the name of a task type.`);
  return type;
}
