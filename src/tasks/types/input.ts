/**
 * The input of a task, as its type takes it.
 *
 * The ledger keeps an input as JSON text, as it was submitted, and each run parses that text by the schema of its type. So
 * the same is done before a task is accepted: what is validated is the text that is kept. A schema may transform the
 * input (a default, a `z.coerce.date()`); the code receives what the transformation returns, and the ledger keeps what it
 * was given. A schema may be asynchronous; then it is asked before the task is accepted, and again in each run.
 */
import { z } from "zod";
import { describeError } from "../../kernel/log.ts";
import { concurrencyKeyOf } from "./concurrency-key.ts";
import type { TaskType } from "./define.ts";
import { readJson } from "./json.ts";

/** What the code of the type would receive for this JSON text, or a `ZodError`. Never throws, as a transformation may. */
export async function parseInput(type: TaskType, text: string): Promise<z.ZodSafeParseResult<unknown>> {
  try {
    return await type.input.safeParseAsync(readJson(text));
  } catch (error) {
    return failedSchema(type, text, error);
  }
}

/** As `parseInput`, for a task that is submitted: it must also have a key, if its type limits each key by itself. */
export async function checkInput(type: TaskType, text: string): Promise<z.ZodSafeParseResult<unknown>> {
  const parsed = await parseInput(type, text);
  if (!parsed.success) return parsed;
  try {
    concurrencyKeyOf(type, text);
    return parsed;
  } catch (error) {
    const message = `has no concurrency key: ${describeError(error).message}`;
    return { success: false, error: new z.ZodError([{ code: "custom", path: [], message, input: text }]) };
  }
}

/** As `parseInput`, while the Worker starts. An asynchronous schema cannot be asked then, and fails. */
export function parseInputNow(type: TaskType, text: string): z.ZodSafeParseResult<unknown> {
  try {
    return type.input.safeParse(readJson(text));
  } catch (error) {
    if (!(error instanceof z.core.$ZodAsyncError)) return failedSchema(type, text, error);
    const why = "it is asynchronous, and cannot be asked while the Worker starts";
    return failedSchema(type, text, new Error(why));
  }
}

function failedSchema(type: TaskType, text: string, error: unknown): z.ZodSafeParseError<unknown> {
  const message = `The schema of "${type.name}" failed: ${describeError(error).message}`;
  return { success: false, error: new z.ZodError([{ code: "custom", path: [], message, input: text }]) };
}
