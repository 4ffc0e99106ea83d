/**
 * The shard that all calls of a limit key go to, where each key has limits of its own: shards do not ask each other, so one
 * of them must see all. It depends on nothing but the key and the number of shards, and so is the same in every isolate.
 */
import type { Upstream } from "../upstreams.ts";

/** Undefined if the call may go to any shard. */
export function shardOfKey({ shards, perKey }: Upstream, key: string | undefined): number | undefined {
  return perKey && key !== undefined ? hash(key) % shards : undefined;
}

/** FNV-1a, 32 bits, with the last step of MurmurHash3, without which the low bits of similar keys are alike. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) value = Math.imul(value ^ byte, 0x01000193);
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
}
