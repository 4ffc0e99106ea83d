/** The status of every upstream. */
import { z } from "zod";
import { callSemaphore, semaphoreOf } from "./client/semaphores.ts";
import { statusSchema } from "./semaphore/status.ts";
import { readUpstreams } from "./upstreams.ts";

export const statusListSchema = z.object({
  upstreams: z.array(statusSchema),
  unavailable: z
    .array(z.string())
    .meta({ description: "Upstreams whose semaphores do not respond. See the log." }),
});

/** One upstream whose semaphore fails does not hide the others. */
export async function statusOfAll(env: Env): Promise<z.output<typeof statusListSchema>> {
  const all = [...readUpstreams(env).values()];
  const results = await Promise.allSettled(
    all.map(async (upstream) => callSemaphore(upstream, async () => semaphoreOf(env, upstream).status())),
  );
  const list: z.output<typeof statusListSchema> = { upstreams: [], unavailable: [] };
  for (const [i, result] of results.entries()) {
    const name = all[i]?.name ?? "";
    if (result.status === "fulfilled") list.upstreams.push(result.value);
    else list.unavailable.push(name);
  }
  return list;
}
