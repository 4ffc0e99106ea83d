/** Reading: the tasks that were submitted. */
import { createRoute, z } from "@hono/zod-openapi";
import { createRouter, json, needs, problems } from "../../kernel/app.ts";
import { cursorParam, emptyIsAbsent, pageSize } from "../../kernel/query.ts";
import { taskSchema, toTask } from "../ledger/schema.ts";
import { callLedger, ledgerOf } from "../ledger/shards.ts";
import { TASK_STATUSES } from "../ledger/task-state.ts";
import { typeNameSchema } from "../types/type-name.ts";
import { countTasksByStatus, listTasks } from "./list.ts";
import { ITEM_PROBLEMS, LEDGER_PROBLEMS, NO_STORE, orNotFound, params } from "./responses.ts";

const statuses = z
  .string()
  .transform((text) => [...new Set(text.split(",").filter(Boolean))])
  .pipe(z.array(z.enum(TASK_STATUSES)));
const moment = z.iso.datetime({ offset: true }).transform((text) => Date.parse(text));

const listRoute = createRoute({
  operationId: "listTasks",
  method: "get",
  path: "/tasks",
  tags: ["Tasks"],
  summary: "List tasks, newest first",
  ...needs("read"),
  request: {
    query: z.object({
      status: emptyIsAbsent(statuses).meta({
        description: "One or more statuses, separated by commas. `failed`: the dead letters.",
      }),
      type: emptyIsAbsent(typeNameSchema),
      created_after: emptyIsAbsent(moment).meta({ description: "Created at or after this time." }),
      created_before: emptyIsAbsent(moment).meta({ description: "Created before this time." }),
      limit: pageSize(500, 50),
      cursor: cursorParam(),
    }),
  },
  responses: {
    200: json(
      "A page of tasks, without their inputs and results.",
      z.object({
        tasks: z.array(taskSchema.omit({ input: true, result: true }).meta({ id: "TaskLine" })),
        next: z
          .string()
          .nullable()
          .meta({ description: "The cursor of the next page; null on the last page." }),
      }),
    ),
    ...problems({ ...LEDGER_PROBLEMS, 422: "A parameter is not valid; `errors` says which." }),
  },
});

const countsRoute = createRoute({
  operationId: "countTasks",
  method: "get",
  path: "/tasks/counts",
  tags: ["Tasks"],
  summary: "Count tasks by type and status",
  ...needs("read"),
  responses: {
    200: json(
      "How many there are, of types and statuses that have any. In each object, at most about 10,000 of each are counted.",
      z.object({
        counts: z.array(
          z.object({ type: z.string(), status: z.enum(TASK_STATUSES), count: z.int().positive() }),
        ),
      }),
    ),
    ...problems(LEDGER_PROBLEMS),
  },
});

const getRoute = createRoute({
  operationId: "getTask",
  method: "get",
  path: "/tasks/{id}",
  tags: ["Tasks"],
  summary: "Get a task",
  ...needs("read"),
  request: { params },
  responses: { 200: json("The task.", taskSchema), ...problems(ITEM_PROBLEMS) },
});

export const taskRoutes = createRouter()
  .openapi(listRoute, async (c) => {
    const { status, type, created_after, created_before, limit, cursor } = c.req.valid("query");
    const untilMs = created_before ?? Number.MAX_SAFE_INTEGER;
    const query = { statuses: status ?? [], type, fromMs: created_after ?? 0, untilMs, limit, cursor };
    return c.json(await listTasks(c.env, query), 200, NO_STORE);
  })
  .openapi(countsRoute, async (c) => c.json({ counts: await countTasksByStatus(c.env) }, 200, NO_STORE))
  .openapi(getRoute, async (c) => {
    const { id } = c.req.valid("param");
    const row = await callLedger(async () => ledgerOf(c.env, id)?.getTask(id));
    return c.json(toTask(orNotFound(row, id)), 200, NO_STORE);
  });
