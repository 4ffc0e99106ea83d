/**
 * How the objects that keep files are reached. The catalogue is split into shards, one Durable Object each, and the id of
 * a file determines its shard. Each resumable upload has a session of its own, named by its id.
 */
import { v7 as uuidv7 } from "uuid";
import { errorFields, log } from "../../kernel/log.ts";
import { callObject, objectNamed } from "../../kernel/objects.ts";
import { Problem } from "../../kernel/problem.ts";
import type { FileCatalogue } from "./catalogue.ts";

/**
 * Each shard handles some hundred changes and a thousand look-ups a second. The number must never change: files would
 * be lost.
 */
const SHARDS = 8;

type Catalogue = DurableObjectStub<FileCatalogue>;

/** The names of all shards. */
export const CATALOGUES = Array.from({ length: SHARDS }, (_, number) => `c${number}`);

export const catalogueNamed = (env: Env, name: string): Catalogue => objectNamed(env, "FILE_CATALOGUE", name);

export const catalogueOf = (env: Env, fileId: string): Catalogue =>
  catalogueNamed(env, catalogueNameOf(fileId));

export const catalogueNameOf = (fileId: string): string => `c${shardOf(fileId)}`;

export const sessionOf = (env: Env, id: string) => objectNamed(env, "UPLOAD_SESSION", id);

/**
 * Makes a call to the catalogue or to a session on a caller's behalf. Repeats it while the object restarts, unless it
 * must run at most `once`. Throws a `Problem` 503 if the object does not respond.
 */
export async function callCatalogue<T>(
  call: () => Promise<T>,
  mayRepeat: "repeat" | "once" = "repeat",
): Promise<T> {
  try {
    return await callObject(call, { mayRepeat: mayRepeat === "repeat" });
  } catch (error) {
    throw catalogueUnavailable(error);
  }
}

/** The `Problem` 503 for a call to the catalogue or to a session that failed. Logs why. */
export function catalogueUnavailable(error: unknown): Problem {
  log("error", "an object that keeps files does not respond", errorFields(error));
  return new Problem(
    "catalogue-unavailable",
    "The objects that keep the files do not respond. Try again after the time in Retry-After.",
    { headers: { "Retry-After": "1" } },
  );
}

/** A new id, in the same shard as `sibling`, so that what both stand for can be committed in one step. */
export function newFileId(sibling?: string, prefix = ""): string {
  for (;;) {
    const id = prefix + uuidv7();
    if (sibling === undefined || shardOf(id) === shardOf(sibling)) return id;
  }
}

const shardOf = (id: string) => hash(id) % SHARDS;

/** FNV-1a, 32 bits. */
function hash(text: string): number {
  let state = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) state = Math.imul(state ^ text.charCodeAt(i), 0x01000193);
  return state >>> 0;
}
