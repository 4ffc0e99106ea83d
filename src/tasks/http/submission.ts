/** What `POST /tasks` takes: its schema, the checks that need more than a schema, and the tasks that come of it. */

import { createHash } from "node:crypto";
import { z } from "zod";
import { Problem } from "../../kernel/problem.ts";
import type { NewTask } from "../ledger/claim.ts";
import { HIGHEST_PRIORITY } from "../ledger/rank.ts";
import { typeNameSchema } from "../ledger/schema.ts";
import { newTaskId, shardOfType } from "../ledger/task-id.ts";
import { toEntry } from "../run/submit.ts";
import type { TaskType } from "../types/define.ts";
import { MAX_JSON_BYTES } from "../types/json.ts";
import { findOpenTaskType } from "../types/registry.ts";

const YEAR_S = 366 * 86_400;
const MOST_IN_BATCH = 1_000;
/** Of arrays and objects within each other: what works on each level in turn has a stack that ends. */
const MOST_LEVELS = 2_000;
/** What a caller can read at once. */
const MOST_ERRORS = 100;

const oneSchema = z
  .strictObject({
    type: typeNameSchema.meta({ description: "One of GET /task-types.", example: "task_a" }),
    input: z.unknown().default({}).meta({ description: "What the type takes." }),
    delay: z
      .number()
      .min(0)
      .max(YEAR_S)
      .optional()
      .meta({ description: "Seconds from now, before which it does not begin." }),
    run_at: z.iso
      .datetime({ offset: true })
      .refine((text) => Date.parse(text) <= Date.now() + YEAR_S * 1000, {
        message: "is more than a year away",
      })
      .optional()
      .meta({ description: "The time before which it does not begin, with its offset; instead of `delay`." }),
    priority: z
      .int()
      .min(0)
      .max(HIGHEST_PRIORITY)
      .default(0)
      .meta({ description: "Each step passes whatever was queued up to a minute before." }),
    callback_url: z
      .url()
      .max(2_000)
      .optional()
      .meta({ description: "Is told how the task ended, as a Standard Webhooks message." }),
  })
  .refine(({ delay, run_at }) => delay === undefined || run_at === undefined, {
    message: "is given beside delay; only one of them can be",
    path: ["run_at"],
  })
  .meta({ id: "TaskSubmission" });

/** One task, or a batch of them. */
export const submissionSchema = z.union([oneSchema, z.array(oneSchema).min(1).max(MOST_IN_BATCH)]);

export type Submission = z.output<typeof submissionSchema>;
type One = z.output<typeof oneSchema>;

interface Checked {
  type: TaskType;
  one: One;
  /** Its input as JSON text. */
  input: string;
}

/** Finds the types, and checks every input. Throws a `Problem` 422 that names all that is wrong. */
export function checkSubmission(
  submission: Submission,
  refuseCallback: (url: string) => string | undefined,
): Checked[] {
  const errors: { at: string; detail: string }[] = [];
  const isBatch = Array.isArray(submission);
  const checked = (isBatch ? submission : [submission]).flatMap((one, i): Checked[] => {
    const at = isBatch ? `json/${i}` : "json";
    const type = findOpenTaskType(one.type);
    const input = depthOf(one.input) > MOST_LEVELS ? undefined : JSON.stringify(one.input);
    const unfit = type ? describeUnfit(type, one.input, input, `${at}/input`) : noType(one.type, at);
    const refusal = one.callback_url === undefined ? undefined : refuseCallback(one.callback_url);
    if (refusal !== undefined) unfit.push({ at: `${at}/callback_url`, detail: refusal });
    errors.push(...unfit);
    return type && input !== undefined && unfit.length === 0 ? [{ type, one, input }] : [];
  });
  if (errors.length === 0) return checked;
  throw new Problem("invalid", "The request's json is not what this route takes.", {
    errors: errors.slice(0, MOST_ERRORS),
  });
}

/** The tasks, under new ids. Those whose type has no shard of its own go to `shard`. */
export function makeTasks(checked: Checked[], shard: string, nowMs: number): NewTask[] {
  return checked.map(({ type, one, input }) => ({
    ...toEntry(type, input, newTaskId(shardOfType(type, shard))),
    priority: one.priority,
    runAtMs: runAtMs(one, nowMs),
    callbackUrl: one.callback_url ?? null,
  }));
}

/** Tells one payload from another: of its JSON with sorted members, as RFC 8785 has it. */
export function fingerprint(submission: Submission): string {
  return createHash("sha256").update(JSON.stringify(submission, sortMembers)).digest("base64url");
}

function sortMembers(_name: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

function runAtMs({ delay, run_at }: One, nowMs: number): number {
  if (run_at !== undefined) return Date.parse(run_at);
  return nowMs + Math.ceil((delay ?? 0) * 1000);
}

/** `text`: the input as JSON; undefined if it is nested too deeply to have any. */
function describeUnfit(type: TaskType, input: unknown, text: string | undefined, at: string) {
  if (text === undefined)
    return [{ at, detail: `has more than ${MOST_LEVELS} levels, one within the other` }];
  const length = Buffer.byteLength(text);
  if (length > MAX_JSON_BYTES)
    return [{ at, detail: `has ${length} bytes as JSON; ${MAX_JSON_BYTES} is the most` }];
  const parsed = type.input.safeParse(input);
  return (parsed.error?.issues ?? []).map(({ path, message }) => ({
    at: [at, ...path.map(String)].join("/"),
    detail: message,
  }));
}

function depthOf(json: unknown): number {
  let depth = 0;
  for (let level = [json]; level.length > 0; depth++) level = level.flatMap(membersOf);
  return depth;
}

const membersOf = (value: unknown): unknown[] =>
  typeof value === "object" && value !== null ? Object.values(value) : [];

const noType = (name: string, at: string) => [
  { at: `${at}/type`, detail: `there is no task type "${name}"; GET /task-types lists them` },
];
