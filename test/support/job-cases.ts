/** A job of each kind on small files, whose code passes many moments at which it can be stopped. */
import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import { httpRequest } from "../../src/jobs/calls/http-request.ts";
import { pushFile } from "../../src/jobs/calls/push-file.ts";
import { runAnalysis } from "../../src/jobs/data/analyze-file.ts";
import { sendWebhook } from "../../src/jobs/notify/send-webhook.ts";
import { compress } from "../../src/jobs/process/compress-file.ts";
import { decompress } from "../../src/jobs/process/decompress-file.ts";
import { hash } from "../../src/jobs/process/hash-file.ts";
import { read } from "../../src/jobs/process/read-pdf.ts";
import { renderPdfTask } from "../../src/jobs/process/render-pdf.ts";
import { resize } from "../../src/jobs/process/resize-image.ts";
import { unzip } from "../../src/jobs/process/unzip-file.ts";
import { zip } from "../../src/jobs/process/zip-files.ts";
import { collect } from "../../src/jobs/scrape/collect-data.ts";
import { scrape } from "../../src/jobs/scrape/scrape-pages.ts";
import type { TaskContext } from "../../src/tasks/index.ts";
import { putFile } from "./files.ts";
import { makePng } from "./image-maker.ts";
import { makePdf, textPages } from "./pdf-maker.ts";
import { linksTo, serveSite } from "./site.ts";
import { makeZip } from "./zip-maker.ts";

export interface JobCase {
  type: string;
  /** What it reads. */
  source?: string;
  /** One run of its code. */
  run: (ctx: TaskContext) => Promise<unknown>;
  /** The ids of the files that the task makes. */
  outputs: (taskId: string) => string[];
  /** Whether a whole file stays after a cancel: its id is the caller's, and may have been that of another. */
  keepsWhole?: boolean;
}

const BATCH = 100_000;
/** Nothing can compress it: 350 kB. */
const noise = Buffer.concat(
  Array.from({ length: 11_000 }, (_, i) => createHash("sha256").update(String(i)).digest()),
);
const table = Array.from({ length: 3_000 }, (_, i) => `${i},${i * 7},a note`).join("\n");

/** The bytes of what the cases read. */
export const JOB_SOURCES: Record<string, Uint8Array> = {
  "case.bin": noise,
  "case.gz": gzipSync(noise),
  "case.zip": makeZip([1, 2, 3].map((n) => ({ name: `${n}.txt`, content: noise.subarray(0, 60_000 * n) }))),
  "case.png": makePng(60, 40),
  "case.pdf": makePdf(textPages([["One"], ["Two"], ["Three"]])),
  "case.md": Buffer.from("# A report\n\nWith a paragraph."),
  "case.csv": Buffer.from(`id,seven,note\n${table}\n`),
};

export async function putJobSources(): Promise<void> {
  for (const [id, bytes] of Object.entries(JOB_SOURCES)) await putFile(id, bytes);
}

/** Whatever the cases call. */
export function serveCases(): void {
  const list = Array.from({ length: 5 }, (_, page): [string, () => Response] => [
    `/list?page=${page + 1}`,
    () => Response.json(page < 4 ? [{ id: page, text: "x".repeat(100) }] : []),
  ]);
  serveSite({
    "/": linksTo("/1", "/2", "/3", "/4"),
    ...Object.fromEntries([1, 2, 3, 4].map((n) => [`/${n}`, linksTo("/", `/${n}`)])),
    ...Object.fromEntries(list),
    "/big": () => new Response(noise.subarray(0, 20_000)),
    "/take": async (request) => Response.json({ bytes: (await request.arrayBuffer()).byteLength }),
    "/hooks/case": () => new Response(null, { status: 204 }),
  });
}

/** One output, which is the id of the task and this. */
const one = (suffix: string) => (taskId: string) => [`${taskId}.${suffix}`];
const none = () => [];
const call = { headers: {}, expect: ["2xx" as const], retries: 0 };

