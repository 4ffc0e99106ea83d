/**
 * `scrape_pages`: visits the pages of an upstream, and writes what they say to a file, one JSON object a line.
 *
 * It starts at given paths or at a sitemap, and follows links within the upstream's origin. Each page is in the file once,
 * whatever the links and whatever happens to the task.
 */
import { env } from "cloudflare:workers";
import { z } from "zod";
import { readUpstreams, targetOf, type Upstream } from "../../outbound/index.ts";
import { defineTask, type TaskContext } from "../../tasks/index.ts";
import { allOrNothing, outputId } from "../support/outputs.ts";
import { upstreamName } from "../support/schemas.ts";
import { addressOf } from "./addresses.ts";
import { loadArticleReader } from "./article.ts";
import { CRAWL_LIMITS, Crawl, type CrawlLimits } from "./crawl.ts";
import type { Position, Redo } from "./crawl-state.ts";
import { Output } from "./output.ts";
import { checkAddresses, path } from "./paths.ts";
import { ALL_ALLOWED, agentOf, ROBOTS_PATH, type RobotsRules } from "./robots.ts";
import { fetchRobots } from "./robots-call.ts";
import { callsOf } from "./run-calls.ts";

/** What the checkpoint of a crawl can hold: see frontier.ts. */
const MAX_PAGES = 5_000;
const DEFAULT_PAGES = 100;
const DEFAULT_DEPTH = 2;
const DEFAULT_SITEMAP = "/sitemap.xml";
const USER_AGENT = "sluice";

const input = z
  .strictObject({
    upstream: upstreamName,
    paths: z
      .array(path)
      .max(100)
      .optional()
      .meta({ description: "Where to start. Default: the root, unless there is a sitemap." }),
    depth: z
      .int()
      .min(0)
      .max(100)
      .optional()
      .meta({ description: "Follow links so far from the start. Default: 2; with a sitemap, 0." }),
    maxPages: z
      .int()
      .min(1)
      .max(MAX_PAGES)
      .default(DEFAULT_PAGES)
      .meta({ description: `Stop after so many pages. Default: ${DEFAULT_PAGES}.` }),
    sitemap: z
      .union([z.boolean(), path], { error: "true, false, or a path that begins with /" })
      .optional()
      .meta({
        description: "true: start from the sitemaps that robots.txt names, or /sitemap.xml. Or a path.",
      }),
    article: z.boolean().default(true).meta({
      description: "Extract the article as Markdown, which takes most of the CPU time. Default: true.",
    }),
  })
  .superRefine(({ upstream, paths, sitemap }, context) => {
    const robots = {
      at: ["upstream"],
      address: ROBOTS_PATH,
      message: `its path_prefixes must allow ${ROBOTS_PATH}, which says what may be fetched: add "${ROBOTS_PATH}/"`,
    };
    if (!sitemap && paths?.length === 0)
      context.addIssue({
        code: "custom",
        path: ["paths"],
        message: "name a path to start from, or a sitemap",
      });
    const starts = (paths ?? []).map((address, i) => ({ at: ["paths", i], address }));
    const own = typeof sitemap === "string" ? [{ at: ["sitemap"], address: sitemap }] : [];
    checkAddresses(upstream, [robots, ...starts, ...own], context);
  })
  .meta({ examples: [{ upstream: "demo", paths: ["/site/"], depth: 3 }] });

type Input = z.output<typeof input>;

export const scrapePages = defineTask({
  name: "scrape_pages",
  input,
  retry: { retries: 6, minDelayMs: 5_000 },
  timeoutMs: 24 * 3_600_000,
  run: async (ctx, job) => scrape(ctx, job, CRAWL_LIMITS),
});

export async function scrape(ctx: TaskContext, job: Input, limits: CrawlLimits) {
  const made = outputId(ctx, "pages.ndjson");
  return allOrNothing(ctx, [made], async () => crawlSite(ctx, made, job, limits));
}

async function crawlSite(ctx: TaskContext, made: string, job: Input, limits: CrawlLimits) {
  const upstream = readUpstreams(env).get(job.upstream);
  if (!upstream) throw new Error(`the upstream "${job.upstream}" is no longer configured`);
  using calls = callsOf(ctx, "scrape_pages");
  const { origin } = targetOf(upstream, ROBOTS_PATH);
  const agent = agentOf(userAgentOf(upstream));
  const visitor = { caller: calls.caller, upstream: upstream.name, origin, agent };
  const output = await Output.open<Position, Redo>(env, ctx, {
    id: made,
    filename: `${upstream.name}-pages.ndjson`,
    contentType: "application/x-ndjson",
  });
  const rules = output.isFinished ? ALL_ALLOWED : await fetchRobots(visitor);
  const readArticle = job.article ? await loadArticleReader() : undefined;
  const crawl = new Crawl(
    { ...planOf(job, upstream, origin, rules), limits },
    { ...visitor, readArticle },
    output,
  );
  const report = (address: string) => {
    const { pages } = crawl.counts;
    const expected = Math.min(job.maxPages, pages + crawl.waiting);
    ctx.progress(
      expected === 0 ? 1 : pages / expected,
      `kept: ${pages}, waiting: ${crawl.waiting}, at ${address}`,
    );
  };
  const isOver = output.isFinished || (await crawl.run(({ address }) => report(address)));
  if (!isOver) await ctx.handOver();
  const file = await output.finish();
  const { counts, waiting } = crawl;
  ctx.log("info", "Pages scraped.", { upstream: upstream.name, pages: counts.pages, failed: counts.failed });
  return { fileId: file.id, bytes: file.size, ...counts, waiting };
}

function planOf(job: Input, { concurrency }: Upstream, origin: string, rules: RobotsRules) {
  const isFromSitemap = job.sitemap !== undefined && job.sitemap !== false;
  const own = (references: string[]) =>
    references.flatMap((reference) => {
      const found = addressOf(reference, origin, origin);
      return typeof found === "object" ? [found.address] : [];
    });
  const named = job.sitemap === true ? own(rules.sitemaps) : [];
  const sitemap = typeof job.sitemap === "string" ? job.sitemap : DEFAULT_SITEMAP;
  return {
    start: own(job.paths ?? (isFromSitemap ? [] : ["/"])),
    sitemaps: isFromSitemap && named.length === 0 ? [sitemap] : named.slice(0, 20),
    maxDepth: job.depth ?? (isFromSitemap ? 0 : DEFAULT_DEPTH),
    maxPages: job.maxPages,
    concurrency,
    rules,
  };
}

/** What the upstream's configuration says that we are, or what Sluice calls itself. */
const userAgentOf = ({ headers }: Upstream): string =>
  Object.entries(headers).find(([name]) => name.toLowerCase() === "user-agent")?.[1] ?? USER_AGENT;
