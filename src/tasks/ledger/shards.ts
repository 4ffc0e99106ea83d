/** How the objects that keep tasks and schedules are reached, and the problem that is returned when they cannot be. */
import { errorFields, log } from "../../kernel/log.ts";
import { registeredObjects } from "../../kernel/object-registry.ts";
import { callObject, objectNamed } from "../../kernel/objects.ts";
import { Problem } from "../../kernel/problem.ts";
import { span } from "../../kernel/spans.ts";
import type { Claim, NewTask } from "./claim.ts";
import { readTaskSettings } from "./settings.ts";
import { isShard, regionOf, shardOf, shardsTaking } from "./task-id.ts";

/** From the bindings: importing the class would close a circle, since the ledger uses shards to start callbacks. */
export type Ledger = ReturnType<Env["TASK_LEDGER"]["getByName"]>;

export function ledgerOn(env: Env, shard: string): Ledger {
  return objectNamed(env, "TASK_LEDGER", shard, { hint: regionOf(shard) });
}

/** There is exactly one scheduler. */
export const SCHEDULER_NAME = "schedules";
export const schedulerOf = (env: Env) => objectNamed(env, "SCHEDULER", SCHEDULER_NAME);

export function ledgerOf(env: Env, taskId: string): Ledger | undefined {
  const shard = shardOf(taskId);
  return shard === undefined ? undefined : ledgerOn(env, shard);
}

/**
 * Writes tasks of one shard, and returns their claims. A ledger of an earlier version would drop their tags or follow-ups in
 * silence: so tasks with any have a method of their own, which it lacks. One try.
 */
export async function submitAlone(env: Env, tasks: NewTask[]): Promise<(Claim | null)[]> {
  const ledger = ledgerOn(env, shardOf(tasks[0]?.id ?? "") ?? "");
  if (hasTags(tasks)) return ledger.submitTagged(tasks);
  return hasFollowUps(tasks) ? ledger.submitWithFollowUps(tasks) : ledger.submit(tasks);
}

export const hasFollowUps = (tasks: readonly NewTask[]): boolean =>
  tasks.some(({ then }) => then !== undefined);

export const hasTags = (tasks: readonly NewTask[]): boolean => tasks.some(({ tags = null }) => tags !== null);

export const hasGuards = (tasks: readonly NewTask[]): boolean =>
  tasks.some(({ guard }) => guard !== undefined);

const SHARD_PREFIX = "TASK_LEDGER/";
/** For how long an isolate keeps what it has read. Only regions that no longer take tasks depend on it. */
const REGISTRY_MAX_AGE_MS = 60_000;
/** Short: whoever waits for it does without it. */
const REGISTRY_DEADLINE_MS = 2_000;
const registries = new WeakMap<Env, { readAtMs: number; shards: string[] }>();

/**
 * All shards that may keep tasks: those that take new ones, and any others that exist. If the list of those cannot be
 * read, the latest that this isolate has read counts, and the log says so: most deployments have no such shard, and their
 * tasks do not depend on R2.
 */
export async function shardsInUse(env: Env): Promise<string[]> {
  const taking = shardsTaking(readTaskSettings(env).regions);
  return [...new Set([...taking, ...(await registeredShards(env))])];
}

async function registeredShards(env: Env): Promise<string[]> {
  const nowMs = Date.now();
  const kept = registries.get(env);
  if (kept && nowMs - kept.readAtMs < REGISTRY_MAX_AGE_MS) return kept.shards;
  try {
    const objects = await callObject(async () => registeredObjects(env), {
      pausesMs: [50],
      deadlineMs: REGISTRY_DEADLINE_MS,
    });
    const shards = objects
      .filter((object) => object.startsWith(SHARD_PREFIX))
      .map((object) => object.slice(SHARD_PREFIX.length))
      .filter(isShard);
    registries.set(env, { readAtMs: nowMs, shards });
    return shards;
  } catch (error) {
    log("error", "the shards of regions that take no more tasks are not known", errorFields(error));
    return kept?.shards ?? [];
  }
}

/**
 * Makes a call to the ledger or the scheduler on a caller's behalf. Repeats it while the object restarts, unless it
 * must run at most `once`. Throws a `Problem` 503 if the object does not respond.
 */
export async function callLedger<T>(
  call: () => Promise<T>,
  mayRepeat: "repeat" | "once" = "repeat",
): Promise<T> {
  try {
    return await span("ledger call", {}, async () => callObject(call, { mayRepeat: mayRepeat === "repeat" }));
  } catch (error) {
    log("error", "an object that keeps tasks or schedules does not respond", errorFields(error));
    throw ledgerUnavailable();
  }
}

export const ledgerUnavailable = () =>
  new Problem(
    "ledger-unavailable",
    "The objects that keep tasks and schedules do not respond. Try again after the time in Retry-After.",
    {
      headers: { "Retry-After": "1" },
    },
  );
