/** Submitting tasks that have guards (types/guards.ts): each shard decides those of its keys. */
import { callObject } from "../../kernel/objects.ts";
import { Problem } from "../../kernel/problem.ts";
import type { NewTask, Placed } from "../ledger/claim.ts";
import type { Conflict } from "../ledger/guard-rules.ts";
import { ledgerOn } from "../ledger/shards.ts";

/** How long a task that is being cancelled may still hold its key. */
const CANCEL_S = "10";

/**
 * Writes tasks to one shard, all or none. Not together with what others submit: the ledger of an earlier version, which would
 * drop a guard in silence, lacks this method. Throws a `Problem` 409 that names the task which holds a key.
 */
export async function submitGuarded(env: Env, shard: string, tasks: NewTask[]): Promise<Placed[]> {
  const written = await callObject(async () => ledgerOn(env, shard).submitGuarded(tasks));
  if (Array.isArray(written)) return written;
  throw conflict(written, tasks);
}

function conflict({ holder, why }: Conflict, tasks: readonly NewTask[]): Problem {
  const { length } = tasks;
  const rest =
    length > 1 ? ` The ${length} tasks of the batch that belong to its shard are not written.` : "";
  // Of those that are not written, an id would lead nowhere.
  const name = tasks.some(({ id }) => id === holder) ? "An earlier task of this batch" : `The task ${holder}`;
  const headers = why === "is being cancelled" ? { "Retry-After": CANCEL_S } : {};
  return new Problem("conflict", `${name} ${PREDICATES[why]}.${rest}`, { headers });
}

const PREDICATES: Readonly<Record<Conflict["why"], string>> = {
  "is held": "holds this unique key",
  "has begun": "holds this unique key, and has begun: it cannot be replaced",
  "is being cancelled": "holds this unique key, and is being cancelled",
};
