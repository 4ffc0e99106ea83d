/** Reading: the tasks that were submitted. */
import { createRoute, z } from "@hono/zod-openapi";
import { createRouter, json, needs, needsWithin, problems } from "../../kernel/app.ts";
import { isTypeWithin } from "../../kernel/bounds.ts";
import { cursorParam, emptyIsAbsent, pageSize } from "../../kernel/query.ts";
import { taskLineSchema, taskSchema, toTask } from "../ledger/schema.ts";
import { callLedger, ledgerOf } from "../ledger/shards.ts";
import { TASK_STATUSES } from "../ledger/task-state.ts";
import { tagSchema } from "../types/tags.ts";
import { showTaskTo } from "./bounds.ts";
import { filterParams, toFilter } from "./filters.ts";
import { countTasks, listTasks } from "./list.ts";
import { ITEM_PROBLEMS, LEDGER_PROBLEMS, NO_STORE, orNotFound, params } from "./responses.ts";
import { withTree } from "./tree.ts";

const listRoute = createRoute({
  operationId: "listTasks",
  method: "get",
  path: "/tasks",
  tags: ["Tasks"],
  summary: "List tasks, newest first",
  ...needsWithin("read"),
  request: {
    query: z.object({
      ...filterParams,
      limit: pageSize(500, 50),
      cursor: cursorParam(),
    }),
  },
  responses: {
    200: json(
      "A page of tasks, without their inputs and results, and without what they wait for.",
      z.object({
        tasks: z.array(taskLineSchema),
        next: z.string().nullable().meta({
          description:
            "The cursor of the next page; null on the last page. Any other page may have fewer tasks than `limit`, also none.",
        }),
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
  summary: "Count tasks by type, status and tag",
  ...needs("read"),
  request: {
    query: z.object({
      tag: emptyIsAbsent(tagSchema).meta({ description: "Count only the tasks with this tag." }),
    }),
  },
  responses: {
    200: json(
      "How many there are, of types and statuses that have any. In each object, at most about 10,000 of each are counted.",
      z.object({
        counts: z.array(
          z.object({ type: z.string(), status: z.enum(TASK_STATUSES), count: z.int().positive() }),
        ),
        tags: z.array(z.object({ tag: z.string(), count: z.int().positive() })).meta({
          description:
            "How many tasks have a tag: of the first 100 tags by their text, about 1,000 of each in each object. Empty if " +
            "only one tag is counted.",
        }),
      }),
    ),
    ...problems({ ...LEDGER_PROBLEMS, 422: "The tag is not valid." }),
  },
});

const getRoute = createRoute({
  operationId: "getTask",
  method: "get",
  path: "/tasks/{id}",
  tags: ["Tasks"],
  summary: "Get a task",
  ...needsWithin("read"),
  request: { params },
  responses: { 200: json("The task.", taskSchema), ...problems(ITEM_PROBLEMS) },
});

export const taskRoutes = createRouter()
  .openapi(listRoute, async (c) => {
    const { limit, cursor, ...filters } = c.req.valid("query");
    const { bounds } = c.get("principal");
    const { tasks, next } = await listTasks(c.env, toFilter(filters), cursor, limit, bounds?.taskTypes);
    return c.json({ tasks: tasks.map((task) => showTaskTo(bounds, task)), next }, 200, NO_STORE);
  })
  .openapi(countsRoute, async (c) => c.json(await countTasks(c.env, c.req.valid("query").tag), 200, NO_STORE))
  .openapi(getRoute, async (c) => {
    const { id } = c.req.valid("param");
    const row = await callLedger(async () => ledgerOf(c.env, id)?.getTask(id));
    const { bounds } = c.get("principal");
    const found = orNotFound(row && isTypeWithin(bounds, row.type) ? row : undefined, id);
    return c.json(showTaskTo(bounds, toTask(await withTree(c.env, found))), 200, NO_STORE);
  });
