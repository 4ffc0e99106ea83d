/** Jobs that call others, or tend what is stored. */
import { z } from "zod";
import { textOfPages } from "../../support/pdf-text.ts";
import { sha256 } from "../files/source.ts";
import type { Api } from "./api.ts";
import { differ, finding, type Job } from "./job.ts";
import { downloadOf, ITEMS, type Outside, PAGES, titleOf } from "./outside.ts";
import type { Sources } from "./sources.ts";

/** The upstream that stands for all that is outside. */
export const UPSTREAM = "outside";
/** What is cleaned up in one round. */
const OLD_FILES = 40;
/** In days: a millisecond or so. */
const NO_TIME = 1e-8;

/** `round` makes the paths those of one job. */
export const callJobs = (round: string, sources: Sources, outside: Outside): Job[] => [
  webhookJob(outside, `single-${round}`),
  ordering(round),
  downloading(round),
  pushing(round, sources),
  scraping(),
  collecting(),
  reporting(),
];

export function webhookJob(outside: Outside, name: string): Job {
  const path = `/hooks/${name}`;
  return {
    kind: "send_webhook",
    type: "send_webhook",
    input: { url: `${outside.origin}${path}`, type: "job.done", data: { name } },
    check: async (result, { taskId }) => {
      const bodies = outside.received
        .filter((one) => one.path === path && one.isWhole)
        .map(({ text }) => text);
      const data = bodies.map(
        (text): unknown => z.object({ data: z.unknown() }).parse(JSON.parse(text)).data,
      );
      return finding([
        ...differ("the result", result, { id: `msg_${taskId}`, status: 200 }),
        ...differ("what was delivered", data[0], { name }),
        ...differ("what all deliveries say", new Set(bodies).size, 1),
      ]);
    },
  };
}

const answerSchema = z.object({ body: z.object({ path: z.string() }) });

function ordering(round: string): Job {
  const path = `/orders/${round}`;
  return {
    kind: "http_request",
    type: "http_request",
    input: { upstream: UPSTREAM, method: "POST", path, body: { round } },
    check: async (result) => finding(differ("the order", answerSchema.parse(result).body.path, path)),
  };
}

function downloading(round: string): Job {
  const id = `saved-${round}`;
  return {
    kind: "http_request, saved as a file",
    type: "http_request",
    input: { upstream: UPSTREAM, path: `/download/${round}`, save_as: id },
    check: async (_result, { api }) =>
      finding(differ("the file", (await api.read(id)).equals(downloadOf(round)), true), { made: [id] }),
  };
}

function pushing(round: string, { pushed }: Sources): Job {
  const path = `/store/${round}`;
  const schema = z.object({ body: z.object({ sha256: z.string() }) });
  return {
    kind: "push_file",
    type: "push_file",
    input: { fileId: pushed.id, upstream: UPSTREAM, path },
    check: async (result) =>
      finding(differ("what was stored", schema.parse(result).body.sha256, sha256(pushed.bytes))),
  };
}

async function linesOf(api: Api, fileId: string): Promise<unknown[]> {
  const text = (await api.read(fileId)).toString();
  if (!text.endsWith("\n")) throw new Error(`${fileId} does not end with a line`);
  return text
    .slice(0, -1)
    .split("\n")
    .map((line): unknown => JSON.parse(line));
}

const listing = z.object({ fileId: z.string() });

function scraping(): Job {
  const line = z.object({ url: z.string(), title: z.string() });
  return {
    kind: "scrape_pages",
    type: "scrape_pages",
    input: { upstream: UPSTREAM, paths: ["/site/"], depth: 20, maxPages: 1_000, article: false },
    check: async (result, { api }) => {
      const { fileId } = listing.parse(result);
      const pages = (await linesOf(api, fileId)).map((one) => line.parse(one));
      const titles = Array.from({ length: PAGES }, (_, n) => titleOf(n));
      const found = new Set(pages.map(({ title }) => title));
      return finding(
        differ(
          "what is missing",
          titles.filter((title) => !found.has(title)),
          [],
        ),
        {
          made: [fileId],
          listed: pages.map(({ url }) => url),
        },
      );
    },
  };
}

function collecting(): Job {
  const line = z.object({ id: z.number(), price: z.string() });
  return {
    kind: "collect_data",
    type: "collect_data",
    input: { upstream: UPSTREAM, path: "/items?page=1", pagination: { by: "link" } },
    check: async (result, { api }) => {
      const { fileId } = listing.parse(result);
      const items = (await linesOf(api, fileId)).map((one) => line.parse(one));
      const ids = [...new Set(items.map(({ id }) => id))];
      const wrong = [
        ...differ(
          "the items",
          ids,
          Array.from({ length: ITEMS }, (_, id) => id),
        ),
        ...differ(
          "a wrong price",
          items.find(({ id, price }) => price !== `${id}.50`),
          undefined,
        ),
      ];
      return finding(wrong, { made: [fileId], listed: items.map(({ id }) => String(id)) });
    },
  };
}

function reporting(): Job {
  const schema = z.object({
    date: z.string(),
    json: z.object({ fileId: z.string() }),
    pdf: z.object({ fileId: z.string(), pages: z.number() }),
  });
  const date = new Date().toISOString().slice(0, 10);
  return {
    kind: "daily_report",
    type: "daily_report",
    input: { date },
    check: async (result, { api }) => {
      const { json, pdf } = schema.parse(result);
      const data = z.object({ date: z.string() }).parse(JSON.parse((await api.read(json.fileId)).toString()));
      const pages = await textOfPages(await api.read(pdf.fileId));
      const wrong = [
        ...differ("the date", data.date, date),
        ...differ("the number of pages", pages.length, pdf.pages),
      ];
      return finding(wrong, { made: [json.fileId, pdf.fileId] });
    },
  };
}

/** Stores what is to be removed, and returns the job. */
export async function cleaningUp(round: string, api: Api): Promise<Job> {
  const prefix = `old-${round}-`;
  const bytes = Buffer.from("old");
  for (let i = 0; i < OLD_FILES; i++) await api.store(`${prefix}${i}`, bytes, "text/plain");
  const schema = z.object({ files: z.tuple([z.object({ count: z.number(), bytes: z.number() })]) });
  return {
    kind: "clean_up",
    type: "clean_up",
    input: { files: [{ prefix, older_than_days: NO_TIME }] },
    check: async (result) => {
      const [{ count, bytes: total }] = schema.parse(result).files;
      const left = (await api.files()).filter((id) => id.startsWith(prefix));
      return finding([
        ...differ("the count", count, OLD_FILES),
        ...differ("the bytes", total, OLD_FILES * bytes.length),
        ...differ("what is left", left, []),
      ]);
    },
  };
}
