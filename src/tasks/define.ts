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
  /** Letters, digits, `_`, `-`, `.`; unique, and kept for as long as tasks of it are. */
  name: string;
  input: Input;
  /** Does the work. What it returns is kept as the result and must be JSON; what it throws fails the task. */
  run(ctx: TaskContext, input: z.output<Input>): Promise<unknown>;
}

/** Defines a kind of background work, typed from its input schema. */
export function defineTask<Input extends z.ZodType>(type: TaskType<Input>): TaskType<Input> {
  return type;
}
