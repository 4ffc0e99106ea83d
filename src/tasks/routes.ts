import { createRoute, z } from "@hono/zod-openapi";
import { createRouter, json, needs, problems } from "../kernel/app.ts";
import { Problem } from "../kernel/problem.ts";
import { taskSchema, toTask } from "./schema.ts";
import { ledgerOf } from "./shards.ts";

export const taskRoutes = createRouter();

taskRoutes.openapi(
  createRoute({
    method: "get",
    path: "/tasks/{id}",
    tags: ["Tasks"],
    summary: "How a task is doing",
    ...needs("read"),
    request: { params: z.object({ id: z.string() }) },
    responses: { 200: json("The task.", taskSchema), ...problems({ 404: "No such task." }) },
  }),
  async (c) => {
    const { id } = c.req.valid("param");
    const row = await ledgerOf(c.env, id)?.getTask(id);
    if (!row) throw new Problem("not-found", `There is no task ${id}.`);
    return c.json(toTask(row, Date.now()), 200, { "Cache-Control": "no-store" });
  },
);
