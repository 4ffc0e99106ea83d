/** Steering what has been submitted: cancel, retry, remove. */

import { createRoute, z } from "@hono/zod-openapi";
import { createRouter, json, needs, problems } from "../../kernel/app.ts";
import { Problem } from "../../kernel/problem.ts";
import { taskSchema, toTask, typeNameSchema } from "../ledger/schema.ts";
import { ask, type Ledger, ledgerOf, ledgerOn } from "../ledger/shards.ts";
import { SHARDS } from "../ledger/task-id.ts";
import { findTaskType } from "../types/registry.ts";
import { ABOUT_ONE, FRESH, known, limitBody, NOT_JSON, params, UNAVAILABLE } from "./answers.ts";

export const steeringRoutes = createRouter();

/** How many dead letters of a shard one call retries. */
const RETRY_BATCH = 500;
/** How long one request goes on retrying. */
const RETRY_BUDGET_MS = 10_000;

steeringRoutes.openapi(
  createRoute({
    method: "post",
    path: "/tasks/retry",
    tags: ["Tasks"],
    summary: "Retry the dead letters of a type",
    security: needs("admin").security,
    middleware: [needs("admin").middleware, limitBody] as const,
    request: {
      body: {
        required: true,
        content: { "application/json": { schema: z.strictObject({ type: typeNameSchema }) } },
      },
    },
    responses: {
      200: json(
        "How many were retried.",
        z.object({
          retried: z.int(),
          remaining: z.boolean().meta({ description: "There may be more: ask again." }),
        }),
      ),
      ...problems({ ...NOT_JSON, ...UNAVAILABLE, 422: "There is no such type." }),
    },
  }),
  async (c) => {
    const { type } = c.req.valid("json");
    if (!findTaskType(type)) {
      const detail = `there is no task type "${type}"`;
      throw new Problem("invalid", "There is no such type.", { errors: [{ at: "json/type", detail }] });
    }
    const parts = await Promise.all(SHARDS.map(async (shard) => retryFailed(ledgerOn(c.env, shard), type)));
    const retried = parts.reduce((sum, part) => sum + part.retried, 0);
    return c.json({ retried, remaining: parts.some((part) => part.remaining) }, 200, FRESH);
  },
);

/** In batches, so that a shard with many dead letters serves others between. */
async function retryFailed(ledger: Ledger, type: string): Promise<{ retried: number; remaining: boolean }> {
  // One that fails again meanwhile is not retried for ever.
  const beforeMs = Date.now();
  for (let retried = 0; ; ) {
    const batch = await ask(async () => ledger.retryFailed(type, beforeMs, RETRY_BATCH));
    retried += batch;
    if (batch < RETRY_BATCH) return { retried, remaining: false };
    if (Date.now() >= beforeMs + RETRY_BUDGET_MS) return { retried, remaining: true };
  }
}

steeringRoutes.openapi(
  createRoute({
    method: "post",
    path: "/tasks/{id}/cancel",
    tags: ["Tasks"],
    summary: "Cancel a task, for good",
    description:
      "One that waits is cancelled at once. One that runs is asked to end, and after 10 seconds is cancelled all the same.",
    ...needs("write"),
    request: { params },
    responses: {
      200: json("It is cancelled, or being cancelled.", taskSchema),
      ...problems({ ...ABOUT_ONE, 409: "It has ended." }),
    },
  }),
  async (c) => {
    const { id } = c.req.valid("param");
    const task = known(await ask(async () => ledgerOf(c.env, id)?.cancel(id)), id);
    if (task === "ended") throw new Problem("conflict", "This task has ended; there is nothing to cancel.");
    return c.json(toTask(task), 200, FRESH);
  },
);

steeringRoutes.openapi(
  createRoute({
    method: "post",
    path: "/tasks/{id}/retry",
    tags: ["Tasks"],
    summary: "Run a task again that failed or was cancelled",
    description: "With all of its attempts. What its steps have recorded is not done again.",
    ...needs("write"),
    request: { params },
    responses: {
      202: json("It is queued, or waits for its time.", taskSchema),
      ...problems({ ...ABOUT_ONE, 409: "It has succeeded, or has not ended." }),
    },
  }),
  async (c) => {
    const { id } = c.req.valid("param");
    const task = known(await ask(async () => ledgerOf(c.env, id)?.retry(id), "once"), id);
    if (task === "refused")
      throw new Problem("conflict", "Only a task that failed or was cancelled is retried.");
    return c.json(toTask(task), 202, FRESH);
  },
);

steeringRoutes.openapi(
  createRoute({
    method: "delete",
    path: "/tasks/{id}",
    tags: ["Tasks"],
    summary: "Remove a task that has ended",
    ...needs("write"),
    request: { params },
    responses: {
      204: { description: "It is gone, with its events and steps." },
      ...problems({ ...ABOUT_ONE, 409: "It has not ended: cancel it first." }),
    },
  }),
  async (c) => {
    const { id } = c.req.valid("param");
    const removed = known(await ask(async () => ledgerOf(c.env, id)?.remove(id), "once"), id);
    if (removed === "active") throw new Problem("conflict", "This task has not ended; cancel it first.");
    return c.body(null, 204);
  },
);
