/** Changing a schedule, whole or in part, and pausing it. */
import { createRoute, z } from "@hono/zod-openapi";
import { createRouter, json, needs, problems } from "../../kernel/app.ts";
import { Problem } from "../../kernel/problem.ts";
import { ITEM_PROBLEMS, JSON_PROBLEMS, LEDGER_PROBLEMS, params } from "../http/responses.ts";
import { callLedger, schedulerOf } from "../ledger/shards.ts";
import { checkChange, checkSchedule } from "./check.ts";
import { etagOf, type Preconditions, refusalOf, specOf } from "./definition.ts";
import { MAX_SCHEDULES, SCHEDULE_ID, type ScheduleSpec } from "./registry.ts";
import { conflictOf, headersOf, scheduleNotFound } from "./responses.ts";
import {
  type CountedRow,
  newScheduleSchema,
  scheduleChangeSchema,
  scheduleSchema,
  toSchedule,
} from "./schema.ts";

/** How often a change in part begins anew when another change was quicker. */
const MAX_TRIES = 5;

const header = (name: string, description: string) => ({
  name,
  in: "header" as const,
  schema: { type: "string" as const },
  description,
});
const IF_MATCH = header("If-Match", "Change only what has this ETag, or `*`: what exists.");
const PROBLEMS = {
  ...JSON_PROBLEMS,
  409: "The schedule is declared in code, and can be changed only there.",
  412: "A precondition does not hold.",
  422: "The pattern, time zone, task type or input is not valid; `errors` says which.",
  503: `${LEDGER_PROBLEMS[503]} Or the task type cannot run here: \`errors\` says what it lacks.`,
};

const replaceRoute = createRoute({
  operationId: "replaceSchedule",
  method: "put",
  path: "/schedules/{id}",
  tags: ["Tasks"],
  summary: "Create or replace a schedule under an id of your own",
  description:
    "Idempotent. Members that are left out have their defaults. What has happened stays (`lastTaskId`, counts, ticks that " +
    "wait), and so does a tick that is due if neither `cron` nor `time_zone` changes.",
  ...needs("write", "read"),
  parameters: [IF_MATCH, header("If-None-Match", "`*`: only create.")],
  request: {
    params: z.object({
      id: z
        .string()
        .regex(SCHEDULE_ID, "1 to 64 letters, digits, _, - and ., not beginning with - or .")
        .meta({ example: "nightly" }),
    }),
    body: {
      required: true,
      content: {
        "application/json": {
          schema: newScheduleSchema,
          example: { cron: "@daily", time_zone: "Europe/Berlin", type: "task_a" },
        },
      },
    },
  },
  responses: {
    200: json("The schedule existed, and is as the request says.", scheduleSchema),
    201: json("The schedule is new.", scheduleSchema),
    ...problems({ ...PROBLEMS, 409: `${PROBLEMS[409]} Or there are already ${MAX_SCHEDULES} schedules.` }),
  },
});

const changeRoute = createRoute({
  operationId: "changeSchedule",
  method: "patch",
  path: "/schedules/{id}",
  tags: ["Tasks"],
  summary: "Change, pause or resume a schedule",
  description:
    "`paused: true`: no further tick is taken; a run goes on, and so do ticks that wait already. After `paused: false` the " +
    "next tick from then on runs: those in between count as neither missed nor skipped.",
  ...needs("write", "read"),
  parameters: [IF_MATCH],
  request: {
    params,
    body: {
      required: true,
      content: { "application/json": { schema: scheduleChangeSchema, example: { paused: true } } },
    },
  },
  responses: {
    200: json("The schedule as it is now.", scheduleSchema),
    ...problems({ ...ITEM_PROBLEMS, ...PROBLEMS }),
  },
});

export const scheduleChangeRoutes = createRouter()
  .openapi(replaceRoute, async (c) => {
    const nowMs = Date.now();
    const spec = await checkSchedule(c.env, c.req.valid("param").id, c.req.valid("json"), nowMs);
    const preconditions = { ifMatch: c.req.header("If-Match"), ifNoneMatch: c.req.header("If-None-Match") };
    const outcome = await put(c.env, spec, preconditions);
    if (typeof outcome === "string") throw conflictOf(outcome, spec.id);
    const { row, isNew } = outcome;
    const schedule = toSchedule(row, nowMs, c.req.url);
    if (!isNew) return c.json(schedule, 200, headersOf(row));
    return c.json(schedule, 201, { ...headersOf(row), Location: schedule.url });
  })
  .openapi(changeRoute, async (c) => {
    const { id } = c.req.valid("param");
    const row = await change(c.env, id, c.req.valid("json"), c.req.header("If-Match"));
    return c.json(toSchedule(row, Date.now(), c.req.url), 200, headersOf(row));
  });

/** A repetition would find what it was to create itself. */
const put = async (env: Env, spec: ScheduleSpec, preconditions: Preconditions) =>
  callLedger(
    async () => schedulerOf(env).put(spec, preconditions),
    preconditions.ifNoneMatch === undefined ? "repeat" : "once",
  );

/** Reads the schedule, and changes it if it is still what was read, so that no other change is undone. */
async function change(
  env: Env,
  id: string,
  members: z.output<typeof scheduleChangeSchema>,
  ifMatch: string | undefined,
): Promise<CountedRow> {
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const before = await callLedger(async () => schedulerOf(env).get(id));
    if (!before) throw scheduleNotFound(id);
    if (before.is_declared === 1) throw conflictOf("declared", id);
    const spec = await checkChange(env, before, members, Date.now());
    const refusal = refusalOf(before, spec, { ifMatch });
    if (refusal) throw conflictOf(refusal, id);
    const outcome = await put(env, spec, { ifMatch: etagOf(specOf(before)) });
    if (typeof outcome === "object") return outcome.row;
    if (outcome !== "precondition-failed") throw conflictOf(outcome, id);
  }
  throw new Problem("conflict", `The schedule ${id} is changed by others all the time. Try again.`, {
    headers: { "Retry-After": "1" },
  });
}
