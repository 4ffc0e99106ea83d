/** Steering: cancel, retry and remove tasks that were submitted. */

import { createRoute, z } from "@hono/zod-openapi";
import { createRouter, json, needs, needsWithin, problems } from "../../kernel/app.ts";
import { Problem } from "../../kernel/problem.ts";
import { taskSchema, toTask } from "../ledger/schema.ts";
import { callLedger, type Ledger, ledgerOf, ledgerOn, shardsInUse } from "../ledger/shards.ts";
import { findTaskType } from "../types/registry.ts";
import { typeNameSchema } from "../types/type-name.ts";
import { checkTaskBounds, showTaskTo } from "./bounds.ts";
import { ITEM_PROBLEMS, JSON_PROBLEMS, LEDGER_PROBLEMS, NO_STORE, orNotFound, params } from "./responses.ts";

/** How many dead letters of a shard one call retries. */
const RETRY_BATCH = 500;
/** For how long one request keeps retrying. */
const RETRY_BUDGET_MS = 10_000;

const retryTypeRoute = createRoute({
  operationId: "retryFailedTasks",
  method: "post",
  path: "/tasks/retry",
  tags: ["Tasks"],
  summary: "Retry the dead letters of a type",
  ...needs("admin"),
  request: {
    body: {
      required: true,
      content: {
        "application/json": {
          schema: z.strictObject({
            type: typeNameSchema.meta({ description: "The name of a task type.", example: "task_a" }),
          }),
          example: { type: "task_a" },
        },
      },
    },
  },
  responses: {
    200: json(
      "How many tasks were retried.",
      z.object({
        retried: z.int(),
        remaining: z.boolean().meta({ description: "There may be more dead letters: repeat the request." }),
      }),
    ),
    ...problems({ ...JSON_PROBLEMS, ...LEDGER_PROBLEMS, 422: "There is no such type." }),
  },
});

const cancelRoute = createRoute({
  operationId: "cancelTask",
  method: "post",
  path: "/tasks/{id}/cancel",
  tags: ["Tasks"],
  summary: "Cancel a task, for good",
  description:
    "A waiting task is cancelled at once. A running task is asked to stop, and is cancelled after 10 seconds in any case.",
  ...needsWithin("write", "read"),
  request: { params },
  responses: {
    200: json("The task is cancelled or being cancelled.", taskSchema),
    ...problems({ ...ITEM_PROBLEMS, 409: "The task has already succeeded or failed." }),
  },
});

const retryRoute = createRoute({
  operationId: "retryTask",
  method: "post",
  path: "/tasks/{id}/retry",
  tags: ["Tasks"],
  summary: "Run a failed or cancelled task again",
  description:
    "The task gets all of its attempts anew. Recorded steps are not repeated. If code of it may still be at work, the task " +
    "waits until that must have ended.",
  ...needsWithin("write", "read"),
  request: { params },
  responses: {
    202: json("The task is queued, or waits for its time.", taskSchema),
    ...problems({
      ...ITEM_PROBLEMS,
      409: "The task has succeeded, has not ended, or failed before it could start; or another task holds its unique key.",
    }),
  },
});

const removeRoute = createRoute({
  operationId: "deleteTask",
  method: "delete",
  path: "/tasks/{id}",
  tags: ["Tasks"],
  summary: "Delete a task that has ended",
  ...needsWithin("write"),
  request: { params },
  responses: {
    204: { description: "The task is deleted, with its events and steps." },
    ...problems({
      ...ITEM_PROBLEMS,
      409: "The task has not ended: cancel it first; or its code may still be at work.",
    }),
  },
});

export const steeringRoutes = createRouter()
  .openapi(retryTypeRoute, async (c) => {
    const { type } = c.req.valid("json");
    if (!findTaskType(type)) {
      const detail = `there is no task type "${type}"; GET /task-types lists them`;
      throw new Problem("invalid", "There is no such type.", { errors: [{ at: "json/type", detail }] });
    }
    const parts = await Promise.all(
      (await shardsInUse(c.env)).map(async (shard) => retryFailed(() => ledgerOn(c.env, shard), type)),
    );
    const retried = parts.reduce((sum, part) => sum + part.retried, 0);
    return c.json({ retried, remaining: parts.some((part) => part.remaining) }, 200, NO_STORE);
  })
  .openapi(cancelRoute, async (c) => {
    const { id } = c.req.valid("param");
    await checkTaskBounds(c, id);
    const task = orNotFound(await callLedger(async () => ledgerOf(c.env, id)?.cancel(id)), id);
    if (task === "ended")
      throw new Problem("conflict", "This task has already ended: there is nothing to cancel.");
    return c.json(showTaskTo(c.get("principal").bounds, toTask(task)), 200, NO_STORE);
  })
  .openapi(retryRoute, async (c) => {
    const { id } = c.req.valid("param");
    await checkTaskBounds(c, id);
    const task = orNotFound(await callLedger(async () => ledgerOf(c.env, id)?.retry(id), "once"), id);
    if (task === "held")
      throw new Problem(
        "conflict",
        "Another task holds the unique key of this one: wait until that has ended.",
      );
    if (task === "refused")
      throw new Problem(
        "conflict",
        "Only a task that failed after it had started, or was cancelled, can be retried.",
      );
    return c.json(showTaskTo(c.get("principal").bounds, toTask(task)), 202, NO_STORE);
  })
  .openapi(removeRoute, async (c) => {
    const { id } = c.req.valid("param");
    await checkTaskBounds(c, id);
    const removed = orNotFound(await callLedger(async () => ledgerOf(c.env, id)?.remove(id), "once"), id);
    if (removed === "active") throw new Problem("conflict", "This task has not ended: cancel it first.");
    if (removed === "busy")
      throw new Problem("conflict", "Code of this task may still be at work: delete it in a minute or so.", {
        headers: { "Retry-After": "60" },
      });
    return c.body(null, 204);
  });

/** Works in batches, so that a shard with many dead letters serves other calls in between. */
async function retryFailed(
  ledger: () => Ledger,
  type: string,
): Promise<{ retried: number; remaining: boolean }> {
  // A task that fails again meanwhile is not retried again.
  const beforeMs = Date.now();
  for (let retried = 0; ; ) {
    const batch = await callLedger(async () => ledger().retryFailed(type, beforeMs, RETRY_BATCH));
    retried += batch;
    if (batch < RETRY_BATCH) return { retried, remaining: false };
    if (Date.now() >= beforeMs + RETRY_BUDGET_MS) return { retried, remaining: true };
  }
}
