/** The status of upstreams and changes of their limits, whether their semaphores are one object or several. */
import { z } from "zod";
import { Problem } from "../kernel/problem.ts";
import { callSemaphore, noResponse, semaphoreUnavailable } from "./client/semaphores.ts";
import { mergeStatus, type ShardStatuses } from "./merge-status.ts";
import { type SemaphoreStatus, type ShardStatus, statusSchema } from "./semaphore/status.ts";
import { type Override, whyIndivisible } from "./settings.ts";
import { indexesOf, semaphoreOf } from "./shards.ts";
import { readUpstreams, type Upstream } from "./upstreams.ts";

export const statusListSchema = z.object({
  upstreams: z.array(statusSchema),
  unavailable: z
    .array(z.string())
    .meta({ description: "Upstreams whose semaphores do not respond. See the log." }),
});

/** One upstream whose semaphore fails does not hide the others. */
export async function statusOfAll(env: Env): Promise<z.output<typeof statusListSchema>> {
  const all = [...readUpstreams(env).values()];
  const results = await Promise.allSettled(all.map(async (upstream) => statusOf(env, upstream)));
  const list: z.output<typeof statusListSchema> = { upstreams: [], unavailable: [] };
  for (const [i, result] of results.entries()) {
    const name = all[i]?.name ?? "";
    if (result.status === "fulfilled") list.upstreams.push(result.value);
    else list.unavailable.push(name);
  }
  return list;
}

/** Throws a `Problem` 503 if no shard responds. */
export async function statusOf(env: Env, upstream: Upstream): Promise<SemaphoreStatus> {
  return merged(upstream, await askEach(env, upstream, async (stub) => stub.status()));
}

/**
 * Changes the settings of all shards. Throws a `Problem`: 422 if the change cannot be divided among them; 503 if one does not
 * respond: then the others have the change, and together they have no more than the larger of both limits.
 */
export async function configure(env: Env, upstream: Upstream, change: Override): Promise<SemaphoreStatus> {
  checkDivisible(upstream, change);
  const shards = await askEach(env, upstream, async (stub) => stub.configure(change));
  const lost = shards.filter((status) => status === undefined).length;
  if (lost > 0 && lost < shards.length)
    throw semaphoreUnavailable(
      `${lost} of the ${shards.length} shards of "${upstream.name}" do not respond, and have not made the change. The others have. Send it again.`,
    );
  return merged(upstream, shards);
}

function checkDivisible({ name, shards, ...configured }: Upstream, change: Override): void {
  const concurrency = change.concurrency ?? configured.concurrency;
  const why = whyIndivisible({ concurrency, rate: change.rate ?? undefined }, shards);
  if (!why) return;
  const errors = [{ at: `json/${why.limit}`, detail: why.message }];
  throw new Problem("invalid", `The limits of "${name}" cannot be changed so.`, { errors });
}

function merged(upstream: Upstream, shards: ShardStatuses): SemaphoreStatus {
  const [only] = shards;
  const status = upstream.shards === 1 ? only : mergeStatus(shards);
  if (!status) throw noResponse(upstream);
  return status;
}

type Stub = ReturnType<typeof semaphoreOf>;

/** Asks each shard; undefined for one that does not respond, which is logged. */
async function askEach(
  env: Env,
  upstream: Upstream,
  ask: (stub: Stub) => Promise<ShardStatus>,
): Promise<ShardStatuses> {
  const shards = indexesOf(upstream).map(async (shard) =>
    callSemaphore(upstream, async () => ask(semaphoreOf(env, upstream, shard))),
  );
  const results = await Promise.allSettled(shards);
  return results.map((result) => (result.status === "fulfilled" ? result.value : undefined));
}
