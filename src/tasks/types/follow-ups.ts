/**
 * Follow-ups: the tasks that start when a task has succeeded (`then`), as callers describe them and as the ledger keeps them.
 *
 * Their inputs are templates, so what they will be is not known when they are submitted. What can be known then is checked
 * then: the types, the callback URLs, the placeholders, whatever in an input no placeholder touches, and `{{input.…}}`,
 * which names what was submitted with them. The rest is checked when the task before has succeeded.
 */
import { z } from "zod";
import type { NamedType } from "./availability.ts";
import { MAX_PRIORITY, type TaskType } from "./define.ts";
import { parseInput } from "./input.ts";
import { findOpenTaskType } from "./registry.ts";
import { tagsSchema } from "./tags.ts";
import { type Placeholder, PlaceholderError, placeholdersIn, valueAt } from "./template.ts";
import { isKeptAsText } from "./text.ts";
import { typeNameSchema } from "./type-name.ts";

export const YEAR_S = 366 * 86_400;
/** How many follow-ups one task may have, how many may follow each other, and what they may take as JSON text in all. */
const MAX_FOLLOW_UPS = 10;
const MAX_DEPTH = 5;
const MAX_THEN_BYTES = 64 * 1024;

/** A task that a task starts. */
export interface FollowUp {
  type: string;
  /** A template. */
  input: {} | null;
  /** In seconds, from the end of the task before. */
  delay?: number | undefined;
  priority: number;
  callback_url?: string | undefined;
  tags?: string[] | undefined;
  then?: FollowUp[] | undefined;
}

/** The members that every description of a task has. */
export const taskMembers = {
  type: typeNameSchema.meta({ description: "One of the names in GET /task-types.", example: "task_a" }),
  input: z
    .unknown()
    .optional()
    .transform((input) => (input === undefined ? {} : input))
    .meta({ description: "The input, as the task type requires it. Default: {}." }),
  delay: z
    .number()
    .min(0)
    .max(YEAR_S)
    .optional()
    .meta({ description: "The task starts no earlier than this many seconds from now." }),
  priority: z
    .int()
    .min(0)
    .max(MAX_PRIORITY)
    .optional()
    .transform((priority) => priority ?? 0)
    .meta({
      description: "Each step passes tasks that were queued up to a minute earlier. Default: 0.",
    }),
  callback_url: z
    .url()
    .max(2_000)
    .refine(isKeptAsText, { message: "has half of a character that takes two, or a NUL" })
    .optional()
    .meta({ description: "Receives a Standard Webhooks message when the task has ended." }),
  tags: tagsSchema,
};

export const followUpSchema: z.ZodType<FollowUp> = z
  .strictObject({
    ...taskMembers,
    delay: taskMembers.delay.meta({
      description: "The task starts no earlier than this many seconds after the one before has succeeded.",
    }),
    input: taskMembers.input.meta({
      description:
        "As the task type requires it; in its strings, `{{result.…}}` and `{{input.…}}` stand for the result and the " +
        "input of the task before. Default: {}.",
    }),
    get then() {
      return followUpsSchema.optional();
    },
  })
  .meta({ id: "FollowUp" });

/** `then`. Too many levels are noticed before they are looked into: each would take some of the stack. */
export const followUpsSchema: z.ZodType<FollowUp[]> = z.preprocess((list, ctx) => {
  if (depthOf(list) <= MAX_DEPTH) return list;
  ctx.addIssue(`at most ${MAX_DEPTH} tasks can follow each other`);
  return z.NEVER;
}, z.array(followUpSchema).min(1).max(MAX_FOLLOW_UPS));

function depthOf(list: unknown): number {
  let depth = 0;
  for (let level = [list]; level.length > 0 && depth <= MAX_DEPTH; depth++)
    level = level.flat().flatMap((item: unknown) => {
      const then: unknown = typeof item === "object" && item !== null ? Reflect.get(item, "then") : undefined;
      return Array.isArray(then) ? [then] : [];
    });
  return depth;
}

export interface FieldError {
  at: string;
  detail: string;
}

type CallbackError = (url: string) => string | undefined;

/** What was found out about a list of follow-ups without asking a schema. */
export interface ReadFollowUps {
  errors: FieldError[];
  /** The inputs that schemas have still to check, and the types, with their places. */
  inputs: { type: TaskType; text: string; at: string; unknown: string[][] }[];
}

