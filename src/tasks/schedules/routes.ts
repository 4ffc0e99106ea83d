/** Making, listing, reading and deleting schedules. */
import { createRoute, z } from "@hono/zod-openapi";
import { v7 as uuidv7 } from "uuid";
import { createRouter, json, needs, problems } from "../../kernel/app.ts";
import { cursorParam, pageSize } from "../../kernel/query.ts";
import { keyParameter, parseKey, withKey } from "../http/idempotency.ts";
import { ITEM_PROBLEMS, JSON_PROBLEMS, LEDGER_PROBLEMS, NO_STORE, params } from "../http/responses.ts";
import { fingerprint } from "../http/submission.ts";
import { callLedger, schedulerOf } from "../ledger/shards.ts";
import { scheduleChangeRoutes } from "./change-routes.ts";
import { checkSchedule } from "./check.ts";
import { listSchedules } from "./list.ts";
import { MAX_SCHEDULES, type ScheduleSpec } from "./registry.ts";
import { conflictOf, headersOf, noLongerThere, scheduleNotFound } from "./responses.ts";
import { scheduleRunRoutes } from "./run-routes.ts";
import { type CountedRow, newScheduleSchema, scheduleSchema, toSchedule } from "./schema.ts";

const createScheduleRoute = createRoute({
  operationId: "createSchedule",
  method: "post",
  path: "/schedules",
  tags: ["Tasks"],
  summary: "Run a task repeatedly, by a cron pattern",
  ...needs("write"),
  parameters: [keyParameter("schedule")],
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
      400: "The body is not valid JSON, or the Idempotency-Key is malformed.",
      409:
        `There are already ${MAX_SCHEDULES} schedules. Or the first request with this Idempotency-Key is still in ` +
        "progress (with Retry-After), or its schedule has been deleted since.",
      422:
        "The pattern, time zone, task type or input is not valid; `errors` says which. Or an earlier request used the " +
        "Idempotency-Key with another payload.",
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
  request: { query: z.object({ limit: pageSize(500, 100), cursor: cursorParam() }) },
  responses: {
    200: json(
      "A page of schedules, with those declared in code.",
      z.object({
        schedules: z.array(scheduleSchema),
        next: z
          .string()
          .nullable()
          .meta({ description: "The cursor of the next page; null on the last page." }),
      }),
    ),
    ...problems({ ...LEDGER_PROBLEMS, 422: "A parameter is not valid; `errors` says which." }),
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
  responses: {
    200: json(
      "The schedule. Its ETag names its definition, for `If-Match`: ticks do not change it.",
      scheduleSchema,
    ),
    ...problems(ITEM_PROBLEMS),
  },
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
  .route("/", scheduleChangeRoutes)
  .route("/", scheduleRunRoutes)
  .openapi(createScheduleRoute, async (c) => {
    const nowMs = Date.now();
    const body = c.req.valid("json");
    const key = parseKey(c.req.header("Idempotency-Key"));
    const spec = await checkSchedule(c.env, uuidv7(), body, nowMs);
    const row = await withKey(c, {
      key,
      // As this route, so that the same key on another one is another request.
      fingerprint: fingerprint({ schedule: body }),
      ids: [spec.id],
      write: async ([id = spec.id]) => ({ value: await create(c.env, { ...spec, id }), isComplete: true }),
      written: async ([id = ""]) =>
        noLongerThere(await callLedger(async () => schedulerOf(c.env).get(id)), id),
    });
    const schedule = toSchedule(row, nowMs, c.req.url);
    return c.json(schedule, 201, { ...headersOf(row), Location: schedule.url });
  })
  .openapi(listRoute, async (c) => {
    const { rows, next } = await listSchedules(c.env, c.req.valid("query"));
    const nowMs = Date.now();
    return c.json({ schedules: rows.map((row) => toSchedule(row, nowMs, c.req.url)), next }, 200, NO_STORE);
  })
  .openapi(getRoute, async (c) => {
    const { id } = c.req.valid("param");
    const row = await callLedger(async () => schedulerOf(c.env).get(id));
    if (!row) throw scheduleNotFound(id);
    return c.json(toSchedule(row, Date.now(), c.req.url), 200, headersOf(row));
  })
  .openapi(deleteRoute, async (c) => {
    const { id } = c.req.valid("param");
    const outcome = await callLedger(async () => schedulerOf(c.env).remove(id), "once");
    if (outcome === "missing") throw scheduleNotFound(id);
    if (outcome === "declared") throw conflictOf("declared", id);
    return c.body(null, 204);
  });

/** What a scheduler of an earlier version would drop in silence has methods of its own. */
async function create(env: Env, spec: ScheduleSpec): Promise<CountedRow> {
  const row = await callLedger(async () => {
    const scheduler = schedulerOf(env);
    if (spec.guard !== undefined || spec.tags !== undefined) return scheduler.createGuarded(spec);
    if (spec.paused) return scheduler.createPaused(spec);
    return (spec.then ?? null) === null ? scheduler.create(spec) : scheduler.createWithFollowUps(spec);
  });
  if (row === "full") throw conflictOf("full", spec.id);
  return row;
}
