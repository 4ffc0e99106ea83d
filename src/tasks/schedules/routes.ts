import { createRoute, z } from "@hono/zod-openapi";
import { v7 as uuidv7 } from "uuid";
import { createRouter, json, needs, problems } from "../../kernel/app.ts";
import { invalid, Problem } from "../../kernel/problem.ts";
import { ABOUT_ONE, FRESH, limitBody, NOT_JSON, params, UNAVAILABLE } from "../http/answers.ts";
import { ask } from "../ledger/shards.ts";
import { findOpenTaskType } from "../types/registry.ts";
import { MAX_INPUT_LENGTH, MAX_SCHEDULES, type ScheduleSpec } from "./registry.ts";
import { faultOf } from "./rules.ts";
import { schedulerOf } from "./scheduler.ts";
import { newScheduleSchema, scheduleSchema, toSchedule } from "./schema.ts";

export const scheduleRoutes = createRouter();

scheduleRoutes.openapi(
  createRoute({
    method: "post",
    path: "/schedules",
    tags: ["Tasks"],
    summary: "Run a task again and again, by a cron pattern",
    security: needs("write").security,
    middleware: [needs("write").middleware, limitBody] as const,
    request: {
      body: { required: true, content: { "application/json": { schema: newScheduleSchema } } },
    },
    responses: {
      201: json("The schedule is kept, and runs from the next tick on.", scheduleSchema),
      ...problems({
        ...NOT_JSON,
        ...UNAVAILABLE,
        409: `There are ${MAX_SCHEDULES} schedules already.`,
        422: "Not a pattern, time zone, task type or input; `errors` says which.",
      }),
    },
  }),
  async (c) => {
    const nowMs = Date.now();
    const spec = toSpec(c.req.valid("json"), nowMs);
    const row = await ask(async () => schedulerOf(c.env).create(spec));
    if (row === "full") {
      throw new Problem("conflict", `There are ${MAX_SCHEDULES} schedules already; delete one first.`);
    }
    const schedule = toSchedule(row, nowMs, c.req.url);
    return c.json(schedule, 201, { ...FRESH, Location: schedule.url });
  },
);

scheduleRoutes.openapi(
  createRoute({
    method: "get",
    path: "/schedules",
    tags: ["Tasks"],
    summary: "The schedules, in the order in which they were made",
    ...needs("read"),
    responses: {
      200: json("All of them, declared in code or not.", z.object({ schedules: z.array(scheduleSchema) })),
      ...problems(UNAVAILABLE),
    },
  }),
  async (c) => {
    const nowMs = Date.now();
    const rows = await ask(async () => schedulerOf(c.env).list());
    return c.json({ schedules: rows.map((row) => toSchedule(row, nowMs, c.req.url)) }, 200, FRESH);
  },
);

scheduleRoutes.openapi(
  createRoute({
    method: "get",
    path: "/schedules/{id}",
    tags: ["Tasks"],
    summary: "How a schedule is doing",
    ...needs("read"),
    request: { params },
    responses: { 200: json("The schedule.", scheduleSchema), ...problems(ABOUT_ONE) },
  }),
  async (c) => {
    const { id } = c.req.valid("param");
    const row = await ask(async () => schedulerOf(c.env).get(id));
    if (!row) throw noSuch(id);
    return c.json(toSchedule(row, Date.now(), c.req.url), 200, FRESH);
  },
);

scheduleRoutes.openapi(
  createRoute({
    method: "delete",
    path: "/schedules/{id}",
    tags: ["Tasks"],
    summary: "End a schedule; a run of it that has been enqueued goes on",
    ...needs("write"),
    request: { params },
    responses: {
      204: { description: "It is gone, and so are its ticks that were waiting." },
      ...problems({ ...ABOUT_ONE, 409: "It is declared in code." }),
    },
  }),
  async (c) => {
    const { id } = c.req.valid("param");
    const outcome = await ask(async () => schedulerOf(c.env).remove(id), "once");
    if (outcome === "missing") throw noSuch(id);
    if (outcome === "declared") {
      throw new Problem(
        "conflict",
        `The schedule ${id} is declared in code, and ends when it is taken out there.`,
      );
    }
    return c.body(null, 204);
  },
);

const noSuch = (id: string) => new Problem("not-found", `There is no schedule ${id}.`);

/** A new schedule, checked; or a 422 that names everything that is wrong. */
function toSpec(asked: z.output<typeof newScheduleSchema>, nowMs: number): ScheduleSpec {
  const { time_zone: timeZone, type, overlap, missed } = asked;
  const cron = asked.cron.trim().replaceAll(/\s+/g, " ");
  const input = JSON.stringify(asked.input);
  const errors = [...faultsOfTask(type, asked.input, input)];
  const fault = faultOf({ cron, timeZone }, nowMs);
  if (fault)
    errors.unshift({ at: fault.at === "cron" ? "json/cron" : "json/time_zone", detail: fault.detail });
  if (errors.length > 0) {
    throw new Problem("invalid", "The request's json is not what this route takes.", { errors });
  }
  return { id: uuidv7(), cron, timeZone, type, input, overlap, missed };
}

function faultsOfTask(name: string, input: unknown, text: string): { at: string; detail: string }[] {
  const type = findOpenTaskType(name);
  if (!type) return [{ at: "json/type", detail: `There is no task type "${name}".` }];
  if (text.length > MAX_INPUT_LENGTH) {
    const detail = `The input of a schedule is at most ${MAX_INPUT_LENGTH} characters of JSON.`;
    return [{ at: "json/input", detail }];
  }
  const parsed = type.input.safeParse(input);
  return parsed.success ? [] : (invalid("json/input", parsed.error).options.errors ?? []);
}
