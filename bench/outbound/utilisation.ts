/**
 * How well Sluice uses its permits: the mean number of calls in flight that the upstream sees ÷ its limit, while more
 * clients than there are permits keep calling.
 *
 * The rest, up to 1, is the time between two calls on one permit: the way of the response back to Sluice, the
 * release, the grant to the next waiter, and the way of the next call to the upstream. Five clients that call the
 * upstream directly have the first and the last of these too. Their figure is the ceiling.
 */
import { CONCURRENCY } from "../contender.ts";
import { measureCalls, measureCeiling } from "../load.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";
import { startWorkerd, type Workerd } from "../support/workerd.ts";
import type { Figure } from "../table.ts";

const DELAYS_MS = [20, 100];
const PATH = "/todos/1";
const FETCH = `/fetch/counting${PATH}`;

/** Each route, with each upstream delay. */
export async function measureUtilisation(): Promise<Figure[]> {
  await using upstream = await startUpstream();
  await using sluice = await startCallingSluice(upstream);
  const figures: Figure[] = [];
  for (const delayMs of DELAYS_MS) {
    for (const route of [FETCH, "/data"]) {
      const what = `${route}, upstream ${delayMs} ms`;
      figures.push(...(await measureCalls(what, `${sluice.url}${route}`, upstream, delayMs)));
    }
    const value = await measureCeiling(upstream, delayMs);
    const what = `no Sluice, ${CONCURRENCY} clients, upstream ${delayMs} ms: permit utilisation`;
    figures.push({ what, value, digits: 3 });
  }
  return figures;
}

/** One route, with one upstream delay. `what` is its name in the table. */
export async function measureJob(what: string, upstream: Upstream, delayMs: number): Promise<Figure[]> {
  await using sluice = await startCallingSluice(upstream);
  return await measureCalls(what, `${sluice.url}${FETCH}`, upstream, delayMs);
}

async function startCallingSluice(upstream: Upstream): Promise<Workerd> {
  return startWorkerd({
    vars: {
      ACCESS: "local",
      DATA_UPSTREAM: "counting",
      DATA_PATH: PATH,
      // Without the cache: calls are measured, without a cache lookup before each.
      UPSTREAMS: { counting: { origin: upstream.url, concurrency: CONCURRENCY, cache_seconds: 0 } },
    },
  });
}
