/** How the objects of the ledger are reached, and what is said when they do not answer. */
import { errorFields, log } from "../../kernel/log.ts";
import { Problem } from "../../kernel/problem.ts";
import { RESTART_PAUSES_MS, retry } from "../../kernel/retry.ts";
import { shardOf } from "./task-id.ts";

/** As the bindings have it: to import the class would close a circle, since the ledger starts callbacks by their shard. */
export type Ledger = ReturnType<Env["TASK_LEDGER"]["getByName"]>;

export function ledgerOn(env: Env, shard: string): Ledger {
  return env.TASK_LEDGER.getByName(shard);
}

export function ledgerOf(env: Env, taskId: string): Ledger | undefined {
  const shard = shardOf(taskId);
  return shard === undefined ? undefined : ledgerOn(env, shard);
}

/**
 * Asks on a caller's behalf: again while a ledger restarts, unless the question is one that must not be repeated. Throws
 * a `Problem` 503 if it does not answer.
 */
export async function ask<T>(
  question: () => Promise<T>,
  mayRepeat: "repeat" | "once" = "repeat",
): Promise<T> {
  try {
    return await retry(question, mayRepeat === "repeat" ? RESTART_PAUSES_MS : []);
  } catch (error) {
    log("error", "an object that keeps tasks or schedules does not answer", errorFields(error));
    throw ledgerUnavailable();
  }
}

export const ledgerUnavailable = () =>
  new Problem(
    "ledger-unavailable",
    "The objects that keep tasks and schedules do not answer now: ask again.",
    {
      headers: { "Retry-After": "1" },
    },
  );
