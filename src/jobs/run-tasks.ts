/** `GET` and `POST /run-tasks`: two tasks side by side in the background. */
import { createRoute, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { createRouter, json, needs, problems } from "../kernel/app.ts";
import type { AppEnv } from "../kernel/app-env.ts";
import { defineTask, startTasks, taskLink, taskLinkSchema } from "../tasks/index.ts";

export const taskA = defineTask({
  name: "task_a",
  input: z.object({}),
  async run(ctx) {
    await scheduler.wait(2000);
    ctx.log("info", "Task A completed.");
    return "Task A completed.";
  },
});

export const taskB = defineTask({
  name: "task_b",
  input: z.object({}),
  async run(ctx) {
    await scheduler.wait(3000);
    ctx.log("info", "Task B completed.");
    return "Task B completed.";
  },
});

const route = {
  path: "/run-tasks" as const,
  tags: ["Examples"],
  summary: "Two background tasks, side by side",
  ...needs("write"),
  responses: {
    200: json(
      "Both tasks are in the ledger and have begun.",
      z.object({ message: z.literal("Tasks scheduled"), tasks: z.array(taskLinkSchema) }),
    ),
    ...problems({ 503: "The objects that keep tasks do not respond. With Retry-After." }),
  },
};

// Each handler is a function of its own, since the router infers the type of its path from it.
export const runTasks = createRouter()
  .openapi(createRoute({ ...route, method: "get", operationId: "runTasks" }), async (c) => start(c))
  .openapi(createRoute({ ...route, method: "post", operationId: "runTasksByPost" }), async (c) => start(c));

async function start(c: Context<AppEnv>) {
  // HEAD asks for the headers of GET, and starts nothing.
  c.set("isChange", c.req.method === "GET");
  const starts = c.req.method === "HEAD" ? [] : [taskA, taskB].map((type) => ({ type, input: {} }));
  const ids = await startTasks(c.env, c.executionCtx, starts);
  const tasks = ids.map((id) => taskLink(id, c.req.url));
  return c.json({ message: "Tasks scheduled" as const, tasks }, 200, { "Cache-Control": "no-store" });
}
