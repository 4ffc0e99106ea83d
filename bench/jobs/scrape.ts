/**
 * How fast `scrape_pages` is, measured against what its upstream's limit allows: `concurrency` calls at once, each of which
 * takes as long as the site takes, make `concurrency ÷ latency` pages per second.
 *
 * The site itself counts, from its first call for a page to the end of the last. The rest, up to 1, is the time between two
 * calls on one permit: the grant to the next, reading the page, and finding its links and its article. Beside it, on this
 * machine in this minute: as many bare clients, which call the site itself, and clients of `/fetch`, which need permits too.
 */
import { z } from "zod";
import { startMiniflare } from "../support/miniflare.ts";
import { renderTargets } from "../targets.ts";
import { startSite } from "./site.ts";

const PAGES = 200;
const LATENCY_MS = 200;
/** One run of a task has at most four calls in flight, so with a higher limit another crawl finds room beside it. */
const CONCURRENCIES = [2, 4];
const MIN_SHARE_OF_LIMIT = 0.9;

const taskSchema = z.object({
  id: z.string(),
  status: z.string(),
  result: z.object({ pages: z.number() }).nullish(),
  error: z.unknown(),
});

/** Measures crawls of one site, and returns the text to print. */
export async function benchScrape(): Promise<string> {
  await using site = await startSite(PAGES, LATENCY_MS);
  const upstreams = CONCURRENCIES.map((concurrency) => [
    `limit-${concurrency}`,
    { origin: site.url, concurrency, cache_seconds: 0 },
  ]);
  await using sluice = await startMiniflare(
    { DATA_UPSTREAM: "limit-4", UPSTREAMS: Object.fromEntries(upstreams) },
    { onLog: () => {} },
  );
  // The first crawl loads what reads articles.
  await crawl(sluice.url, "limit-4", 5);
  const targets = [];
  for (const concurrency of CONCURRENCIES) {
    const allowed = concurrency / (LATENCY_MS / 1_000);
    const shareOf = async (work: Promise<unknown>) => {
      await site.read();
      await work;
      const { pages, ms } = await site.read();
      return pages / (ms / 1_000) / allowed;
    };
    const what = `of ${concurrency} calls of ${LATENCY_MS} ms at once, ${allowed} pages/s:`;
    const upstream = `limit-${concurrency}`;
    const others = [
      { by: "bare clients", value: await shareOf(fetchAll(site.url, concurrency)) },
      { by: "/fetch", value: await shareOf(fetchAll(`${sluice.url}/fetch/${upstream}`, concurrency + 2)) },
    ];
    for (const { by, value } of others)
      targets.push({ what: `${what} ${by}`, before: "", value, atLeast: 0 });
    const value = await shareOf(crawl(sluice.url, upstream, PAGES));
    targets.push({ what: `${what} scrape_pages`, before: "", value, atLeast: MIN_SHARE_OF_LIMIT });
  }
  return renderTargets(targets);
}

/** So many clients, each with one call at a time. */
async function fetchAll(url: string, clients: number): Promise<void> {
  let next = 1;
  const client = async () => {
    while (next <= PAGES) await (await fetch(`${url}/page/${next++}`)).text();
  };
  await Promise.all(Array.from({ length: clients }, client));
}

/** Resolves when the crawl has succeeded. */
async function crawl(url: string, upstream: string, maxPages: number): Promise<void> {
  const input = { upstream, depth: 1, maxPages };
  const response = await fetch(`${url}/tasks`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ type: "scrape_pages", input }),
  });
  const { id } = z.object({ id: z.string() }).parse(await response.json());
  for (;;) {
    const waited = await fetch(`${url}/tasks/${id}`, { headers: { Prefer: "wait=60" } });
    const task = taskSchema.parse(await waited.json());
    if (task.status === "succeeded" && task.result?.pages === maxPages) return;
    if (["failed", "cancelled", "succeeded"].includes(task.status))
      throw new Error(`the crawl ended otherwise: ${JSON.stringify(task)}`);
  }
}
