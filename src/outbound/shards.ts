/**
 * The shards of an upstream: its semaphore is one Durable Object, or `shards` of them, each with a part of the limits.
 *
 *     shards = 1    one object, which has the upstream's name
 *     shards = 4    weather#0 … weather#3
 *
 * Only here is such a name made or read. An object that the configuration does not have any longer, since `shards` has
 * changed, has no permits; those that it has granted are renewed and released there as before.
 */
import { objectNamed } from "../kernel/objects.ts";
import { readUpstreams, type Upstream } from "./upstreams.ts";

const SEPARATOR = "#";

/** The names of the objects that are the semaphore of an upstream. */
export const semaphoreNames = ({ name, shards }: Pick<Upstream, "name" | "shards">): string[] =>
  indexesOf({ shards }).map((shard) => semaphoreName({ name, shards }, shard));

/** The name of one of them, from 0. */
export function semaphoreName({ name, shards }: Pick<Upstream, "name" | "shards">, shard: number): string {
  return shards === 1 ? name : `${name}${SEPARATOR}${shard}`;
}

/** A stub of one shard, from 0. */
export const semaphoreOf = (env: Env, upstream: Upstream, shard: number) =>
  objectNamed(env, "SEMAPHORE", semaphoreName(upstream, shard), { hint: upstream.locationHint });

/** All shards of an upstream, from 0. */
export const indexesOf = ({ shards }: Pick<Upstream, "shards">): number[] =>
  Array.from({ length: shards }, (_, shard) => shard);

/** The upstream that an object belongs to, and which of its shards that is; undefined if it is none any longer. */
export function shardNamed(env: Env, objectName = ""): { upstream: Upstream; shard: number | undefined } {
  const [name = ""] = objectName.split(SEPARATOR, 1);
  const upstream = readUpstreams(env).get(name);
  if (!upstream)
    throw new Error("A Semaphore must be addressed by the name of an upstream, or of one of its shards.");
  const shard = semaphoreNames(upstream).indexOf(objectName);
  return { upstream, shard: shard < 0 ? undefined : shard };
}
