/**
 * The ledger is split into shards, one Durable Object each. A task's id begins with the name of its shard, so that
 * the id alone leads to it, and more shards can be added while tasks are kept in the old ones.
 *
 * All tasks of a type with a `concurrency` are on one shard, which can so keep to it exactly.
 */
import { createHash } from "node:crypto";
import { v5 as uuidv5, v7 as uuidv7 } from "uuid";
import type { TaskType } from "../types/define.ts";

/** Each takes a few hundred new tasks a second. Only ever add to them. */
export const SHARDS = ["s0", "s1", "s2", "s3"];
/** Never changed: a key, and a type with a cap, leads to the same shard for ever. */
const SHARDS_BY_NAME = ["s0", "s1", "s2", "s3"];

const TASK_ID_PATTERN = /^(s\d+)-[0-9a-f-]{36}$/;
/** The namespace of ids that are made from keys (RFC 9562 §5.5). */
const KEYS = "b1a5a2c6-6b0e-4f0c-9d57-0f3f0f7f4a11";

/** Where to put tasks that may be anywhere. */
export function anyShard(): string {
  return SHARDS[Math.floor(Math.random() * SHARDS.length)] ?? "s0";
}

/** Where to put a task of a type: its own shard if it has one, else `otherwise`. */
export function shardOfType(type: TaskType, otherwise: string): string {
  return type.concurrency === undefined ? otherwise : shardOfName(type.name);
}

/** Always the same for the same name. */
export function shardOfName(name: string): string {
  const [byte = 0] = createHash("sha256").update(name).digest();
  return SHARDS_BY_NAME[byte % SHARDS_BY_NAME.length] ?? "s0";
}

export function newTaskId(shard: string): string {
  return `${shard}-${uuidv7()}`;
}

/** The id of the one task that there is with a key on a shard. */
export function taskIdOfKey(shard: string, key: string): string {
  return `${shard}-${uuidv5(key, KEYS)}`;
}

/** The shard that a task's id names, or undefined if no task has such an id. */
export function shardOf(taskId: string): string | undefined {
  const shard = TASK_ID_PATTERN.exec(taskId)?.[1];
  return shard !== undefined && SHARDS.includes(shard) ? shard : undefined;
}
