/**
 * Sluice with one more task type, and with routes to its ledger that only the bench has. `servers.ts` bundles it as
 * `npm run build` bundles the Worker itself.
 *
 *     GET  /bench/finished                                how many tasks have succeeded
 *     POST /bench/fill?tasks=1000                         fills a separate ledger, named after that number
 *     POST /bench/repeat?tasks=1000&times=10&action=…     repeats an action on it; see ledger.ts
 *     POST /bench/restore?tasks=1000                      undoes the actions
 */
import { z } from "zod";
import sluice from "../../src/index.ts";
import { defineTask, registerTaskTypes } from "../../src/tasks/index.ts";
import type { FilledLedger, TaskLedger } from "./ledger.ts";

export * from "../../src/index.ts";
export { FilledLedger, TaskLedger } from "./ledger.ts";

interface BenchEnv extends Env {
  FILLED_LEDGER: DurableObjectNamespace<FilledLedger>;
}

const SHARDS = ["s0", "s1", "s2", "s3"];

/** The trivial task: it logs its ticket and ends. */
const benchTask = defineTask({
  name: "bench",
  input: z.object({ ticket: z.int() }),
  async run(_ctx, { ticket }) {
    if (ticket !== 0) console.log(`started ${ticket}`);
  },
});

registerTaskTypes([benchTask]);

export default {
  async fetch(request, env, ctx): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url);
    const filled = () => env.FILLED_LEDGER.getByName(`s${searchParams.get("tasks")}`);
    switch (pathname) {
      case "/bench/finished":
        return Response.json(await countFinished(env));
      case "/bench/fill":
        await filled().fill(Number(searchParams.get("tasks")));
        return new Response();
      case "/bench/repeat":
        await filled().repeat(searchParams.get("action") ?? "", Number(searchParams.get("times")));
        return new Response();
      case "/bench/restore":
        await filled().restore();
        return new Response();
      default:
        return sluice.fetch(request, env, ctx);
    }
  },
} satisfies ExportedHandler<BenchEnv>;

async function countFinished(env: Env): Promise<number> {
  const ledgers = env.TASK_LEDGER as unknown as DurableObjectNamespace<TaskLedger>;
  const counts = await Promise.all(SHARDS.map(async (shard) => ledgers.getByName(shard).countSucceeded()));
  return counts.reduce((sum, count) => sum + count, 0);
}
