import { NO_PRECONDITIONS } from "./preconditions.ts";
import { callCatalogue, catalogueOf } from "./shards.ts";

/** Removes a file, as DELETE does; returns whether there was one. Its bytes are gone from R2 a little later. */
export async function removeFile(env: Env, id: string): Promise<boolean> {
  const outcome = await callCatalogue(async () => catalogueOf(env, id).remove(id, NO_PRECONDITIONS), "once");
  return outcome === "removed";
}
