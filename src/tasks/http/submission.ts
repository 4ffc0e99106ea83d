/** What `POST /tasks` takes: its schema, the checks that a schema cannot make, and the tasks that result from it. */

import { createHash } from "node:crypto";
import { z } from "zod";
import { Problem } from "../../kernel/problem.ts";
import type { NewTask } from "../ledger/claim.ts";
import { MAX_PRIORITY } from "../ledger/rank.ts";
import { typeNameSchema } from "../ledger/schema.ts";
import { newTaskId, shardOfType } from "../ledger/task-id.ts";
import { toNewTask } from "../run/submit.ts";
import { checkAvailable } from "../types/availability.ts";
import { checkCallbackUrl } from "../types/callbacks.ts";
import type { TaskType } from "../types/define.ts";
import { parseInput } from "../types/input.ts";
import { MAX_JSON_BYTES } from "../types/json.ts";
import { findOpenTaskType } from "../types/registry.ts";
import { isKeptAsText } from "../types/text.ts";

const YEAR_S = 366 * 86_400;
const MAX_BATCH_SIZE = 1_000;
/** How many errors a problem lists. */
const MAX_ERRORS = 100;

const taskSubmissionSchema = z
  .strictObject({
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
    run_at: z.iso
      .datetime({ offset: true })
      .refine((text) => Date.parse(text) <= Date.now() + YEAR_S * 1000, {
        message: "is more than a year away",
      })
      .optional()
      .meta({
        description: "The task starts no earlier than this time, given with its offset. Excludes `delay`.",
      }),
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
  })
  .refine(({ delay, run_at }) => delay === undefined || run_at === undefined, {
    message: "excludes delay: give only one of the two",
    path: ["run_at"],
  })
  .meta({ id: "TaskSubmission" });

/** One task, or a batch of them. */
export const submissionSchema = z.union([
  taskSubmissionSchema,
  z.array(taskSubmissionSchema).min(1).max(MAX_BATCH_SIZE),
]);

type TaskSubmission = z.output<typeof taskSubmissionSchema>;
export type Submission = z.output<typeof submissionSchema>;

interface CheckedTask {
  type: TaskType;
  submission: TaskSubmission;
  /** JSON text. */
  input: string;
}

/**
 * Finds the types, and checks every input and callback URL. Throws a `Problem` 422 that names everything that is wrong, or
 * a 503 if a type cannot run here.
 */
export async function checkSubmission(env: Env, submission: Submission): Promise<CheckedTask[]> {
  const isBatch = Array.isArray(submission);
  const results = await Promise.all(
    (isBatch ? submission : [submission]).map(async (task, i) =>
      checkTask(env, task, isBatch ? `json/${i}` : "json"),
    ),
  );
  const errors = results.flatMap((result) => result.errors);
  const named = results.flatMap(({ checked }, i) =>
    checked ? [{ type: checked.type, at: isBatch ? `json/${i}/type` : "json/type" }] : [],
  );
  if (errors.length === 0) checkAvailable(env, named);
  if (errors.length === 0) return results.flatMap(({ checked }) => checked ?? []);
  throw new Problem("invalid", "The request's json is not what this route takes.", {
    errors: errors.slice(0, MAX_ERRORS),
  });
}

interface FieldError {
  at: string;
  detail: string;
}

async function checkTask(
  env: Env,
  submission: TaskSubmission,
  at: string,
): Promise<{ checked?: CheckedTask; errors: FieldError[] }> {
  const { type: name, callback_url } = submission;
  const type = findOpenTaskType(name);
  const input = JSON.stringify(submission.input);
  const errors = type
    ? await inputErrors(type, input, `${at}/input`)
    : [{ at: `${at}/type`, detail: `there is no task type "${name}"; GET /task-types lists them` }];
  const wrongCallback = callback_url === undefined ? undefined : checkCallbackUrl(env, callback_url);
  if (wrongCallback !== undefined) errors.push({ at: `${at}/callback_url`, detail: wrongCallback });
  if (!type || errors.length > 0) return { errors };
  return { checked: { type, submission, input }, errors };
}

/**
 * The tasks, with new ids. Those whose type has no shard of its own go to the one that `anyShard` names, given whether
 * some of them start at once, in this invocation.
 */
export function createTasks(
  checked: CheckedTask[],
  anyShard: (startsHere: boolean) => string,
  nowMs: number,
): NewTask[] {
  const starts = ({ type, submission }: CheckedTask) =>
    type.lane === "fast" && runAtMs(submission, nowMs) <= nowMs;
  const shard = anyShard(checked.some(starts));
  return checked.map(({ type, submission, input }) => ({
    ...toNewTask(type, input, newTaskId(shardOfType(type, shard))),
    priority: submission.priority,
    runAtMs: runAtMs(submission, nowMs),
    callbackUrl: submission.callback_url ?? null,
  }));
}

/** Tells one payload from another: a hash of its JSON with sorted members, in the manner of RFC 8785. */
export function fingerprint(submission: Submission): string {
  return createHash("sha256").update(JSON.stringify(submission, sortMembers)).digest("base64url");
}

function sortMembers(_name: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

function runAtMs({ delay, run_at }: TaskSubmission, nowMs: number): number {
  if (run_at !== undefined) return Date.parse(run_at);
  return nowMs + Math.ceil((delay ?? 0) * 1000);
}

/** What is wrong with an input, as JSON text and so as it would be kept. `at`: its place in the request. */
export async function inputErrors(
  type: TaskType,
  text: string,
  at: string,
  maxBytes = MAX_JSON_BYTES,
): Promise<FieldError[]> {
  const length = Buffer.byteLength(text);
  if (length > maxBytes) return [{ at, detail: `has ${length} bytes as JSON; the limit is ${maxBytes}` }];
  const { error } = await parseInput(type, text);
  return (error?.issues ?? []).map(({ path, message }) => ({
    at: [at, ...path.map(String)].join("/"),
    detail: message,
  }));
}
