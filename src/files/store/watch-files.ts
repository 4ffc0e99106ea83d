/** What happens to all files, over all catalogues: each a stream of its own. */
import type { Watched } from "../../kernel/merged-events.ts";
import { CATALOGUES, callCatalogue, catalogueNamed } from "./shards.ts";

/** `caller` is the name of the token. */
export function watchFiles(env: Env, caller: string): Watched[] {
  return CATALOGUES.map((name) => ({
    name: `files ${name}`,
    open: async () => callCatalogue(async () => catalogueNamed(env, name).watchAll(caller)),
  }));
}
