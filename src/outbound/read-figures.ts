/** The figures of the semaphores, for `GET /metrics`. */
import { type Reading, readObject } from "../kernel/readings.ts";
import { indexesOf, semaphoreName, semaphoreOf } from "./shards.ts";
import { readUpstreams } from "./upstreams.ts";

/** Of all upstreams. The objects of one upstream are a group. */
export async function readUpstreamFigures(env: Env): Promise<Reading[]> {
  const upstreams = [...readUpstreams(env).values()];
  return Promise.all(
    upstreams.flatMap((upstream) =>
      indexesOf(upstream).map(async (shard) => {
        const name = semaphoreName(upstream, shard);
        return readObject({ object: "semaphore", name, group: upstream.name }, async () =>
          semaphoreOf(env, upstream, shard).figures(),
        );
      }),
    ),
  );
}
