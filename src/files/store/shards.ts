/** The catalogue is split into shards, one Durable Object each. The id of a file tells in which one it is. */
import { v7 as uuidv7 } from "uuid";
import type { FileCatalogue } from "./catalogue.ts";

/** Each takes some hundred changes and a thousand look-ups a second. The number cannot be changed: files would be lost. */
const SHARDS = 8;

type Catalogue = DurableObjectStub<FileCatalogue>;

export const catalogueOf = (env: Env, fileId: string): Catalogue => shard(env, shardOf(fileId));

export const allCatalogues = (env: Env): Catalogue[] =>
  Array.from({ length: SHARDS }, (_, number) => shard(env, number));

/** A new id in the same shard as `beside`, so that both can be committed in one step. */
export function newFileId(beside?: string): string {
  for (;;) {
    const id = uuidv7();
    if (beside === undefined || shardOf(id) === shardOf(beside)) return id;
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
