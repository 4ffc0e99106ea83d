/** The key of a task whose type limits each key by itself: asked once, when the task is written. */
import type { KeyedConcurrency, TaskType } from "./define.ts";
import { readJson } from "./json.ts";
import { findTaskType } from "./registry.ts";
import { isKeptAsText } from "./text.ts";

const MAX_KEY_LENGTH = 200;

/** A type's concurrency, if it is one for each key. */
export const keyedConcurrency = ({ concurrency }: TaskType): KeyedConcurrency | undefined =>
  typeof concurrency === "object" ? concurrency : undefined;

/**
 * The key of a task with this input, as JSON text; null if the type has no keys. Throws a `TypeError` if there is no key for
 * it, or whatever the type's own function throws.
 */
export function concurrencyKeyOf(type: TaskType, input: string): string | null {
  const keyed = keyedConcurrency(type);
  if (!keyed) return null;
  const key: unknown = keyed.key(readJson(input));
  const isKey =
    typeof key === "string" && key.length > 0 && key.length <= MAX_KEY_LENGTH && isKeptAsText(key);
  if (isKey) return key;
  throw new TypeError(`the concurrency key must be text of 1 to ${MAX_KEY_LENGTH} characters`);
}

/** As `concurrencyKeyOf`, for what is written in any case, such as a follow-up: null if there is no key for it. */
export function concurrencyKeyIfAny(typeName: string, input: string): string | null {
  const type = findTaskType(typeName);
  try {
    return type ? concurrencyKeyOf(type, input) : null;
  } catch {
    return null;
  }
}