export const JOB_CASES: JobCase[] = [
  {
    type: "hash_file",
    source: "case.bin",
    run: async (ctx) =>
      hash(ctx, { fileId: "case.bin", algorithms: ["md5", "sha-256"] }, { atOnce: 0, range: 64 * 1024 }),
    outputs: none,
  },
  {
    type: "compress_file",
    source: "case.bin",
    run: async (ctx) => compress(ctx, { fileId: "case.bin", format: "gzip", level: 6 }, BATCH),
    outputs: one("gz"),
  },
  {
    type: "decompress_file",
    source: "case.gz",
    run: async (ctx) => decompress(ctx, { fileId: "case.gz", max_bytes: 1e9, max_ratio: 250 }, BATCH),
    outputs: one("out"),
  },
  {
    type: "zip_files",
    source: "case.bin",
    run: async (ctx) =>
      zip(
        ctx,
        { files: [{ fileId: "case.bin" }, { fileId: "case.csv" }], filename: "a.zip", level: 6 },
        BATCH,
      ),
    outputs: one("zip"),
  },
  {
    type: "unzip_file",
    source: "case.zip",
    run: async (ctx) =>
      unzip(ctx, { fileId: "case.zip", max_entries: 10, max_bytes: 1e9, max_ratio: 250 }, BATCH),
    outputs: (taskId) => [1, 2, 3].map((n) => `${taskId}.${n}`),
  },
  {
    type: "resize_image",
    source: "case.png",
    run: async (ctx) =>
      resize(ctx, {
        fileId: "case.png",
        outputs: [30, 20].map((width) => ({ width, fit: "cover" as const })),
      }),
    outputs: (taskId) => [1, 2].map((n) => `${taskId}.${n}.png`),
  },
  {
    type: "read_pdf",
    source: "case.pdf",
    run: async (ctx) => read(ctx, { fileId: "case.pdf", first_page: 1 }, 1),
    outputs: one("txt"),
  },
  {
    type: "render_pdf",
    source: "case.md",
    run: async (ctx) => renderPdfTask.run(ctx, { fileId: "case.md" }),
    outputs: one("pdf"),
  },
  {
    type: "analyze_file",
    source: "case.csv",
    run: async (ctx) =>
      runAnalysis(
        ctx,
        { fileId: "case.csv", nulls: [], report: "html" },
        { checkpointBytes: 9_000, maxRunMs: 1e9 },
      ),
    outputs: one("report.html"),
  },
  {
    type: "scrape_pages",
    run: async (ctx) =>
      scrape(
        ctx,
        { upstream: "scrape-site", paths: ["/"], depth: 3, maxPages: 100, article: false },
        { batchVisits: 1, runHtml: 1e9 },
      ),
    outputs: one("pages.ndjson"),
  },
  {
    type: "collect_data",
    run: async (ctx) =>
      collect(
        ctx,
        {
          upstream: "scrape-site",
          path: "/list?page=1",
          pagination: { by: "page", parameter: "page", first: 1 },
          format: "ndjson",
          maxPages: 100,
          maxItems: 1_000,
        },
        { batchCharacters: 1, runBytes: 1e9 },
      ),
    outputs: one("items.ndjson"),
  },
  {
    type: "http_request",
    run: async (ctx) =>
      httpRequest.run(ctx, {
        upstream: "upload-any",
        method: "GET",
        path: "/big",
        save_as: `${ctx.taskId}.saved`,
        ...call,
      }),
    outputs: one("saved"),
    keepsWhole: true,
  },
  {
    type: "push_file",
    source: "case.bin",
    run: async (ctx) =>
      pushFile.run(ctx, {
        upstream: "upload-any",
        method: "PUT",
        path: "/take",
        fileId: "case.bin",
        ...call,
      }),
    outputs: none,
  },
  {
    type: "send_webhook",
    run: async (ctx) =>
      sendWebhook.run(ctx, { url: "https://app.example.com/hooks/case", type: "case.done", data: null }),
    outputs: none,
  },
];
