/** The routes of schedules. */
import { createRoute, z } from "@hono/zod-openapi";
import { v7 as uuidv7 } from "uuid";
import { createRouter, json, needs, problems } from "../../kernel/app.ts";
import { Problem } from "../../kernel/problem.ts";
import { ITEM_PROBLEMS, JSON_PROBLEMS, LEDGER_PROBLEMS, NO_STORE, params } from "../http/responses.ts";
import { inputErrors } from "../http/submission.ts";
import { callLedger, schedulerOf } from "../ledger/shards.ts";
import { checkAvailable } from "../types/availability.ts";
import { checkCallbackUrl } from "../types/callbacks.ts";
import { followUpErrors, readFollowUps, typesOf } from "../types/follow-ups.ts";
import { keptGuard } from "../types/guards.ts";
import { findOpenTaskType } from "../types/registry.ts";
import { keptTags } from "../types/tags.ts";
import { MAX_INPUT_BYTES, MAX_SCHEDULES, type ScheduleSpec } from "./registry.ts";
import { timingError } from "./rules.ts";
import { newScheduleSchema, scheduleSchema, toSchedule } from "./schema.ts";

const createScheduleRoute = createRoute({
  operationId: "createSchedule",
  method: "post",
  path: "/schedules",
  tags: ["Tasks"],
  summary: "Run a task repeatedly, by a cron pattern",
  ...needs("write"),
  request: {
    body: {
      required: true,
      content: {
        "application/json": {
          schema: newScheduleSchema,
          example: { cron: "30 2 * * MON-FRI", time_zone: "Europe/Berlin", type: "task_a" },
        },
      },
    },
  },
  responses: {
    201: json("The schedule is kept, and runs from its next tick on.", scheduleSchema),
    ...problems({
      ...JSON_PROBLEMS,
      ...LEDGER_PROBLEMS,
      503: `${LEDGER_PROBLEMS[503]} Or the task type cannot run here: \`errors\` says what it lacks.`,
      409: `There are already ${MAX_SCHEDULES} schedules.`,
      422: "The pattern, time zone, task type or input is not valid; `errors` says which.",
    }),
  },
});

const listRoute = createRoute({
  operationId: "listSchedules",
  method: "get",
  path: "/schedules",
  tags: ["Tasks"],
  summary: "List the schedules, in order of creation",
  ...needs("read"),
  responses: {
    200: json("All schedules, those declared in code too.", z.object({ schedules: z.array(scheduleSchema) })),
    ...problems(LEDGER_PROBLEMS),
  },
});

const getRoute = createRoute({
  operationId: "getSchedule",
  method: "get",
  path: "/schedules/{id}",
  tags: ["Tasks"],
  summary: "Get a schedule",
  ...needs("read"),
  request: { params },
  responses: { 200: json("The schedule.", scheduleSchema), ...problems(ITEM_PROBLEMS) },
});

const deleteRoute = createRoute({
  operationId: "deleteSchedule",
  method: "delete",
  path: "/schedules/{id}",
  tags: ["Tasks"],
  summary: "Delete a schedule",
  description: "A run that has already been enqueued goes on.",
  ...needs("write"),
  request: { params },
  responses: {
    204: { description: "The schedule is deleted, with its waiting ticks." },
    ...problems({ ...ITEM_PROBLEMS, 409: "The schedule is declared in code." }),
  },
});

export const scheduleRoutes = createRouter()
  .openapi(createScheduleRoute, async (c) => {
    const nowMs = Date.now();
    const spec = await toSpec(c.env, c.req.valid("json"), nowMs);
    const row = await callLedger(async () => {
      const scheduler = schedulerOf(c.env);
      if (spec.guard !== undefined) return scheduler.createGuarded(spec);
      if (spec.tags !== undefined) return scheduler.createWithTags(spec);
      return (spec.then ?? null) === null ? scheduler.create(spec) : scheduler.createWithFollowUps(spec);
    });
    if (row === "full") {
      throw new Problem("conflict", `There are already ${MAX_SCHEDULES} schedules. Delete one first.`);
    }
    const schedule = toSchedule(row, nowMs, c.req.url);
    return c.json(schedule, 201, { ...NO_STORE, Location: schedule.url });
  })
  .openapi(listRoute, async (c) => {
    const nowMs = Date.now();
    const rows = await callLedger(async () => schedulerOf(c.env).list());
    return c.json({ schedules: rows.map((row) => toSchedule(row, nowMs, c.req.url)) }, 200, NO_STORE);
  })
  .openapi(getRoute, async (c) => {
    const { id } = c.req.valid("param");
    const row = await callLedger(async () => schedulerOf(c.env).get(id));
    if (!row) throw notFound(id);
    return c.json(toSchedule(row, Date.now(), c.req.url), 200, NO_STORE);
  })
  .openapi(deleteRoute, async (c) => {
    const { id } = c.req.valid("param");
    const outcome = await callLedger(async () => schedulerOf(c.env).remove(id), "once");
    if (outcome === "missing") throw notFound(id);
    if (outcome === "declared") {
      throw new Problem(
        "conflict",
        `The schedule ${id} is declared in code. Remove it from src/jobs/schedules.ts.`,
      );
    }
    return c.body(null, 204);
  });

const notFound = (id: string) => new Problem("not-found", `There is no schedule ${id}.`);

/** Checks a new schedule. Throws a `Problem` 422 that names everything that is wrong, or 503 if its type cannot run here. */
async function toSpec(
  env: Env,
  body: z.output<typeof newScheduleSchema>,
  nowMs: number,
): Promise<ScheduleSpec> {
  const { time_zone: timeZone, type, overlap, missed } = body;
  const cron = body.cron.trim().replaceAll(/\s+/g, " ");
  const input = JSON.stringify(body.input);
  const errors = await taskErrors(type, input);
  const then = body.then ?? [];
  const next = readFollowUps(then, "json/then", body.input, (url) => checkCallbackUrl(env, url));
  errors.push(...(await followUpErrors(next)));
  const thenText = then.length === 0 ? null : JSON.stringify(then);
  if (Buffer.byteLength(thenText ?? "") > MAX_INPUT_BYTES)
    errors.push({ at: "json/then", detail: `may have at most ${MAX_INPUT_BYTES} bytes of JSON` });
  const wrongTiming = timingError({ cron, timeZone }, nowMs);
  if (wrongTiming)
    errors.unshift({
      at: wrongTiming.at === "cron" ? "json/cron" : "json/time_zone",
      detail: wrongTiming.detail,
    });
  if (errors.length > 0) {
    throw new Problem("invalid", "The request's json is not what this route takes.", { errors });
  }
  const found = findOpenTaskType(type);
  if (found) checkAvailable(env, [{ type: found, at: "json/type" }, ...typesOf(next)]);
  const tags = keptTags(body.tags);
  const guard = keptGuard(body);
  return { id: uuidv7(), cron, timeZone, type, input, then: thenText, ...tags, ...guard, overlap, missed };
}

async function taskErrors(name: string, text: string): Promise<{ at: string; detail: string }[]> {
  const type = findOpenTaskType(name);
  if (!type)
    return [{ at: "json/type", detail: `There is no task type "${name}"; GET /task-types lists them.` }];
  return inputErrors(type, text, "json/input", MAX_INPUT_BYTES);
}
