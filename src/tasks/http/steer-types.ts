/** Changes of task types, over all shards of the ledger. */
import { errorFields, log } from "../../kernel/log.ts";
import { callObject } from "../../kernel/objects.ts";
import { Problem } from "../../kernel/problem.ts";
import { type Patch, whyIndivisible } from "../ledger/limits.ts";
import { readTaskSettings } from "../ledger/settings.ts";
import { callLedger, ledgerOn, shardsInUse } from "../ledger/shards.ts";
import { STEERING_SHARD, type Steering, type SteeringStatus } from "../ledger/steering.ts";
import { shardsTaking } from "../ledger/task-id.ts";
import type { TaskType } from "../types/define.ts";

/** How long the list of types waits for what has been changed. */
const READ_DEADLINE_MS = 2_000;

/** Throws a `Problem` 503 if the shard that has the say does not respond. */
export async function statusOf(env: Env): Promise<SteeringStatus> {
  return callLedger(async () => ledgerOn(env, STEERING_SHARD).steeringStatus());
}

/** What has been changed, by the name of the type; undefined if that is not known: the list has more to say. */
export async function readChanges(env: Env): Promise<Steering["changes"] | undefined> {
  try {
    const read = async () => ledgerOn(env, STEERING_SHARD).readSteering();
    return (await callObject(read, { deadlineMs: READ_DEADLINE_MS })).changes;
  } catch (error) {
    log("error", "it is not known which task types are paused", errorFields(error));
    return undefined;
  }
}

/**
 * Changes a type on all shards. Throws a `Problem`: 422 if the change cannot be divided among them; 503 if one does not
 * respond. Then the others have made the change, and that one makes it when it is back.
 */
export async function steer(env: Env, type: TaskType, patch: Patch): Promise<Steering> {
  const wrong = whyIndivisible(type, patch, shardsTaking(readTaskSettings(env).regions).length);
  if (wrong)
    throw new Problem("invalid", `The limits of "${type.name}" cannot be changed so.`, { errors: [wrong] });
  const { steering, pending } = await callLedger(async () =>
    ledgerOn(env, STEERING_SHARD).steer(type.name, patch),
  );
  if (pending.length === 0) return steering;
  throw new Problem(
    "ledger-unavailable",
    `Of the ledger, ${pending.join(", ")} did not respond, and may not have made the change. The others have. It is made there ` +
      "within a minute after they are back; or send it again.",
    { headers: { "Retry-After": "1" } },
  );
}

/** How many tasks of a type wait and run, over all shards. Throws a `Problem` 503 if one does not respond. */
export async function countType(env: Env, name: string): Promise<{ queued: number; running: number }> {
  const shards = await shardsInUse(env);
  const counts = await Promise.all(
    shards.map(async (shard) => callLedger(async () => ledgerOn(env, shard).countActive(name))),
  );
  const sum = (of: "queued" | "running") => counts.reduce((total, count) => total + count[of], 0);
  return { queued: sum("queued"), running: sum("running") };
}
