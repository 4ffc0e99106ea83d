/** What `POST /tasks` takes: its schema, the checks that a schema cannot make, and the tasks that result from it. */

import { createHash } from "node:crypto";
import { z } from "zod";
import { Problem } from "../../kernel/problem.ts";
import type { NewTask } from "../ledger/claim.ts";
import { newTaskId, shardOfGuarded } from "../ledger/task-id.ts";
import { toNewTask } from "../run/new-task.ts";
import { checkAvailable, type NamedType } from "../types/availability.ts";
import { checkCallbackUrl } from "../types/callbacks.ts";
import type { TaskType } from "../types/define.ts";
import {
  type FieldError,
  followUpErrors,
  followUpsSchema,
  noSuchType,
  readFollowUps,
  taskMembers,
  typesOf,
  YEAR_S,
} from "../types/follow-ups.ts";
import { guardError, guardMembers, toGuard } from "../types/guards.ts";
import { checkInput } from "../types/input.ts";
import { MAX_JSON_BYTES } from "../types/json.ts";
import { findOpenTaskType } from "../types/registry.ts";
import { keptTags } from "../types/tags.ts";

const MAX_BATCH_SIZE = 1_000;
/** How many errors a problem lists. */
const MAX_ERRORS = 100;

const taskSubmissionSchema = z
  .strictObject({
    ...taskMembers,
    run_at: z.iso
      .datetime({ offset: true, abort: true })
      .refine((text) => Date.parse(text) <= Date.now() + YEAR_S * 1000, {
        message: "is more than a year away",
      })
      .optional()
      .meta({
        description: "The task starts no earlier than this time, given with its offset. Excludes `delay`.",
      }),
    ...guardMembers,
    force: z.boolean().optional().meta({
      description: "The task also begins while its type is paused. Needs the scope `admin`.",
    }),
    then: followUpsSchema.optional().meta({
      description:
        "Tasks that start when this one has succeeded, each with the result and the input of this one filled in.",
    }),
  })
  .refine(({ delay, run_at }) => delay === undefined || run_at === undefined, {
    message: "excludes delay: give only one of the two",
    path: ["run_at"],
  })
  .superRefine((submission, ctx) => {
    const wrong = guardError(submission);
    if (wrong) ctx.addIssue({ code: "custom", message: wrong.detail, path: [wrong.at] });
  })
  .meta({ id: "TaskSubmission" });

/** One task, or a batch of them. */
export const submissionSchema = z.union([
  taskSubmissionSchema,
  z.array(taskSubmissionSchema).min(1).max(MAX_BATCH_SIZE),
]);

type TaskSubmission = z.output<typeof taskSubmissionSchema>;
export type Submission = z.output<typeof submissionSchema>;

/** Whether some of it is to begin although its type may be paused. */
export const isForced = (submission: Submission): boolean =>
  [submission].flat().some(({ force }) => force === true);

interface CheckedTask {
  type: TaskType;
  submission: TaskSubmission;
  /** JSON text. */
  input: string;
  /** Its own, and those of its follow-ups. */
  types: NamedType[];
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
  if (errors.length === 0) {
    const all = results.flatMap(({ checked }) => checked ?? []);
    checkAvailable(
      env,
      all.flatMap(({ types }) => types),
    );
    return all;
  }
  throw new Problem("invalid", "The request's json is not what this route takes.", {
    errors: errors.slice(0, MAX_ERRORS),
  });
}

async function checkTask(
  env: Env,
  submission: TaskSubmission,
  at: string,
): Promise<{ checked?: CheckedTask; errors: FieldError[] }> {
  const { type: name, callback_url, then = [] } = submission;
  const type = findOpenTaskType(name);
  const input = JSON.stringify(submission.input);
  const errors = type
    ? await inputErrors(type, input, `${at}/input`)
    : [{ at: `${at}/type`, detail: noSuchType(name) }];
  const callbackError = (url: string) => checkCallbackUrl(env, url);
  const wrongCallback = callback_url === undefined ? undefined : callbackError(callback_url);
  if (wrongCallback !== undefined) errors.push({ at: `${at}/callback_url`, detail: wrongCallback });
  const followUps = readFollowUps(then, `${at}/then`, submission.input, callbackError);
  errors.push(...(await followUpErrors(followUps)));
  if (!type || errors.length > 0) return { errors };
  const types = [{ type, at: `${at}/type` }, ...typesOf(followUps)];
  return { checked: { type, submission, input, types }, errors };
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
  return checked.map(({ type, submission, input }) => {
    const guard = toGuard(type.name, submission);
    return {
      ...toNewTask(type, input, newTaskId(shardOfGuarded(type, guard, shard))),
      ...(guard ? { guard } : {}),
      priority: submission.priority,
      runAtMs: runAtMs(submission, nowMs),
      callbackUrl: submission.callback_url ?? null,
      ...keptTags(submission.tags),
      ...(submission.force && { force: true }),
      ...(submission.then ? { then: JSON.stringify(submission.then) } : {}),
    };
  });
}

/** Tells one payload from another: a hash of its JSON with sorted members, in the manner of RFC 8785. */
export function fingerprint(payload: unknown): string {
  return createHash("sha256").update(JSON.stringify(payload, sortMembers)).digest("base64url");
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
  const { error } = await checkInput(type, text);
  return (error?.issues ?? []).map(({ path, message }) => ({
    at: [at, ...path.map(String)].join("/"),
    detail: message,
  }));
}
