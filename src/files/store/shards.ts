/** The catalogue is split into shards, one Durable Object each. The id of a file determines its shard. */
import { v7 as uuidv7 } from "uuid";
import type { FileCatalogue } from "./catalogue.ts";

/**
 * Each shard handles some hundred changes and a thousand look-ups a second. The number must never change: files would
 * be lost.
 */
const SHARDS = 8;

type Catalogue = DurableObjectStub<FileCatalogue>;

export const catalogueOf = (env: Env, fileId: string): Catalogue => shard(env, shardOf(fileId));

export const allCatalogues = (env: Env): Catalogue[] =>
  Array.from({ length: SHARDS }, (_, number) => shard(env, number));

/** A new id, in the same shard as `sibling`, so that both files can be committed in one step. */
export function newFileId(sibling?: string): string {
  for (;;) {
    const id = uuidv7();
    if (sibling === undefined || shardOf(id) === shardOf(sibling)) return id;
  }
}

const shardOf = (id: string) => hash(id) % SHARDS;

const shard = (env: Env, number: number) => env.FILE_CATALOGUE.getByName(`c${number}`);

/** FNV-1a, 32 bits. */
function hash(text: string): number {
  let state = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) state = Math.imul(state ^ text.charCodeAt(i), 0x01000193);
  return state >>> 0;
}
