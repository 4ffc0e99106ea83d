/** Submitting tasks: checked, written to the ledger, and begun in the fast lane, where that is open to them. */

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
import { type Place, startRun } from "./attempt.ts";
import { takeAlong } from "./reports.ts";

/** A task to start: its type, with an input that the type's schema takes. */
export interface Start<Input extends z.ZodType = z.ZodType> {
  type: TaskType<Input>;
  input: z.input<Input>;
}

/** Of what is submitted to a shard together, so many run in the invocation itself; the ledger runs the rest. */
const MOST_AT_ONCE = 8;
/** How long the platform lets an invocation go on after its answer. */
const PLATFORM_LIMIT_MS = 30_000;
/** How long a caller may have the answer to its submission wait for the task's end. */
export const LONGEST_WAIT_S = 60;

/**
 * Writes tasks to the ledger (all or none, where no type has a shard of its own), begins to run them side by side, and
 * gives their ids. Once it has answered, the tasks are kept. Throws if an input does not fit; nothing is started then.
 */
export async function startTasks(env: Env, ctx: Waiting, starts: Start[]): Promise<string[]> {
  const shard = anyShard();
  const tasks = starts.map(({ type, input }) => toNewTask(type, input, newTaskId(shardOfType(type, shard))));
  for (const [name, part] of Map.groupBy(tasks, ({ id }) => shardOf(id) ?? ""))
    await submitTasks(env, ctx, name, part);
  return tasks.map(({ id }) => id);
}

/** The same for one task, which is started once for each `key`, however often this is called; gives its id. */
export async function startTaskOnce(
  env: Env,
  ctx: Waiting,
  { type, input }: Start,
  key: string,
): Promise<string> {
  const shard = shardOfType(type, shardOfName(key));
  const task = toNewTask(type, input, taskIdOfKey(shard, key));
  await submitTasks(env, ctx, shard, [task]);
  return task.id;
}

/** The same, where nothing outlives the call: the ledger runs the task by itself. */
export async function enqueueOnce(env: Env, type: TaskType, input: unknown, key: string): Promise<string> {
  const shard = shardOfType(type, shardOfName(key));
  const task = { ...toNewTask(type, input, taskIdOfKey(shard, key)), lane: null };
  await write(env, shard, [task]);
  return task.id;
}

export async function getTask(env: Env, id: string): Promise<Task | undefined> {
  const row = await retry(async () => ledgerOf(env, id)?.getTask(id), RESTART_PAUSES_MS);
  return row ? toTask(row) : undefined;
}

/** As `toEntry`. Throws if the input does not fit its type. */
function toNewTask(type: TaskType, input: unknown, id: string): NewTask {
  type.input.parse(input);
  return toEntry(type, toJson(input), id);
}

/** A task as the ledger takes it, to run now; `input` is JSON text of what has been checked. */
export function toEntry(type: TaskType, input: string, id: string): NewTask {
  const lane = type.lane === "fast" ? "fast" : null;
  return { id, type: type.name, input, priority: 0, runAtMs: 0, callbackUrl: null, lane };
}

/** Writes tasks of one shard, and begins to run those that it gives back. */
export async function submitTasks(env: Env, ctx: Waiting, shard: string, tasks: NewTask[]): Promise<void> {
  let fast = 0;
  const asked = tasks.map((task) =>
    task.lane === null || ++fast <= MOST_AT_ONCE ? task : { ...task, lane: null },
  );
  const askedAtMs = Date.now();
  const claims = await write(env, shard, asked);
  for (const [i, claim] of claims.entries()) {
    const task = tasks[i];
    if (claim && task) runHere(env, ctx, claim, task, askedAtMs);
  }
}

/** In one call; again, if the shard is restarting: what is there already stays as it is. */
async function write(env: Env, shard: string, tasks: NewTask[]): Promise<(Claim | null)[]> {
  const call = async () => takeAlong(shard, async (reports) => ledgerOn(env, shard).submit(tasks, reports));
  return retry(call, RESTART_PAUSES_MS);
}

/** The fast lane: the task runs in the invocation that took its request. */
function runHere(env: Env, ctx: Waiting, claim: Claim, { type, input }: NewTask, askedAtMs: number): void {
  const { waitUntilCutMs } = readTaskSettings(env);
  const limitMs = waitUntilCutMs || PLATFORM_LIMIT_MS;
  const place: Place = {
    env,
    waiting: cutWaiting(ctx, waitUntilCutMs),
    budgetMs: (limitMs * 5) / 6,
    patienceMs: limitMs / 10,
    // The platform counts from the answer, which `Prefer: wait` puts off.
    lifeMs: waitUntilCutMs || PLATFORM_LIMIT_MS + LONGEST_WAIT_S * 1000,
  };
  const assignment = { type, input, attempt: 1, attemptStartedAtMs: Date.now(), steps: {} };
  place.waiting.waitUntil(startRun(place, claim, assignment, askedAtMs).done);
}
