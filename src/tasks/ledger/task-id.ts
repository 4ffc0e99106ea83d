/**
 * The ledger is split into shards, one Durable Object each. A task's id starts with the name of its shard. So the id
 * alone leads to the task, and shards can be added while the old ones still keep tasks.
 *
 * All tasks of a type with a `concurrency` or a `rate` are on one shard, which can therefore enforce the limit exactly.
 *
 * The shards s0 to s3 are anywhere. Each region (`TASK_REGIONS`) has shards of its own, whose names begin with it. So an
 * id leads to its shard, and the shard to its region, also after the region has been taken out of the variable.
 */
import { createHash } from "node:crypto";
import { v5 as uuidv5, v7 as uuidv7 } from "uuid";
import { LOCATION_HINTS, nearestRegion, placeOf, type Region } from "../../kernel/regions.ts";
import type { TaskType } from "../types/define.ts";
import type { Guard } from "../types/guards.ts";

/** Each shard takes a few hundred new tasks per second. Only ever add shards. */
export const SHARDS = ["s0", "s1", "s2", "s3"];
/** Never change this list: a key, or a type with a concurrency, must always lead to the same shard. */
const SHARDS_BY_NAME = ["s0", "s1", "s2", "s3"];

const SHARDS_PER_REGION = 4;

const shardsOfRegion = (region: Region): string[] =>
  Array.from({ length: SHARDS_PER_REGION }, (_, number) => `${region}${number}`);

/** The regions of the shards that have one. */
const REGION_OF_SHARD = new Map(
  LOCATION_HINTS.flatMap((region) => shardsOfRegion(region).map((shard) => [shard, region] as const)),
);

/** Where a shard lives; undefined if it may be anywhere. */
export const regionOf = (shard: string): Region | undefined => REGION_OF_SHARD.get(shard);

/** The shards that take new tasks. */
export const shardsTaking = (regions: readonly Region[]): string[] => [
  ...SHARDS,
  ...regions.flatMap(shardsOfRegion),
];

export const isShard = (name: string): boolean => SHARDS.includes(name) || REGION_OF_SHARD.has(name);

const TASK_ID_PATTERN = /^([a-z]+\d+)-[0-9a-f-]{36}$/;
/** The namespace of ids that are derived from keys (RFC 9562 §5.5). */
const KEY_NAMESPACE = "b1a5a2c6-6b0e-4f0c-9d57-0f3f0f7f4a11";

/** Which shard of each region this isolate keeps to: its place among them, from 0 to 1. */
let home: number | undefined;

/**
 * A shard for tasks that may be on any: one in the region nearest to the invocation's request, if there are regions.
 * Tasks that start here are all on one shard, so that what is sent for them can travel together. Others are spread, so that
 * they find the runners of all shards.
 */
export function anyShard(ctx: object, regions: readonly Region[], startsHere: boolean): string {
  const place = placeOf(ctx);
  const region = place && nearestRegion(place, regions);
  const shards = region === undefined ? SHARDS : shardsOfRegion(region);
  home ??= Math.random();
  return shards[Math.floor((startsHere ? home : Math.random()) * shards.length)] ?? "s0";
}

/** Has this isolate keep to another shard, or by chance the same: one has not responded. */
export function leaveShard(): void {
  home = undefined;
}

/** The shard for a task of a type: the type's own if it has one, else `otherwise`. */
export function shardOfType(type: TaskType, otherwise: string): string {
  return isOnOneShard(type) ? shardOfName(type.name) : otherwise;
}

/** Whether the code gives the type a limit. What an operator sets does not count: tasks must be found where they were sent. */
export const isOnOneShard = ({ concurrency, rate }: TaskType): boolean =>
  concurrency !== undefined || rate !== undefined;
/** The same, for a task that may have a guard: all tasks with one key are on one shard, which therefore decides exactly. */
export const shardOfGuarded = (type: TaskType, guard: Guard | undefined, otherwise: string): string =>
  shardOfType(type, guard ? shardOfName(guard.key) : otherwise);

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
  return shard !== undefined && isShard(shard) ? shard : undefined;
}
