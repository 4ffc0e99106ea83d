/**
 * The ledger is split into shards, one Durable Object each. A task's id starts with the name of its shard. So the id
 * alone leads to the task, and shards can be added while the old ones still keep tasks.
 *
 * All tasks of a type with a `concurrency` are on one shard, which can therefore enforce the limit exactly.
 */
import { createHash } from "node:crypto";
import { v5 as uuidv5, v7 as uuidv7 } from "uuid";
import type { TaskType } from "../types/define.ts";

/** Each shard takes a few hundred new tasks per second. Only ever add shards. */
export const SHARDS = ["s0", "s1", "s2", "s3"];
/** Never change this list: a key, or a type with a concurrency, must always lead to the same shard. */
const SHARDS_BY_NAME = ["s0", "s1", "s2", "s3"];

const TASK_ID_PATTERN = /^(s\d+)-[0-9a-f-]{36}$/;
/** The namespace of ids that are derived from keys (RFC 9562 §5.5). */
const KEY_NAMESPACE = "b1a5a2c6-6b0e-4f0c-9d57-0f3f0f7f4a11";

/** A shard for tasks that may be on any shard. */
export function anyShard(): string {
  return SHARDS[Math.floor(Math.random() * SHARDS.length)] ?? "s0";
}

/** The shard for a task of a type: the type's own if it has a `concurrency`, else `otherwise`. */
export function shardOfType(type: TaskType, otherwise: string): string {
  return type.concurrency === undefined ? otherwise : shardOfName(type.name);
}

/** Always the same shard for the same name. */
export function shardOfName(name: string): string {
  const [byte = 0] = createHash("sha256").update(name).digest();
  return SHARDS_BY_NAME[byte % SHARDS_BY_NAME.length] ?? "s0";
}

export function newTaskId(shard: string): string {
  return `${shard}-${uuidv7()}`;
}

/** The id of the one task with this key on a shard. Throws a `TypeError` if another key would give the same id. */
export function taskIdOfKey(shard: string, key: string): string {
  if (!key.isWellFormed()) throw new TypeError("A key must not contain half of a surrogate pair.");
  return `${shard}-${uuidv5(key, KEY_NAMESPACE)}`;
}

/** The shard that a task id names; undefined if this cannot be a task id. */
export function shardOf(taskId: string): string | undefined {
  const shard = TASK_ID_PATTERN.exec(taskId)?.[1];
  return shard !== undefined && SHARDS.includes(shard) ? shard : undefined;
}
