/**
 * How well Sluice uses the permits it has: the upstream's own mean number of calls in flight ÷ its limit, while more
 * clients than there are permits are kept busy.
 *
 * What is missing to 1 is the time between two calls on one permit: the answer's way back to Sluice, the release,
 * the grant to whoever is next, and the next call's way to the upstream. Five clients that call the upstream
 * directly have the first and the last of these, too; theirs is the ceiling.
 */
import { CONCURRENCY } from "../contender.ts";
import { measureCalls, measureCeiling } from "../load.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";
import { startWorkerd, type Workerd } from "../support/workerd.ts";
import type { Figure } from "../table.ts";

const DELAYS_MS = [20, 100];
const PATH = "/todos/1";
const FETCH = `/fetch/counting${PATH}`;

/** Each route, with each upstream. */
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

/** One route, with one upstream, as `what`. */
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
      // Without a cache: what is measured is calls, and it need not be asked before each.
      UPSTREAMS: { counting: { origin: upstream.url, concurrency: CONCURRENCY, cache_seconds: 0 } },
    },
  });
}
