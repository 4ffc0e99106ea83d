/**
 * Submitting tasks: checks them, writes them to the ledger, and starts them in the fast lane if the ledger allows it.
 */

import type { z } from "zod";
import { errorFields, log } from "../../kernel/log.ts";
import { callObject } from "../../kernel/objects.ts";
import { Problem } from "../../kernel/problem.ts";
import { span } from "../../kernel/spans.ts";
import { SubrequestCount } from "../../kernel/subrequests.ts";
import { limitWaitUntil, type WaitUntil } from "../../kernel/wait-until.ts";
import type { Claim, NewTask, Placed } from "../ledger/claim.ts";
import { type Task, toTask } from "../ledger/schema.ts";
import { readTaskSettings } from "../ledger/settings.ts";
import {
  callLedger,
  hasFollowUps,
  hasGuards,
  ledgerOf,
  ledgerUnavailable,
  submitAlone,
} from "../ledger/shards.ts";
import {
  anyShard,
  leaveShard,
  newTaskId,
  shardOf,
  shardOfGuarded,
  shardOfName,
  taskIdOfKey,
} from "../ledger/task-id.ts";
import { checkAvailable } from "../types/availability.ts";
import type { Start, Starts, TaskType } from "../types/define.ts";
import { checkGuard, type Guard } from "../types/guards.ts";
import { type Invocation, startRun } from "./attempt.ts";
import { submitInGroup } from "./group-commit.ts";
import { submitGuarded } from "./guarded.ts";
import { validateStart, validateTask } from "./new-task.ts";

/** How many of the tasks submitted to a shard together run in the invocation itself. The ledger runs the others. */
const MAX_FAST_LANE_STARTS = 8;
/** How long the platform lets an invocation continue after its response. */
const PLATFORM_LIMIT_MS = 30_000;
/** How much later than the claim that time may begin: the ledger's reply and the response take a while. */
const RESPONSE_MARGIN_MS = 5_000;
/** How long a caller may wait for its task to end, in seconds (`Prefer: wait`). */
export const MAX_WAIT_S = 60;

/**
 * Writes tasks to the ledger and starts to run them concurrently. Returns their ids (with `unique` or `debounce`, perhaps that
 * of an earlier one); from then on, the tasks are kept. The write is all or none, unless some of the types have a shard of their own (`concurrency`). If an input
 * does not fit its type, throws a `ZodError`; if it is not JSON or its type is not registered, a `TypeError`; if a type
 * cannot run here or the ledger does not respond, a `Problem` 503; if a unique key is held, a `Problem` 409. Only in the last case may a task have started. Respond within seconds after this: if code of a task ignores its signal, or its lease expires,
 * the task is run again when the invocation must be over, 35 s after its begin.
 */
export async function startTasks<const Inputs extends readonly z.ZodType[]>(
  env: Env,
  ctx: WaitUntil,
  starts: Starts<Inputs>,
): Promise<string[]> {
  checkAvailable(
    env,
    starts.map(({ type }, i) => ({ type, at: `${i}/type` })),
  );
  const startsHere = starts.some(({ type }) => type.lane === "fast");
  const shard = anyShard(ctx, readTaskSettings(env).regions, startsHere);
  const tasks = await Promise.all(
    starts.map(async (start, i) => {
      const guard = checkGuard(start.type.name, start, String(i));
      const id = newTaskId(shardOfGuarded(start.type, guard, shard));
      return { ...(await validateStart(env, start, id, String(i))), ...(guard ? { guard } : {}) };
    }),
  );
  const idOf = new Map<string, string>();
  for (const [name, part] of Map.groupBy(tasks, ({ id }) => shardOf(id) ?? "")) {
    const placed = await submitTasks(env, ctx, name, part);
    for (const [i, { id }] of placed.entries()) idOf.set(part[i]?.id ?? "", id);
  }
  return tasks.map(({ id }) => idOf.get(id) ?? id);
}

/**
 * As `startTasks`, for one task per `key`: however often this is called with it, the task starts once. Returns its
 * id. Throws a `TypeError` for a key that cannot be told from another: one with half a surrogate pair.
 */
export async function startTaskOnce<Input extends z.ZodType>(
  env: Env,
  ctx: WaitUntil,
  start: Start<Input>,
  key: string,
): Promise<string> {
  const guard = checkGuard(start.type.name, start, "start");
  const shard = shardOfGuarded(start.type, guard, shardOfName(key));
  const task = await validateStart(env, start, taskIdOfKey(shard, key), "start");
  const [placed] = await submitTasks(env, ctx, shard, [guard ? { ...task, guard } : task]);
  return placed?.id ?? task.id;
}

/**
 * As `startTaskOnce`, for a tick of a schedule: there is no invocation to run the task, so a runner is kept for it. `more`: its
 * follow-ups and tags, as JSON text that has been checked, its guard, and its schedule. Throws a `Problem` 409 if its unique key
 * is held.
 */
