/** The task types: what each takes, and how fast its tasks run. An operator can pause and limit one while it is in use. */
import { createRoute, z } from "@hono/zod-openapi";
import { createRouter, json, needs, needsWithin, problems } from "../../kernel/app.ts";
import { type Bounds, isTypeWithin } from "../../kernel/bounds.ts";
import { Problem } from "../../kernel/problem.ts";
import { type Limits, limitsOf } from "../ledger/limits.ts";
import { MAX_RATE, MIN_PER_SECOND, type TaskType } from "../types/define.ts";
import { findOpenTaskType, openTaskTypes } from "../types/registry.ts";
import { JSON_PROBLEMS, LEDGER_PROBLEMS, NO_STORE } from "./responses.ts";
import { countType, readChanges, statusOf, steer } from "./steer-types.ts";

const rateSchema = z.object({
  per_second: z
    .number()
    .min(MIN_PER_SECOND)
    .max(MAX_RATE)
    .meta({ description: "Tasks begun per second, on average." }),
  burst: z.int().min(1).max(MAX_RATE).optional().meta({ description: "Tasks begun at once. Default: 1." }),
});
const limitsSchema = z.object({
  concurrency: z.int().nullable().meta({
    description: "How many may run at once, of the type or of each key; null if there is no limit.",
  }),
  rate: rateSchema
    .required()
    .nullable()
    .meta({ description: "How fast tasks may begin; null if there is no limit." }),
});

const typeSchema = z
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
    ...limitsSchema.shape,
    perKey: z.boolean().meta({ description: "`concurrency` holds for each key by itself." }),
    paused: z.boolean().nullable().meta({
      description:
        "No task of the type begins. null: the object that keeps this does not respond, and the limits are those in the code.",
    }),
    code: limitsSchema.meta({ description: "What the code says. PATCH with null goes back to it." }),
    lane: z.enum(["fast", "long"]),
    available: z.boolean(),
    unavailableReason: z.string().nullable().meta({
      description: "What this deployment lacks to run the type, such as a binding; null if it can.",
    }),
  })
  .meta({ id: "TaskType" });

const detailSchema = typeSchema
  .extend({
    queued: z
      .int()
      .meta({ description: "Tasks that wait for a slot. In each object, at most about 10,000 are counted." }),
    running: z.int(),
    pending: z.array(z.string()).meta({
      description:
        "Objects of the ledger that may not have the latest change yet. They get it within a minute once they respond, or " +
        "when the change is sent again.",
    }),
  })
  .meta({ id: "TaskTypeStatus" });

const changeSchema = z
  .strictObject({
    paused: z.boolean().nullable().meta({
      description:
        "true: tasks are accepted and stay queued; those that run go on. false or null: the type goes on.",
    }),
    concurrency: z.int().min(1).max(MAX_RATE).nullable(),
    rate: z.strictObject(rateSchema.shape).nullable(),
  })
  .partial()
  .meta({
    description: "A member that is left out stays as it is; null goes back to the code.",
    example: { paused: false },
  });

const params = z.object({ name: z.string().meta({ example: "task_a" }) });
const NOT_FOUND = { 404: "There is no such task type." };

const listRoute = createRoute({
  operationId: "listTaskTypes",
  method: "get",
  path: "/task-types",
  tags: ["Tasks"],
  summary: "List the task types that can be submitted",
  ...needsWithin("read"),
  responses: {
    200: json(
      "Every type, with the JSON Schema of its input and the limits in force.",
      z.object({ taskTypes: z.array(typeSchema) }),
    ),
    ...problems(),
  },
});

const getRoute = createRoute({
  operationId: "getTaskType",
  method: "get",
  path: "/task-types/{name}",
  tags: ["Tasks"],
  summary: "A task type: its limits, and how many of its tasks wait and run",
  ...needsWithin("read"),
  request: { params },
  responses: { 200: json("The type.", detailSchema), ...problems({ ...NOT_FOUND, ...LEDGER_PROBLEMS }) },
});

const updateRoute = createRoute({
  operationId: "updateTaskType",
  method: "patch",
  path: "/task-types/{name}",
  tags: ["Tasks"],
  summary: "Pause a task type, resume it, or change its limits",
  description:
    "A member that is named is replaced whole. When it is answered, it is in force on every shard. It survives restarts, until it is " +
    "reset with null.",
  ...needs("admin", "read"),
  request: { params, body: { required: true, content: { "application/json": { schema: changeSchema } } } },
  responses: {
    200: json("The type, with the change in force.", detailSchema),
    ...problems({
      ...JSON_PROBLEMS,
      ...NOT_FOUND,
      422: "The body is not a valid change, or one that cannot be divided among the shards of the ledger.",
      503: "Some objects of the ledger do not respond. Those that do have made the change: send it again. With Retry-After.",
    }),
  },
});

export const typeRoutes = createRouter()
  .openapi(listRoute, async (c) => {
    const changes = await readChanges(c.env);
    const { bounds } = c.get("principal");
    const types = openTaskTypes().filter(({ name }) => isTypeWithin(bounds, name));
    const taskTypes = types.map((type) => toJson(c.env, type, changes));
    return c.json({ taskTypes }, 200, NO_STORE);
  })
  .openapi(getRoute, async (c) => {
    const type = findType(c.req.valid("param").name, c.get("principal").bounds);
    const [{ steering, pending }, counts] = await Promise.all([statusOf(c.env), countType(c.env, type.name)]);
    return c.json({ ...toJson(c.env, type, steering.changes), ...counts, pending }, 200, NO_STORE);
  })
  .openapi(updateRoute, async (c) => {
    const type = findType(c.req.valid("param").name);
    const { rate, ...change } = c.req.valid("json");
    const patch = rate
      ? { ...change, rate: { perSecond: rate.per_second, burst: rate.burst ?? 1 } }
      : { ...change, rate };
    const { changes } = await steer(c.env, type, patch);
    const counts = await countType(c.env, type.name);
    return c.json({ ...toJson(c.env, type, changes), ...counts, pending: [] }, 200, NO_STORE);
  });

function findType(name: string, bounds?: Bounds): TaskType {
  const type = findOpenTaskType(name);
  if (!type || !isTypeWithin(bounds, name))
    throw new Problem("not-found", `There is no task type "${name}". GET /task-types lists them.`);
  return type;
}

type Changes = Awaited<ReturnType<typeof readChanges>>;

/** `changes`: undefined if they are not known. */
function toJson(env: Env, type: TaskType, changes: Changes): z.input<typeof typeSchema> {
  const { name, input, retry, timeoutMs, lane } = type;
  const limits = limitsOf(type, changes?.[name]);
  const unavailableReason = type.unavailable?.(env) ?? null;
  return {
    name,
    input: { ...z.toJSONSchema(input, { io: "input", unrepresentable: "any" }) },
    retry,
    timeoutMs,
    ...limitsToJson(limits),
    perKey: limits.isPerKey,
    paused: changes ? limits.isPaused : null,
    code: limitsToJson(limitsOf(type, undefined)),
    lane,
    available: unavailableReason === null,
    unavailableReason,
  };
}

const limitsToJson = ({ concurrency, rate }: Limits): z.input<typeof limitsSchema> => ({
  concurrency: concurrency ?? null,
  rate: rate ? { per_second: rate.perSecond, burst: rate.burst } : null,
});
