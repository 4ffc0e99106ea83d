/** Running a schedule now, and its latest runs. */
import { createRoute, z } from "@hono/zod-openapi";
import { createRouter, json, needs, problems } from "../../kernel/app.ts";
import { Problem } from "../../kernel/problem.ts";
import { ITEM_PROBLEMS, NO_STORE, params } from "../http/responses.ts";
import { callLedger, schedulerOf } from "../ledger/shards.ts";
import { getTask } from "../run/submit.ts";
import { scheduleNotFound } from "./responses.ts";
import { MAX_RUNS, type Run } from "./rules.ts";
import { runsOf, scheduleRunSchema, time } from "./schema.ts";

const runRoute = createRoute({
  operationId: "runSchedule",
  method: "post",
  path: "/schedules/{id}/run",
  tags: ["Tasks"],
  summary: "Run a schedule now",
  description:
    "Besides its ticks, and also while it is paused or declared in code. Runs of one schedule never overlap: while the " +
    "previous one has not ended, this one waits (`overlap: queue`), or the response is a 409 (`skip`).",
  ...needs("write"),
  request: { params },
  responses: {
    202: json(
      "The run is kept, and will be started.",
      z
        .object({
          dueAt: z.iso.datetime(),
          taskId: z.string().nullable().meta({ description: "null while it waits to be enqueued." }),
          taskUrl: z.url().nullable(),
        })
        .meta({ id: "ScheduleStart" }),
    ),
    ...problems({
      ...ITEM_PROBLEMS,
      409: "The previous run has not ended, or 100 ticks wait for that; or another task holds the unique key, as by `reject`.",
    }),
  },
});

const runsRoute = createRoute({
  operationId: "listScheduleRuns",
  method: "get",
  path: "/schedules/{id}/runs",
  tags: ["Tasks"],
  summary: "The latest runs of a schedule",
  ...needs("read"),
  request: { params },
  responses: {
    200: json(
      `The latest ${MAX_RUNS} runs, newest first, each with the state of its task.`,
      z.object({ runs: z.array(scheduleRunSchema) }),
    ),
    ...problems(ITEM_PROBLEMS),
  },
});

export const scheduleRunRoutes = createRouter()
  .openapi(runRoute, async (c) => {
    const { id } = c.req.valid("param");
    const atMs = Date.now();
    const outcome = await callLedger(async () => schedulerOf(c.env).runByHand(id, atMs));
    if (outcome === "missing") throw scheduleNotFound(id);
    if (outcome === "key-held") throw keyHeld(id);
    if ("busyWith" in outcome) throw busy(id, outcome.busyWith);
    const { taskId } = outcome;
    const taskUrl = taskId === null ? null : urlOf(taskId, c.req.url);
    return c.json({ dueAt: time(atMs), taskId, taskUrl }, 202, NO_STORE);
  })
  .openapi(runsRoute, async (c) => {
    const { id } = c.req.valid("param");
    const row = await callLedger(async () => schedulerOf(c.env).get(id));
    if (!row) throw scheduleNotFound(id);
    const runs = await Promise.all(runsOf(row).map(async (run) => withTask(c.env, run, c.req.url)));
    return c.json({ runs }, 200, NO_STORE);
  });

const keyHeld = (id: string) =>
  new Problem("conflict", `Another task holds the unique key of the schedule ${id}: this run was dropped.`);

const busy = (id: string, taskId: string | null) =>
  new Problem(
    "conflict",
    taskId === null
      ? `A run of the schedule ${id} waits to be started.`
      : `The previous run of the schedule ${id} has not ended, or too many wait for that: task ${taskId}.`,
  );

async function withTask(env: Env, [dueAtMs, taskId, enqueuedAtMs]: Run, base: string) {
  const task = await getTask(env, taskId);
  return {
    dueAt: time(dueAtMs),
    taskId,
    taskUrl: urlOf(taskId, base),
    enqueuedAt: time(enqueuedAtMs),
    status: task?.status ?? null,
    startedAt: task?.startedAt ?? null,
    finishedAt: task?.finishedAt ?? null,
  };
}

const urlOf = (taskId: string, base: string) => new URL(`/tasks/${taskId}`, base).href;
