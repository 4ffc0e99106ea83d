/** `POST /tasks/bulk`: one action on all tasks that match a filter, as a task of its own; or how many that would be. */
import { createRoute, z } from "@hono/zod-openapi";
import { createRouter, json, needs, problems } from "../../kernel/app.ts";
import {
  BULK_ACTIONS,
  previewBulk,
  startTasks,
  taskLineSchema,
  taskLink,
  taskLinkSchema,
  toFilter,
} from "../../tasks/index.ts";
import { bulkSchema, bulkTasks } from "./bulk-tasks.ts";

const NO_STORE = { "Cache-Control": "no-store" };

const route = createRoute({
  operationId: "bulkTasks",
  method: "post",
  path: "/tasks/bulk",
  tags: ["Tasks"],
  summary: "Cancel, retry or delete all tasks that match a filter",
  description:
    "The work is a task of type `bulk_tasks`, with progress; its result counts `done`, `skipped` and `failed`. Only tasks that " +
    "match when it begins are meant, and of these only those that the action can be done to.",
  ...needs("write", "read"),
  request: {
    body: {
      required: true,
      content: {
        "application/json": {
          schema: bulkSchema.extend({
            dry_run: z
              .boolean()
              .optional()
              .meta({ description: "Count the tasks, and change nothing. Default: false." }),
          }),
          example: { action: "retry", filter: { type: "task_a", status: ["failed"] }, dry_run: true },
        },
      },
    },
  },
  responses: {
    200: json(
      "Of a dry run: how many tasks it would be, and the newest of them.",
      z.object({
        action: z.enum(BULK_ACTIONS),
        count: z.int(),
        complete: z.boolean().meta({ description: "False: there are more, which were not counted in time." }),
        examples: z.array(taskLineSchema),
      }),
    ),
    202: json("The task that does it.", taskLinkSchema),
    ...problems({
      400: "The body is not valid JSON.",
      413: "The body is too long.",
      415: "The Content-Type is not application/json.",
      422: "The action or the filter is not valid; `errors` says which.",
      503: "The objects that keep tasks do not respond. With Retry-After.",
    }),
  },
});

export const bulkRoutes = createRouter().openapi(route, async (c) => {
  const { dry_run: isDryRun = false, action, filter } = c.req.valid("json");
  if (isDryRun) {
    const plan = { action, filter: toFilter(filter), beganMs: Date.now() };
    return c.json({ action, ...(await previewBulk(c.env, plan)) }, 200, NO_STORE);
  }
  const [id = ""] = await startTasks(c.env, c.executionCtx, [{ type: bulkTasks, input: { action, filter } }]);
  const link = taskLink(id, c.req.url);
  return c.json(link, 202, { ...NO_STORE, Location: link.url, "Retry-After": "1" });
});
