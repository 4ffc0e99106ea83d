/** How many files there are, and how many were stored in a time, over all shards: for reports. */
import type { FileTotals } from "./file-table.ts";
import { CATALOGUES, callCatalogue, catalogueNamed } from "./shards.ts";

/** All files, and those that were stored from one time to another (ms since the epoch) and are still kept. */
export async function countFiles(env: Env, fromMs: number, untilMs: number): Promise<FileTotals> {
  const shards = await Promise.all(
    CATALOGUES.map(
      async (name): Promise<FileTotals> =>
        callCatalogue(async () => catalogueNamed(env, name).totals(fromMs, untilMs)),
    ),
  );
  return {
    kept: {
      count: shards.reduce((sum, { kept }) => sum + kept.count, 0),
      bytes: shards.reduce((sum, { kept }) => sum + kept.bytes, 0),
    },
    stored: shards.flatMap(({ stored }) => stored),
  };
}
