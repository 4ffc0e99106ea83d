import { createRoute, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { createRouter, json, needs, problems } from "../../kernel/app.ts";
import { type AppEnv } from "../../kernel/app-env.ts";
import { callbackUrlError } from "../../kernel/callbacks.ts";
import { errorFields, log } from "../../kernel/log.ts";
import type { NewTask } from "../ledger/claim.ts";
import { taskLink, taskLinkSchema, taskSchema } from "../ledger/schema.ts";
import { ask, ledgerOn, ledgerUnavailable } from "../ledger/shards.ts";
import { anyShard, shardOf, shardOfName } from "../ledger/task-id.ts";
import { submitTasks } from "../run/submit.ts";
import { FRESH, limitBody, NOT_JSON, UNAVAILABLE } from "./answers.ts";
import { checkReservation, parseKey, parseWait } from "./idempotency.ts";
import { checkSubmission, fingerprint, makeTasks, type Submission, submissionSchema } from "./submission.ts";
import { waitForTask } from "./wait.ts";

export const submitRoutes = createRouter();

const batchSchema = z
  .object({
    tasks: z.array(
      z.union([taskLinkSchema, z.object({ error: z.object({ status: z.int(), detail: z.string() }) })]),
    ),
  })
  .meta({
    id: "TaskBatch",
    description: "In the order of the request. Those with an `error` are not there.",
  });

submitRoutes.openapi(
  createRoute({
    method: "post",
    path: "/tasks",
    tags: ["Tasks"],
    summary: "Submit a task, or a batch of them",
    description:
      "A batch is written all or none on each shard of the ledger: types with a `concurrency` have one of their own, " +
      "all others of a batch go to the same.",
    security: needs("write").security,
    middleware: [needs("write").middleware, limitBody] as const,
    // Read by hand: a schema would have the router copy and check every header of each request.
    parameters: [
      {
        name: "Idempotency-Key",
        in: "header",
        schema: { type: "string" },
        description:
          "A string in double quotes. The same request with the same key, within 24 hours, gives the same task.",
      },
      {
        name: "Prefer",
        in: "header",
        schema: { type: "string" },
        description:
          "`wait=N`: answer when the task has ended, or in N seconds (60 at most). Not for a batch.",
      },
    ],
    request: {
      body: { required: true, content: { "application/json": { schema: submissionSchema } } },
    },
    responses: {
      200: json("The task has ended, in the time that `Prefer` allowed.", taskSchema),
      202: json(
        "What is acknowledged here is kept, and will be run.",
        z.union([taskLinkSchema, batchSchema]),
      ),
      ...problems({
        ...NOT_JSON,
        ...UNAVAILABLE,
        400: "The body is not JSON, or the Idempotency-Key is malformed.",
        409: "The first request with this Idempotency-Key is still being worked on. With Retry-After.",
        422: "`errors` names what is wrong; or the Idempotency-Key came with another payload before.",
      }),
    },
  }),
  async (c) => {
    const submission = c.req.valid("json");
    const checked = checkSubmission(submission, (url) => callbackUrlError(c.env, url));
    const tasks = makeTasks(checked, anyShard(), Date.now());
    const made = await makeOnce(c, submission, tasks);
    const links = made.map(({ id, error }) => (error === undefined ? taskLink(id, c.req.url) : { error }));
    if (Array.isArray(submission)) return c.json({ tasks: links }, 202, FRESH);
    const [link] = links;
    if (!link || "error" in link) throw ledgerUnavailable();
    return answerOne(c, link, tasks[0]?.runAtMs ?? 0);
  },
);

/** 200 with the task, if its caller would wait and it ended in time; else 202. */
async function answerOne(c: Context<AppEnv>, link: z.output<typeof taskLinkSchema>, runAtMs: number) {
  const waitS = parseWait(c.req.header("Prefer"));
  const retryAfterS = Math.max(1, Math.ceil((runAtMs - Date.now()) / 1000));
  const headers = { Location: link.url, ...FRESH };
  if (waitS === undefined) return c.json(link, 202, { ...headers, "Retry-After": String(retryAfterS) });
  const applied = { ...headers, "Preference-Applied": `wait=${waitS}` };
  const task = await waitForTask(c.env, link.id, waitS * 1000);
  if (task) return c.json(task, 200, applied);
  return c.json(link, 202, { ...applied, "Retry-After": String(retryAfterS) });
}

interface Made {
  id: string;
  error?: { status: number; detail: string };
}

/** Makes the tasks; with an Idempotency-Key, only if they have not been made before. */
async function makeOnce(c: Context<AppEnv>, submission: Submission, tasks: NewTask[]): Promise<Made[]> {
  const key = parseKey(c.req.header("Idempotency-Key"));
  if (key === undefined) return make(c, tasks);
  const scopedKey = JSON.stringify([c.get("principal").name, key]);
  const keeper = () => ledgerOn(c.env, shardOfName(scopedKey));
  const ids = tasks.map(({ id }) => id);
  const reservation = await ask(async () => keeper().reserveKey(scopedKey, fingerprint(submission), ids));
  const { taskIds, areMade } = checkReservation(reservation);
  if (areMade) return taskIds.map((id) => ({ id }));
  let isWhole = false;
  try {
    const made = await make(
      c,
      tasks.map((task, i) => ({ ...task, id: taskIds[i] ?? task.id })),
    );
    isWhole = made.every(({ error }) => error === undefined);
    return made;
  } finally {
    // The caller need not wait for it: until then, the key's lease says the same.
    c.executionCtx.waitUntil(keeper().settleKey(scopedKey, isWhole));
  }
}

/** Writes the tasks of each shard together, and says which could not be. */
async function make(c: Context<AppEnv>, tasks: NewTask[]): Promise<Made[]> {
  const failed = new Set<string>();
  const parts = Map.groupBy(tasks, ({ id }) => shardOf(id) ?? "");
  await Promise.all(
    [...parts].map(async ([shard, part]) => {
      try {
        await submitTasks(c.env, c.executionCtx, shard, part);
      } catch (error) {
        log("error", "tasks could not be submitted", { shard, count: part.length, ...errorFields(error) });
        for (const { id } of part) failed.add(id);
      }
    }),
  );
  if (failed.size === tasks.length) throw ledgerUnavailable();
  return tasks.map(({ id }) => (failed.has(id) ? { id, error: NOT_TAKEN } : { id }));
}

const NOT_TAKEN = { status: 503, detail: "This part of the ledger cannot be reached." };
