/** What happens to all files, over all catalogues: each a stream of its own. */
import { z } from "zod";
import { type Bounds, isWithin } from "../../kernel/bounds.ts";
import type { Watched } from "../../kernel/merged-events.ts";
import { showTo } from "./list.ts";
import { CATALOGUES, callCatalogue, catalogueNamed } from "./shards.ts";

/** `caller` is the name of the token. With bounds, only files within them. */
export function watchFiles(env: Env, caller: string, bounds?: Bounds): Watched[] {
  return CATALOGUES.map((name) => ({
    name: `files ${name}`,
    ...(bounds && { keep: (event: string, data: string) => keepFiles(bounds, event, data) }),
    open: async () => callCatalogue(async () => catalogueNamed(env, name).watchAll(caller)),
  }));
}

const nullable = z.string().nullable();
const changesSchema = z.object({
  files: z.array(z.looseObject({ id: z.string(), owner: nullable, source: nullable, sourceTask: nullable })),
  removed: z.array(z.string()),
});

/**
 * The data of an event, for a bound caller; undefined if it says nothing of what that may know. Of files that are gone, only
 * the ids are known: whoever sees its own alone is not told of them.
 */
export function keepFiles(bounds: Bounds, event: string, data: string): string | undefined {
  if (event !== "files") return data;
  const changes = changesSchema.parse(JSON.parse(data));
  const files = changes.files.filter((file) => isWithin(bounds, file)).map((file) => showTo(bounds, file));
  const removed = bounds.owner === null ? changes.removed.filter((id) => isWithin(bounds, { id })) : [];
  return files.length === 0 && removed.length === 0 ? undefined : JSON.stringify({ files, removed });
}
