/** `POST /tasks`: the response says that the tasks are in the ledger. */
import { createRoute, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { requireScope } from "../../kernel/access.ts";
import { createRouter, json, needsWithin, problems } from "../../kernel/app.ts";
import type { AppEnv } from "../../kernel/app-env.ts";
import { Problem } from "../../kernel/problem.ts";
import type { NewTask, Placed } from "../ledger/claim.ts";
import { taskLink, taskLinkSchema, taskSchema } from "../ledger/schema.ts";
import { readTaskSettings } from "../ledger/settings.ts";
import { ledgerUnavailable } from "../ledger/shards.ts";
import { anyShard, shardOf } from "../ledger/task-id.ts";
import { submitTasks } from "../run/submit.ts";
import { checkTypeBounds, showTaskTo } from "./bounds.ts";
import { keyParameter, parseKey, parseWait, withKey } from "./idempotency.ts";
import { JSON_PROBLEMS, LEDGER_PROBLEMS, NO_STORE } from "./responses.ts";
import {
  checkSubmission,
  createTasks,
  fingerprint,
  isForced,
  type Submission,
  submissionSchema,
} from "./submission.ts";
import { waitForTask } from "./wait.ts";

/** The header that says what became of a task with a guard. */
const OUTCOME_HEADER = "Sluice-Outcome";

const submittedSchema = taskLinkSchema
  .extend({
    outcome: z
      .enum(["kept", "replaced", "debounced"])
      .optional()
      .meta({
        description:
          "Missing for a task that was created and nothing else. `kept`: this task, which holds the unique key, was there before. " +
          "`replaced`: it was created in place of another. `debounced`: it was there before, and has become what was submitted.",
      }),
    replaces: z.string().optional().meta({ description: "The id of the task that it has replaced." }),
  })
  .meta({ id: "SubmittedTask" });

const batchSchema = z
  .object({
    tasks: z.array(
      z.union([submittedSchema, z.object({ error: z.object({ status: z.int(), detail: z.string() }) })]),
    ),
  })
  .meta({
    id: "TaskBatch",
    description: "In the order of the request. A task with an `error` was not created.",
  });

const submitRoute = createRoute({
  operationId: "submitTasks",
  method: "post",
  path: "/tasks",
  tags: ["Tasks"],
  summary: "Submit a task, or a batch of tasks",
  description:
    "A batch is written all or none on each shard of the ledger. Each type with a `concurrency` has a shard of its own; " +
    "all other tasks of a batch go to one shard.",
  ...needsWithin("write"),
  parameters: [
    keyParameter("task"),
    {
      name: "Prefer",
      in: "header",
      schema: { type: "string" },
      description:
        "`wait=N`: respond when the task has ended or after N seconds (at most 60). Not for a batch, and not with a " +
        "token that has no scope `read`.",
    },
  ],
  request: {
    body: {
      required: true,
      content: { "application/json": { schema: submissionSchema, example: { type: "task_a" } } },
    },
  },
  responses: {
    200: json("The task has ended within the time of `Prefer: wait`.", taskSchema),
    202: json("The tasks are kept and will be run.", z.union([submittedSchema, batchSchema])),
    ...problems({
      ...JSON_PROBLEMS,
      503: `${LEDGER_PROBLEMS[503]} Or a task type cannot run here: \`errors\` says what it lacks.`,
      400: "The body is not valid JSON, or the Idempotency-Key is malformed.",
      409:
        "The first request with this Idempotency-Key is still in progress, with Retry-After; or another task holds the unique " +
        "key: the detail names it.",
      422: "`errors` names what is wrong; or an earlier request used the Idempotency-Key with another payload.",
    }),
  },
});

export const submitRoutes = createRouter().openapi(submitRoute, async (c) => {
  const submission = c.req.valid("json");
  if (isForced(submission)) await requireScope("admin")(c, async () => {});
  // Before anything is written: whatever is wrong with a header must change nothing.
  const key = parseKey(c.req.header("Idempotency-Key"));
  const waitS = waitOf(c);
  const checked = await checkSubmission(c.env, submission);
  checkTypeBounds(
    c.get("principal").bounds,
    checked.flatMap(({ types }) => types),
  );
  const { regions } = readTaskSettings(c.env);
  const tasks = createTasks(checked, (starts) => anyShard(c.executionCtx, regions, starts), Date.now());
  // A batch is not waited for.
  const waitMs = Array.isArray(submission) ? 0 : (waitS ?? 0) * 1000;
  const written = await writeOnce(c, key, submission, tasks, waitMs);
  const links = written.map(({ id, error, ...more }) =>
    error === undefined ? { ...taskLink(id, c.req.url), ...more } : { error },
  );
  if (Array.isArray(submission)) return c.json({ tasks: links }, 202, NO_STORE);
  const [link] = links;
  if (!link || "error" in link) throw ledgerUnavailable();
  return respondWithTask(c, link, waitS, tasks[0]?.runAtMs ?? 0);
});

/**
 * How long the caller prefers to wait. The task that it would get then has a result, which only callers who may read
 * get to see; for others the preference is ignored (RFC 7240 §2).
 */
function waitOf(c: Context<AppEnv>): number | undefined {
  return c.get("principal").scopes.includes("read") ? parseWait(c.req.header("Prefer")) : undefined;
}

/** 200 with the task if its caller waits and it ends in time; else 202. */
async function respondWithTask(
  c: Context<AppEnv>,
  link: z.output<typeof submittedSchema>,
  waitS: number | undefined,
  runAtMs: number,
) {
  const retryAfterS = Math.max(1, Math.ceil((runAtMs - Date.now()) / 1000));
  const outcome: Record<string, string> = link.outcome ? { [OUTCOME_HEADER]: link.outcome } : {};
  const headers = { Location: link.url, ...outcome, ...NO_STORE };
  if (waitS === undefined) return c.json(link, 202, { ...headers, "Retry-After": String(retryAfterS) });
  const applied = { ...headers, "Preference-Applied": `wait=${waitS}` };
  const task = await waitForTask(c.env, link.id, waitS * 1000);
  if (task) return c.json(showTaskTo(c.get("principal").bounds, task), 200, applied);
  return c.json(link, 202, { ...applied, "Retry-After": String(retryAfterS) });
}

interface WrittenTask {
  id: string;
  outcome?: Exclude<Placed["is"], "new">;
  replaces?: string;
  error?: { status: number; detail: string };
}

/** Writes the tasks; with an Idempotency-Key, only if an earlier request has not done so. */
const writeOnce = async (
  c: Context<AppEnv>,
  key: string | undefined,
  submission: Submission,
  tasks: NewTask[],
  waitMs: number,
): Promise<WrittenTask[]> =>
  withKey(c, {
    key,
    fingerprint: key === undefined ? "" : fingerprint(submission),
    ids: tasks.map(({ id }) => id),
    write: async (ids) => {
      const named = tasks.map((task, i) => ({ ...task, id: ids[i] ?? task.id }));
      const value = await writeTasks(c, key === undefined ? tasks : named, waitMs);
      const isComplete = value.every(({ error }) => error === undefined);
      return { value, isComplete, ids: value.map(({ id }) => id) };
    },
    written: async (ids) => ids.map((id) => ({ id })),
  });

/** Writes the tasks of each shard together, and marks those that could not be written. */
async function writeTasks(c: Context<AppEnv>, tasks: NewTask[], waitMs: number): Promise<WrittenTask[]> {
  const written = new Map<string, WrittenTask>();
  let refusal: Problem | undefined;
  const parts = Map.groupBy(tasks, ({ id }) => shardOf(id) ?? "");
  await Promise.all(
    [...parts].map(async ([shard, part]) => {
      try {
        const placed = await submitTasks(c.env, c.executionCtx, shard, part, waitMs);
        for (const [i, task] of part.entries()) written.set(task.id, toWritten(task, placed[i]));
      } catch (error) {
        // It is in the log, or the caller's own.
        const isRefused = error instanceof Problem && error.kind === "conflict";
        if (isRefused) refusal = error;
        const reason = isRefused ? { status: error.status, detail: error.detail } : SHARD_UNAVAILABLE;
        for (const { id } of part) written.set(id, { id, error: reason });
      }
    }),
  );
  if (tasks.every(({ id }) => written.get(id)?.error)) throw refusal ?? ledgerUnavailable();
  return tasks.map(({ id }) => written.get(id) ?? { id });
}

function toWritten({ id }: NewTask, placed: Placed | undefined): WrittenTask {
  if (!placed || placed.is === "new") return { id };
  const { id: placedId, is: outcome, replaces } = placed;
  return { id: placedId, outcome, ...(replaces === undefined ? {} : { replaces }) };
}

const SHARD_UNAVAILABLE = { status: 503, detail: "This task's shard of the ledger cannot be reached." };
