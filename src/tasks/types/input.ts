/**
 * The input of a task, as its type takes it.
 *
 * The ledger keeps an input as JSON text, as it was submitted, and each run parses that text by the schema of its type. So
 * the same is done before a task is accepted: what is validated is the text that is kept. A schema may transform the
 * input (a default, a `z.coerce.date()`); the code receives what the transformation returns, and the ledger keeps what it
 * was given.
 */
import { z } from "zod";
import { describeError } from "../../kernel/log.ts";
import type { TaskType } from "./define.ts";
import { readJson } from "./json.ts";

/** What the code of the type would receive for this JSON text, or a `ZodError`. Never throws, as a transformation may. */
export function parseInput(type: TaskType, text: string): z.ZodSafeParseResult<unknown> {
  try {
    return type.input.safeParse(readJson(text));
  } catch (error) {
    const message = `The schema of "${type.name}" failed: ${describeError(error).message}`;
    return { success: false, error: new z.ZodError([{ code: "custom", path: [], message, input: text }]) };
  }
}
