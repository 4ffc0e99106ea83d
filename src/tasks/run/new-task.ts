/** Tasks as code describes them, checked, and as the ledger is to write them. */
import { currentTraceparent } from "../../kernel/trace.ts";
import type { NewTask } from "../ledger/claim.ts";
import { checkAvailable } from "../types/availability.ts";
import { checkCallbackUrl } from "../types/callbacks.ts";
import type { Start, StartNext, TaskType } from "../types/define.ts";
import { followUpErrors, followUpsSchema, readFollowUps, typesOf } from "../types/follow-ups.ts";
import { checkInput } from "../types/input.ts";
import { toJson } from "../types/json.ts";
import { findTaskType, unregisteredTypeError } from "../types/registry.ts";
import { keptTags, tagsSchema } from "../types/tags.ts";

/** A task as the ledger is to write it. Throws if the type is not registered, or if an input does not fit. `at`: for messages. */
export async function validateStart(env: Env, start: Start, id: string, at: string): Promise<NewTask> {
  const { type, input, delay, priority = 0, callback_url = null, tags, then } = start;
  const runAtMs = delay === undefined ? 0 : Date.now() + Math.ceil(delay * 1000);
  return {
    ...(await validateTask(type, input, id)),
    priority,
    runAtMs,
    callbackUrl: callback_url,
    ...checkTags(tags, `${at}/tags`),
    ...(then ? { then: await checkNext(env, then, `${at}/then`, input) } : {}),
  };
}

/** Tags as a task has them. Throws a `TypeError` that says what is wrong. */
export function checkTags(tags: readonly string[] | undefined, at: string): { tags?: string } {
  const { data, error } = tagsSchema.safeParse(tags);
  if (error)
    throw new TypeError(`${at} is not valid: ${error.issues.map(({ message }) => message).join("; ")}`);
  return keptTags(data);
}

/** Follow-ups as JSON text. Throws a `TypeError` that names what is wrong, or a `Problem` 503 if a type cannot run here. */
async function checkNext(env: Env, next: StartNext[], at: string, parent: unknown): Promise<string> {
  const { data, error } = followUpsSchema.safeParse(toWire(next));
  if (!data) throw new TypeError(`${at} is not valid: ${error.message}`);
  const read = readFollowUps(data, at, parent, (url) => checkCallbackUrl(env, url));
  const [wrong] = await followUpErrors(read);
  if (wrong) throw new TypeError(`${wrong.at}: ${wrong.detail}`);
  checkAvailable(env, typesOf(read));
  return JSON.stringify(data);
}

/** As a caller of the API would send it. */
export const toWire = (next: StartNext[]): unknown[] =>
  next.map(({ type, then, ...rest }) => ({
    ...rest,
    type: type.name,
    ...(then ? { then: toWire(then) } : {}),
  }));

/** As `toNewTask`. Throws if the type is not registered, or if the input does not fit it or is not JSON. */
export async function validateTask(type: TaskType, input: unknown, id: string): Promise<NewTask> {
  if (findTaskType(type.name) !== type) throw unregisteredTypeError(type.name);
  const text = toJson(input, "input");
  const { error } = await checkInput(type, text);
  if (error) throw error;
  return toNewTask(type, text, id);
}

/** A task for the ledger to run now. `input` is JSON text, and has been checked. */
export function toNewTask(type: TaskType, input: string, id: string): NewTask {
  const lane = type.lane === "fast" ? "fast" : null;
  const trace = currentTraceparent();
  return {
    id,
    type: type.name,
    input,
    priority: 0,
    runAtMs: 0,
    callbackUrl: null,
    lane,
    ...(trace && { trace }),
  };
}
