/** The figures of the semaphores, for `GET /metrics`. */
import { type Reading, readObject } from "../kernel/readings.ts";
import { semaphoreOf } from "./client/semaphores.ts";
import { readUpstreams } from "./upstreams.ts";

/** Of all upstreams. The objects of one upstream are a group. */
export async function readUpstreamFigures(env: Env): Promise<Reading[]> {
  const upstreams = [...readUpstreams(env).values()];
  return Promise.all(
    upstreams.map(async (upstream) =>
      readObject({ object: "semaphore", name: upstream.name, group: upstream.name }, async () =>
        semaphoreOf(env, upstream).figures(),
      ),
    ),
  );
}