export async function enqueueOnce<Input extends z.ZodType>(
  env: Env,
  type: TaskType<Input>,
  input: z.input<Input>,
  key: string,
  { then, tags, scheduleId, guard }: RunMembers = {},
): Promise<string> {
  const shard = shardOfGuarded(type, guard, shardOfName(key));
  const task = await validateTask(type, input, taskIdOfKey(shard, key));
  const run: NewTask = {
    ...task,
    lane: null,
    pool: "tick",
    ...(then ? { then } : {}),
    ...(tags ? { tags } : {}),
    ...(scheduleId ? { scheduleId } : {}),
  };
  if (guard) {
    const [placed] = await submitGuarded(env, shard, [{ ...run, guard }]);
    return placed?.id ?? task.id;
  }
  await callObject(async () => submitAlone(env, [run]));
  return task.id;
}

interface RunMembers {
  then?: string | null;
  tags?: string | null;
  scheduleId?: string;
  guard?: Guard | undefined;
}

/** Throws a `Problem` 503 if the ledger does not respond. */
export async function getTask(env: Env, id: string): Promise<Task | undefined> {
  const row = await callLedger(async () => ledgerOf(env, id)?.getTask(id));
  return row ? toTask(row) : undefined;
}

/**
 * Writes tasks to one shard, and starts to run those for which it returns a claim. `responseMs`: how long the response
 * of this invocation may still take, besides a moment. Returns what became of each. Throws a `Problem` 503 if the shard does not
 * respond, 409 if a unique key is held: then none is written.
 */
export async function submitTasks(
  env: Env,
  ctx: WaitUntil,
  shard: string,
  tasks: NewTask[],
  responseMs = 0,
): Promise<Placed[]> {
  let fast = 0;
  const { waitUntilCutMs } = readTaskSettings(env);
  const lifetimeMs = (waitUntilCutMs || PLATFORM_LIMIT_MS) + responseMs + RESPONSE_MARGIN_MS;
  const claimant = crypto.randomUUID();
  const submitted = tasks.map((task) =>
    task.lane === null || ++fast > MAX_FAST_LANE_STARTS
      ? { ...task, lane: null }
      : { ...task, lifetimeMs, claimant },
  );
  const requestedAtMs = Date.now();
  const attributes = { "sluice.shard": shard, "sluice.tasks": tasks.length };
  const writing = span("ledger call", { attributes }, async () => writeTasks(env, shard, submitted));
  // So that a client which goes does not end the invocation, in which others' tasks may travel too.
  ctx.waitUntil(writing.catch(() => undefined));
  const placed = await writing.catch((error: unknown) => {
    if (error instanceof Problem && error.kind === "conflict") throw error;
    log("error", "tasks could not be submitted", { shard, count: tasks.length, ...errorFields(error) });
    leaveShard();
    throw ledgerUnavailable();
  });
  for (const [i, { claim }] of placed.entries()) {
    const task = tasks[i];
    if (claim && task) runInFastLane(env, ctx, claim, task, requestedAtMs, lifetimeMs);
  }
  return placed;
}

/** Writes together, and again if the shard restarts: tasks that already exist stay as they are. */
async function writeTasks(env: Env, shard: string, tasks: NewTask[]): Promise<Placed[]> {
  if (hasGuards(tasks)) return submitGuarded(env, shard, tasks);
  const claims = hasFollowUps(tasks)
    ? await callObject(async () => submitAlone(env, tasks))
    : await callObject(async (untilMs) => submitInGroup(env, shard, tasks, untilMs), { keepsDeadline: true });
  return tasks.map(({ id }, i) => ({ id, claim: claims[i] ?? null, is: "new" as const }));
}

/** What the tasks of one invocation have used together. */
const counts = new WeakMap<WaitUntil, SubrequestCount>();

function subrequestsOf(ctx: WaitUntil, env: Env): SubrequestCount {
  const count = counts.get(ctx) ?? new SubrequestCount(readTaskSettings(env).subrequestLimits);
  counts.set(ctx, count);
  return count;
}

/** Runs the task in the invocation that submitted it. */
function runInFastLane(
  env: Env,
  ctx: WaitUntil,
  claim: Claim,
  { type, input, trace }: NewTask,
  requestedAtMs: number,
  lifetimeMs: number,
): void {
  const { waitUntilCutMs } = readTaskSettings(env);
  const limitMs = waitUntilCutMs || PLATFORM_LIMIT_MS;
  const invocation: Invocation = {
    env,
    platform: limitWaitUntil(ctx, waitUntilCutMs),
    budgetMs: (limitMs * 5) / 6,
    graceMs: limitMs / 10,
    lifetimeMs,
    subrequests: subrequestsOf(ctx, env),
    travels: "together",
  };
  const assignment = { type, input, attempt: 1, attemptStartedAtMs: Date.now(), steps: {}, trace };
  invocation.platform.waitUntil(startRun(invocation, claim, assignment, requestedAtMs).done);
}
