/** What happens to tasks, over all shards: each a stream of its own (ledger/feed.ts). */
import { z } from "zod";
import type { Watched } from "../../kernel/merged-events.ts";
import { emptyIsAbsent } from "../../kernel/query.ts";
import { callLedger, ledgerOn, shardsInUse } from "../ledger/shards.ts";
import { MAX_TAGS, tagSchema } from "../types/tags.ts";
import { typeNameSchema } from "../types/type-name.ts";

/** The parameters of a stream that say which tasks. What changes would not tell when a task leaves the filter. */
export const watchedTasksSchema = z.strictObject({
  type: typeNameSchema.optional(),
  tag: z.array(tagSchema).max(MAX_TAGS).optional().meta({ description: "The task has all of them." }),
});
const tagList = z
  .string()
  .transform((text) => [...new Set(text.split(",").filter(Boolean))])
  .pipe(z.array(tagSchema).max(MAX_TAGS));
export const watchedTasksParams = {
  type: emptyIsAbsent(typeNameSchema),
  tag: emptyIsAbsent(tagList).meta({
    description: "One or more tags, separated by commas: the task has all of them.",
  }),
};

/** Which tasks; without members, all of them. */
export interface WatchedTasks {
  type?: string | undefined;
  /** They have all of these. */
  tag?: readonly string[] | undefined;
}

/** `caller` is the name of the token. */
export async function watchTasks(env: Env, caller: string, filter: WatchedTasks): Promise<Watched[]> {
  const keep = (event: string, data: string) => keepTasks(filter, event, data);
  return (await shardsInUse(env)).map((shard) => ({
    name: `tasks ${shard}`,
    keep,
    open: async () => callLedger(async () => ledgerOn(env, shard).watchAll(caller)),
  }));
}

const changesSchema = z.object({
  tasks: z.array(z.looseObject({ type: z.string(), tags: z.array(z.string()).optional() })),
  removed: z.array(z.string()),
});

/**
 * The data of an event, for whoever watches these tasks; undefined if it says nothing of them. Of tasks that are gone, only the
 * ids are known: they are kept.
 */
export function keepTasks(filter: WatchedTasks, event: string, data: string): string | undefined {
  const { type, tag = [] } = filter;
  if (event !== "tasks" || (type === undefined && tag.length === 0)) return data;
  const { tasks, removed } = changesSchema.parse(JSON.parse(data));
  const kept = tasks.filter(
    (task) =>
      (type === undefined || task.type === type) && tag.every((one) => task.tags?.includes(one) === true),
  );
  return kept.length === 0 && removed.length === 0 ? undefined : JSON.stringify({ tasks: kept, removed });
}
