/** `POST /tasks`: the response says that the tasks are in the ledger. */
import { createRoute, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { requireScope } from "../../kernel/access.ts";
import { createRouter, json, needs, problems } from "../../kernel/app.ts";
import type { AppEnv } from "../../kernel/app-env.ts";
import type { NewTask } from "../ledger/claim.ts";
import { taskLink, taskLinkSchema, taskSchema } from "../ledger/schema.ts";
import { readTaskSettings } from "../ledger/settings.ts";
import { ledgerUnavailable } from "../ledger/shards.ts";
import { anyShard, shardOf } from "../ledger/task-id.ts";
import { submitTasks } from "../run/submit.ts";
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

const batchSchema = z
  .object({
    tasks: z.array(
      z.union([taskLinkSchema, z.object({ error: z.object({ status: z.int(), detail: z.string() }) })]),
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
  ...needs("write"),
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
    202: json("The tasks are kept and will be run.", z.union([taskLinkSchema, batchSchema])),
    ...problems({
      ...JSON_PROBLEMS,
      503: `${LEDGER_PROBLEMS[503]} Or a task type cannot run here: \`errors\` says what it lacks.`,
      400: "The body is not valid JSON, or the Idempotency-Key is malformed.",
      409: "The first request with this Idempotency-Key is still in progress. With Retry-After.",
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
  const { regions } = readTaskSettings(c.env);
  const tasks = createTasks(checked, (starts) => anyShard(c.executionCtx, regions, starts), Date.now());
  // A batch is not waited for.
  const waitMs = Array.isArray(submission) ? 0 : (waitS ?? 0) * 1000;
  const written = await writeOnce(c, key, submission, tasks, waitMs);
  const links = written.map(({ id, error }) => (error === undefined ? taskLink(id, c.req.url) : { error }));
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
  link: z.output<typeof taskLinkSchema>,
  waitS: number | undefined,
  runAtMs: number,
) {
  const retryAfterS = Math.max(1, Math.ceil((runAtMs - Date.now()) / 1000));
  const headers = { Location: link.url, ...NO_STORE };
  if (waitS === undefined) return c.json(link, 202, { ...headers, "Retry-After": String(retryAfterS) });
  const applied = { ...headers, "Preference-Applied": `wait=${waitS}` };
  const task = await waitForTask(c.env, link.id, waitS * 1000);
  if (task) return c.json(task, 200, applied);
  return c.json(link, 202, { ...applied, "Retry-After": String(retryAfterS) });
}

interface WrittenTask {
  id: string;
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
      return { value, isComplete: value.every(({ error }) => error === undefined) };
    },
    written: async (ids) => ids.map((id) => ({ id })),
  });

/** Writes the tasks of each shard together, and marks those that could not be written. */
async function writeTasks(c: Context<AppEnv>, tasks: NewTask[], waitMs: number): Promise<WrittenTask[]> {
  const failed = new Set<string>();
  const parts = Map.groupBy(tasks, ({ id }) => shardOf(id) ?? "");
  await Promise.all(
    [...parts].map(async ([shard, part]) => {
      try {
        await submitTasks(c.env, c.executionCtx, shard, part, waitMs);
      } catch {
        // It is in the log.
        for (const { id } of part) failed.add(id);
      }
    }),
  );
  if (failed.size === tasks.length) throw ledgerUnavailable();
  return tasks.map(({ id }) => (failed.has(id) ? { id, error: SHARD_UNAVAILABLE } : { id }));
}

const SHARD_UNAVAILABLE = { status: 503, detail: "This task's shard of the ledger cannot be reached." };
