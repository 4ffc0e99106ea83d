/** Looking at what has been submitted, and at what can be. */
import { createRoute, z } from "@hono/zod-openapi";
import { createRouter, json, needs, problems } from "../../kernel/app.ts";
import { TASK_STATUSES } from "../ledger/rules.ts";
import { taskSchema, toTask, typeNameSchema } from "../ledger/schema.ts";
import { ask, ledgerOf } from "../ledger/shards.ts";
import { openTaskTypes } from "../types/registry.ts";
import { ABOUT_ONE, FRESH, known, params, UNAVAILABLE } from "./answers.ts";
import { listTasks } from "./list.ts";

export const taskRoutes = createRouter();

/** Not a literal type: for that, the router's types would not allow a stream. */
const EVENT_STREAM: string = "text/event-stream";

const moment = z.iso.datetime({ offset: true }).transform((text) => Date.parse(text));

taskRoutes.openapi(
  createRoute({
    method: "get",
    path: "/tasks",
    tags: ["Tasks"],
    summary: "Tasks, newest first",
    ...needs("read"),
    request: {
      query: z.object({
        status: z
          .string()
          .transform((text) => [...new Set(text.split(","))])
          .pipe(z.array(z.enum(TASK_STATUSES)))
          .optional()
          .meta({ description: "One or more, with commas between. `failed`: the dead letters." }),
        type: typeNameSchema.optional(),
        created_after: moment.optional().meta({ description: "Created then or later." }),
        created_before: moment.optional().meta({ description: "Created earlier." }),
        limit: z.coerce.number().int().min(1).max(500).default(50),
        cursor: z.string().max(200).optional().meta({ description: "`next` of the page before." }),
      }),
    },
    responses: {
      200: json(
        "A page of tasks, without their inputs and results.",
        z.object({
          tasks: z.array(taskSchema.omit({ input: true, result: true }).meta({ id: "TaskLine" })),
          next: z.string().nullable().meta({ description: "The cursor of the next page; null on the last." }),
        }),
      ),
      ...problems({ ...UNAVAILABLE, 422: "A parameter is wrong; `errors` says which." }),
    },
  }),
  async (c) => {
    const { status, type, created_after, created_before, limit, cursor } = c.req.valid("query");
    const untilMs = created_before ?? Number.MAX_SAFE_INTEGER;
    const wanted = { statuses: status ?? [], type, fromMs: created_after ?? 0, untilMs, limit, cursor };
    return c.json(await listTasks(c.env, wanted), 200, FRESH);
  },
);

taskRoutes.openapi(
  createRoute({
    method: "get",
    path: "/task-types",
    tags: ["Tasks"],
    summary: "What can be submitted",
    ...needs("read"),
    responses: {
      200: json(
        "Every type, with the JSON Schema of its input.",
        z.object({
          taskTypes: z.array(
            z
              .object({
                name: z.string(),
                input: z.record(z.string(), z.unknown()).meta({ description: "JSON Schema, 2020-12." }),
                retry: z.object({
                  retries: z.int(),
                  minDelayMs: z.number(),
                  maxDelayMs: z.number(),
                  factor: z.number(),
                }),
                timeoutMs: z.number(),
                concurrency: z
                  .int()
                  .nullable()
                  .meta({ description: "How many run at once; null: any number." }),
                lane: z.enum(["fast", "long"]),
              })
              .meta({ id: "TaskType" }),
          ),
        }),
      ),
      ...problems(),
    },
  }),
  (c) => {
    const taskTypes = openTaskTypes().map(({ name, input, retry, timeoutMs, concurrency = null, lane }) => {
      const schema = z.toJSONSchema(input, { io: "input", unrepresentable: "any" });
      return { name, input: { ...schema }, retry, timeoutMs, concurrency, lane };
    });
    return c.json({ taskTypes }, 200);
  },
);

taskRoutes.openapi(
  createRoute({
    method: "get",
    path: "/tasks/{id}",
    tags: ["Tasks"],
    summary: "How a task is doing",
    ...needs("read"),
    request: { params },
    responses: { 200: json("The task.", taskSchema), ...problems(ABOUT_ONE) },
  }),
  async (c) => {
    const { id } = c.req.valid("param");
    return c.json(toTask(known(await ask(async () => ledgerOf(c.env, id)?.getTask(id)), id)), 200, FRESH);
  },
);

taskRoutes.openapi(
  createRoute({
    method: "get",
    path: "/tasks/{id}/events",
    tags: ["Tasks"],
    summary: "What happens to a task, as server-sent events, until it has ended",
    ...needs("read"),
    request: {
      params,
      headers: z.object({
        "last-event-id": z
          .string()
          .regex(/^\d{1,9}$/, "is the id of an event that came before: a number")
          .optional()
          .meta({ description: "Go on after this event; from the first without it." }),
      }),
    },
    responses: {
      200: {
        description:
          "Events `status`, `progress` and `step`, numbered from 1; comments while nothing happens.",
        content: { [EVENT_STREAM]: { schema: z.string() } },
      },
      204: { description: "The task has ended, and that was its last event." },
      ...problems({ ...ABOUT_ONE, 422: "Last-Event-ID is not a number." }),
    },
  }),
  async (c) => {
    const { id } = c.req.valid("param");
    const after = Number(c.req.valid("header")["last-event-id"] ?? 0);
    const stream = known(await ask(async () => ledgerOf(c.env, id)?.watch(id, after)), id);
    if (stream === "over") return c.body(null, 204, FRESH);
    return c.body(stream, 200, { "Content-Type": EVENT_STREAM, ...FRESH });
  },
);
