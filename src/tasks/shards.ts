/**
 * The ledger is split into shards, one Durable Object each. A task's id begins with the name of its shard, so that
 * the id alone leads to it, and more shards can be added while tasks are kept in the old ones.
 */
import { createHash } from "node:crypto";

/** Each takes a few hundred new tasks a second. Only ever add to them. */
const SHARDS = ["s0", "s1", "s2", "s3"];
/** Never changed: a key leads to the same shard for ever. */
const SHARDS_FOR_KEYS = ["s0", "s1", "s2", "s3"];

const TASK_ID_PATTERN = /^(s\d+)-[0-9a-f-]{36}$/;

export type Ledger = DurableObjectStub<import("./ledger.ts").TaskLedger>;

/** A shard for new tasks. */
export function anyLedger(env: Env): Ledger {
  return env.TASK_LEDGER.getByName(SHARDS[Math.floor(Math.random() * SHARDS.length)] ?? "s0");
}

/** The shard for the task with this key: always the same. */
export function ledgerForKey(env: Env, key: string): Ledger {
  const [byte = 0] = createHash("sha256").update(key).digest();
  return env.TASK_LEDGER.getByName(SHARDS_FOR_KEYS[byte % SHARDS_FOR_KEYS.length] ?? "s0");
}

/** The shard that a task's id names, or undefined if no task has such an id. */
export function ledgerOf(env: Env, taskId: string): Ledger | undefined {
  const shard = TASK_ID_PATTERN.exec(taskId)?.[1];
  return shard !== undefined && SHARDS.includes(shard) ? env.TASK_LEDGER.getByName(shard) : undefined;
}

export function allLedgers(env: Env): Ledger[] {
  return SHARDS.map((shard) => env.TASK_LEDGER.getByName(shard));
}
