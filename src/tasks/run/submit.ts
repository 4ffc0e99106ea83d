/**
 * Submitting tasks: checks them, writes them to the ledger, and starts them in the fast lane if the ledger allows it.
 */

import type { z } from "zod";
import { RESTART_PAUSES_MS, retry } from "../../kernel/retry.ts";
import { cutWaiting, type Waiting } from "../../kernel/wait-until.ts";
import type { Claim, NewTask } from "../ledger/claim.ts";
import { type Task, toTask } from "../ledger/schema.ts";
import { readTaskSettings } from "../ledger/settings.ts";
import { ledgerOf, ledgerOn } from "../ledger/shards.ts";
import { anyShard, newTaskId, shardOf, shardOfName, shardOfType, taskIdOfKey } from "../ledger/task-id.ts";
import type { TaskType } from "../types/define.ts";
import { toJson } from "../types/json.ts";
import { findTaskType, unregisteredTypeError } from "../types/registry.ts";
import { type Invocation, startRun } from "./attempt.ts";
import { callWithReports } from "./reports.ts";

/** A task to start: its type, and an input that the type's schema accepts. */
export interface Start<Input extends z.ZodType = z.ZodType> {
  type: TaskType<Input>;
  input: z.input<Input>;
}

/** One `Start` for each input schema, so that the compiler checks each input against its own type. */
type Starts<Inputs extends readonly z.ZodType[]> = { readonly [I in keyof Inputs]: Start<Inputs[I]> };

/** How many of the tasks submitted to a shard together run in the invocation itself. The ledger runs the others. */
const MAX_FAST_LANE_STARTS = 8;
/** How long the platform lets an invocation continue after its response. */
const PLATFORM_LIMIT_MS = 30_000;
/** How long a caller may wait for its task to end, in seconds (`Prefer: wait`). */
export const MAX_WAIT_S = 60;

/**
 * Writes tasks to the ledger and starts to run them concurrently. Returns their ids; from then on, the tasks are
 * kept. The write is all or none, unless some of the types have a shard of their own (`concurrency`). If an input
 * does not fit its type, throws a `ZodError`; if a type is not registered, a `TypeError`. In either case no task is
 * started.
 */
export async function startTasks<const Inputs extends readonly z.ZodType[]>(
  env: Env,
  ctx: Waiting,
  starts: Starts<Inputs>,
): Promise<string[]> {
  const shard = anyShard();
  const tasks = starts.map(({ type, input }) =>
    validateTask(type, input, newTaskId(shardOfType(type, shard))),
  );
  for (const [name, part] of Map.groupBy(tasks, ({ id }) => shardOf(id) ?? ""))
    await submitTasks(env, ctx, name, part);
  return tasks.map(({ id }) => id);
}

/**
 * As `startTasks`, for one task per `key`: however often this is called with it, the task starts once. Returns its
 * id.
 */
export async function startTaskOnce<Input extends z.ZodType>(
  env: Env,
  ctx: Waiting,
  { type, input }: Start<Input>,
  key: string,
): Promise<string> {
  const shard = shardOfType(type, shardOfName(key));
  const task = validateTask(type, input, taskIdOfKey(shard, key));
  await submitTasks(env, ctx, shard, [task]);
  return task.id;
}

/** As `startTaskOnce`, for callers without an invocation that could run the task: the ledger gives it to a runner. */
export async function enqueueOnce<Input extends z.ZodType>(
  env: Env,
  type: TaskType<Input>,
  input: z.input<Input>,
  key: string,
): Promise<string> {
  const shard = shardOfType(type, shardOfName(key));
  const task = { ...validateTask(type, input, taskIdOfKey(shard, key)), lane: null };
  await writeTasks(env, shard, [task]);
  return task.id;
}

export async function getTask(env: Env, id: string): Promise<Task | undefined> {
  const row = await retry(async () => ledgerOf(env, id)?.getTask(id), RESTART_PAUSES_MS);
  return row ? toTask(row) : undefined;
}

/** As `toNewTask`. Throws if the type is not registered or the input does not fit it. */
function validateTask(type: TaskType, input: unknown, id: string): NewTask {
  if (findTaskType(type.name) !== type) throw unregisteredTypeError(type.name);
  type.input.parse(input);
  return toNewTask(type, toJson(input), id);
}

/** A task for the ledger to run now. `input` is JSON text, and has been checked. */
export function toNewTask(type: TaskType, input: string, id: string): NewTask {
  const lane = type.lane === "fast" ? "fast" : null;
  return { id, type: type.name, input, priority: 0, runAtMs: 0, callbackUrl: null, lane };
}

/** Writes tasks to one shard, and starts to run those for which it returns a claim. */
export async function submitTasks(env: Env, ctx: Waiting, shard: string, tasks: NewTask[]): Promise<void> {
  let fast = 0;
  const submitted = tasks.map((task) =>
    task.lane === null || ++fast <= MAX_FAST_LANE_STARTS ? task : { ...task, lane: null },
  );
  const requestedAtMs = Date.now();
  const claims = await writeTasks(env, shard, submitted);
  for (const [i, claim] of claims.entries()) {
    const task = tasks[i];
    if (claim && task) runInFastLane(env, ctx, claim, task, requestedAtMs);
  }
}

/** Writes in one call, and repeats it if the shard restarts: tasks that already exist stay as they are. */
async function writeTasks(env: Env, shard: string, tasks: NewTask[]): Promise<(Claim | null)[]> {
  const call = async () =>
    callWithReports(shard, async (reports) => ledgerOn(env, shard).submit(tasks, reports));
  return retry(call, RESTART_PAUSES_MS);
}

/** Runs the task in the invocation that submitted it. */
function runInFastLane(
  env: Env,
  ctx: Waiting,
  claim: Claim,
  { type, input }: NewTask,
  requestedAtMs: number,
): void {
  const { waitUntilCutMs } = readTaskSettings(env);
  const limitMs = waitUntilCutMs || PLATFORM_LIMIT_MS;
  const invocation: Invocation = {
    env,
    waiting: cutWaiting(ctx, waitUntilCutMs),
    budgetMs: (limitMs * 5) / 6,
    graceMs: limitMs / 10,
    // The platform's limit begins with the response, which `Prefer: wait` delays.
    lifetimeMs: waitUntilCutMs || PLATFORM_LIMIT_MS + MAX_WAIT_S * 1000,
  };
  const assignment = { type, input, attempt: 1, attemptStartedAtMs: Date.now(), steps: {} };
  invocation.waiting.waitUntil(startRun(invocation, claim, assignment, requestedAtMs).done);
}
