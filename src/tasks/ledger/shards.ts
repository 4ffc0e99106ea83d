/** How the objects that keep tasks and schedules are reached, and the problem that is returned when they cannot be. */
import { errorFields, log } from "../../kernel/log.ts";
import { Problem } from "../../kernel/problem.ts";
import { RESTART_PAUSES_MS, retry } from "../../kernel/retry.ts";
import { shardOf } from "./task-id.ts";

/** From the bindings: importing the class would close a circle, since the ledger uses shards to start callbacks. */
export type Ledger = ReturnType<Env["TASK_LEDGER"]["getByName"]>;

export function ledgerOn(env: Env, shard: string): Ledger {
  return env.TASK_LEDGER.getByName(shard);
}

/** There is exactly one scheduler. */
export const schedulerOf = (env: Env) => env.SCHEDULER.getByName("schedules");

export function ledgerOf(env: Env, taskId: string): Ledger | undefined {
  const shard = shardOf(taskId);
  return shard === undefined ? undefined : ledgerOn(env, shard);
}

/** Whether a call failed because its object is of a version that lacks the method: it was deployed before. */
export const isMissingMethod = (error: unknown): boolean =>
  error instanceof TypeError && error.message.includes("does not implement the method");

/**
 * Makes a call to an object on a caller's behalf. Repeats it while the object restarts, unless it must run at most
 * `once`. Throws a `Problem` 503 if the object does not respond.
 */
export async function callObject<T>(
  call: () => Promise<T>,
  mayRepeat: "repeat" | "once" = "repeat",
): Promise<T> {
  try {
    return await retry(call, mayRepeat === "repeat" ? RESTART_PAUSES_MS : []);
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