/**
 * Reads a list, and the lists in it. `at`: its place in the request. `parent`: the input of the task before, as far as it is
 * known. `callbackError`: why a callback URL cannot be used.
 */
export function readFollowUps(
  list: readonly FollowUp[],
  at: string,
  parent: unknown,
  callbackError: CallbackError,
): ReadFollowUps {
  const length = Buffer.byteLength(JSON.stringify(list));
  if (length > MAX_THEN_BYTES)
    return {
      errors: [{ at, detail: `has ${length} bytes as JSON; the limit is ${MAX_THEN_BYTES}` }],
      inputs: [],
    };
  const all = list.map((followUp, i) => readFollowUp(followUp, `${at}/${i}`, parent, callbackError));
  return { errors: all.flatMap(({ errors }) => errors), inputs: all.flatMap(({ inputs }) => inputs) };
}

function readFollowUp(
  followUp: FollowUp,
  at: string,
  parent: unknown,
  callbackError: CallbackError,
): ReadFollowUps {
  const { type: name, input, callback_url, then = [] } = followUp;
  const type = findOpenTaskType(name);
  const errors: FieldError[] = type ? [] : [{ at: `${at}/type`, detail: noSuchType(name) }];
  const { placeholders, errors: malformed } = placeholdersIn(input);
  for (const { at: place, detail } of [...malformed, ...nowhere(placeholders, parent)])
    errors.push({ at: [`${at}/input`, ...place].join("/"), detail });
  const wrongCallback = callback_url === undefined ? undefined : callbackError(callback_url);
  if (wrongCallback !== undefined) errors.push({ at: `${at}/callback_url`, detail: wrongCallback });
  const unknown = placeholders.map((placeholder) => placeholder.at);
  const own = type ? [{ type, text: JSON.stringify(input), at, unknown }] : [];
  const next = readFollowUps(then, `${at}/then`, input, callbackError);
  return { errors: [...errors, ...next.errors], inputs: [...own, ...next.inputs] };
}

export const noSuchType = (name: string) => `there is no task type "${name}"; GET /task-types lists them`;

/** The placeholders that lead nowhere in what is known of the input of the task before. */
function nowhere(placeholders: readonly Placeholder[], parent: unknown): FieldErrorAt[] {
  return placeholders.flatMap(({ at, path }) => {
    if (path[0] !== "input" || isFilledIn(parent, path.slice(1))) return [];
    try {
      valueAt({ input: parent, result: undefined }, path);
      return [];
    } catch (error) {
      if (!(error instanceof PlaceholderError)) throw error;
      return [{ at, detail: error.message }];
    }
  });
}

/** Whether what the path leads to, or through, is not known before a placeholder is filled in. */
function isFilledIn(parent: unknown, path: readonly string[]): boolean {
  let value = parent;
  for (const name of path) {
    if (typeof value === "string") break;
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, name)) return false;
    value = Reflect.get(value, name);
  }
  return typeof value === "string" && value.includes("{{");
}

type FieldErrorAt = { at: string[]; detail: string };

/** The types of the follow-ups, each with its place. */
export const typesOf = ({ inputs }: ReadFollowUps): NamedType[] =>
  inputs.map(({ type, at }) => ({ type, at: `${at}/type` }));

/** What is wrong with the inputs, but for what placeholders touch. */
export async function followUpErrors({ errors, inputs }: ReadFollowUps): Promise<FieldError[]> {
  const checked = await Promise.all(
    inputs.map(async ({ type, text, at, unknown }) =>
      knownIssues((await parseInput(type, text)).error, `${at}/input`, unknown),
    ),
  );
  return [...errors, ...checked.flat()];
}

/** The issues that no unknown place touches: one that is in it, or that it is in, may be gone when it is filled in. */
export function knownIssues(
  error: z.ZodError | undefined,
  at: string,
  unknown: readonly (readonly string[])[],
): FieldError[] {
  const touches = (path: readonly string[]) =>
    unknown.some((other) => other.every((name, i) => i >= path.length || name === path[i]));
  return (
    (error?.issues ?? [])
      .map(({ code, path, message }) => ({ code, path: path.map(String), message }))
      // A member that the type does not take stays one.
      .filter(({ code, path }) => code === "unrecognized_keys" || !touches(path))
      .map(({ path, message }) => ({ at: [at, ...path].join("/"), detail: message }))
  );
}
