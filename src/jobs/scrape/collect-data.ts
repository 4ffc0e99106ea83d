/**
 * `collect_data`: gets a paginated list from a JSON API, page by page, and writes its items to a file, as NDJSON or CSV.
 */
import { env } from "cloudflare:workers";
import { z } from "zod";
import { readUpstreams, targetOf } from "../../outbound/index.ts";
import { defineTask, type TaskContext } from "../../tasks/index.ts";
import { allOrNothing, outputId } from "../support/outputs.ts";
import { upstreamName } from "../support/schemas.ts";
import {
  COLLECTION_LIMITS,
  Collection,
  type CollectionLimits,
  type CollectionPosition,
  startAt,
} from "./collection.ts";
import { Output } from "./output.ts";
import { firstPage, paginationSchema } from "./pagination.ts";
import { checkAddresses, path } from "./paths.ts";
import { MAX_COLUMNS } from "./rows.ts";
import { callsOf } from "./run-calls.ts";

/** What the checkpoint can hold: it remembers each page. */
const MAX_PAGES = 10_000;
const DEFAULT_PAGES = 1_000;
const MAX_ITEMS = 100_000_000;

const input = z
  .strictObject({
    upstream: upstreamName,
    path: path.meta({ description: "The first page, with its query.", example: "/api/items?per_page=100" }),
    pagination: paginationSchema,
    items: z.string().min(1).max(200).optional().meta({
      description: "Where a page has its items, such as `data.items`. Default: the page is the list.",
    }),
    format: z.enum(["ndjson", "csv"]).default("ndjson"),
    columns: z
      .array(z.string().max(200))
      .min(1)
      .max(MAX_COLUMNS)
      .refine((names) => new Set(names).size === names.length, "a column is there twice")
      .optional()
      .meta({ description: "Of the CSV. Default: the members of the items of the first page." }),
    maxPages: z
      .int()
      .min(1)
      .max(MAX_PAGES)
      .default(DEFAULT_PAGES)
      .meta({ description: `Stop after so many pages. Default: ${DEFAULT_PAGES}.` }),
    maxItems: z
      .int()
      .min(1)
      .max(MAX_ITEMS)
      .default(MAX_ITEMS)
      .meta({ description: "Stop after so many items." }),
  })
  .superRefine((value, context) => {
    if (value.columns && value.format !== "csv")
      context.addIssue({ code: "custom", path: ["columns"], message: "are for a csv", input: value });
    checkAddresses(value.upstream, [{ at: ["path"], address: value.path }], context);
  })
  .meta({
    examples: [
      { upstream: "demo", path: "/sightings?per_page=20", pagination: { by: "link" }, format: "csv" },
    ],
  });

export const collectData = defineTask({
  name: "collect_data",
  input,
  retry: { retries: 6, minDelayMs: 5_000 },
  timeoutMs: 24 * 3_600_000,
  run: async (ctx, job) => collect(ctx, job, COLLECTION_LIMITS),
});

type Job = z.output<typeof input>;

export async function collect(ctx: TaskContext, job: Job, limits: CollectionLimits) {
  const made = outputId(ctx, `items.${job.format}`);
  return allOrNothing(ctx, [made], async () => collectList(ctx, made, job, limits));
}

async function collectList(ctx: TaskContext, made: string, job: Job, limits: CollectionLimits) {
  const upstream = readUpstreams(env).get(job.upstream);
  if (!upstream) throw new Error(`the upstream "${job.upstream}" is no longer configured`);
  using calls = callsOf(ctx, "collect_data");
  const { pagination, items, format, columns, maxPages, maxItems } = job;
  const { origin } = targetOf(upstream, job.path);
  const output = await Output.open<CollectionPosition, CollectionPosition>(env, ctx, {
    id: made,
    filename: `${upstream.name}-items.${format}`,
    contentType: format === "csv" ? "text/csv; charset=utf-8; header=present" : "application/x-ndjson",
  });
  const plan = {
    upstream: upstream.name,
    origin,
    pagination,
    items,
    format,
    columns,
    maxPages,
    maxItems,
    limits,
  };
  const collection = new Collection(plan, calls.caller, output, startAt(firstPage(pagination, job.path)));
  const onPage = () => {
    const { pages, items: count, end } = collection.position;
    ctx.progress(
      end === null ? Math.max(pages / maxPages, count / maxItems) : 1,
      `pages: ${pages}, items: ${count}`,
    );
  };
  const isOver = output.isFinished || (await collection.run(onPage));
  if (!isOver) await ctx.handOver();
  const file = await output.finish();
  const { pages, items: count, end, unknown } = collection.position;
  ctx.log("info", "Data collected.", { upstream: upstream.name, pages, items: count, end });
  return {
    fileId: file.id,
    bytes: file.size,
    pages,
    items: count,
    end,
    ...(format === "csv" && { columns: collection.position.columns ?? [], unknownMembers: unknown }),
  };
}
