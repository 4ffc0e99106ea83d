/**
 * The task type `analyze_file`: what is in a file of rows. A run reads from the last checkpoint on, and hands over before
 * its CPU time is used up; the last one writes down what was found.
 *
 * The result is complete, or it names the file that has its columns: a task keeps at most 512 KiB of a result.
 */
import { env } from "cloudflare:workers";
import { z } from "zod";
import { saveFile } from "../../files/index.ts";
import { defineTask, type TaskContext } from "../../tasks/index.ts";
import { allOrNothing, outputId } from "../support/outputs.ts";
import { fileId } from "../support/schemas.ts";
import { openSource, type Source } from "../support/sources.ts";
import { type Analysis, analyze, CHECKPOINT_BYTES, readCheckpoint } from "./analysis.ts";
import { formatInput, planAnalysis } from "./format.ts";
import { HASHES_VERSION } from "./hashing.ts";
import { renderReport } from "./report.ts";
import { describeReport } from "./report-pdf.ts";
import { type AnalysisResult, type ColumnResult, describeColumns, summarize } from "./result.ts";

/** A run that has lasted so long hands over at its next checkpoint. It has 30 s of CPU time. */
const MAX_RUN_MS = 15_000;
/** Columns in the result, as JSON. */
const MAX_INLINE_LENGTH = 256 * 1024;

const input = z
  .strictObject({
    fileId,
    ...formatInput,
    report: z
      .enum(["html", "pdf"])
      .optional()
      .meta({ description: "Stores a report with charts, besides the result." }),
  })
  .refine(({ quote = '"', delimiter }) => quote !== delimiter, {
    path: ["quote"],
    message: "the quote cannot be the delimiter",
  });

export const analyzeFile = defineTask({
  name: "analyze_file",
  input,
  timeoutMs: 24 * 3_600_000,
  run: async (ctx, options) =>
    runAnalysis(ctx, options, { checkpointBytes: CHECKPOINT_BYTES, maxRunMs: MAX_RUN_MS }),
});

/**
 * Of one version of the file, since another one has other rows; and with hashes of one version of this program, which in
 * another would count the same values as different ones. Before `HASHES_VERSION` 2 it had other members.
 */
const savedSchema = z.object({ sha256: z.string(), hashes: z.number(), checkpoint: z.unknown() });

interface Pace {
  checkpointBytes: number;
  maxRunMs: number;
}

export async function runAnalysis(ctx: TaskContext, options: z.output<typeof input>, pace: Pace) {
  const made = ["columns.json", "report.html", "report.pdf"].map((suffix) => outputId(ctx, suffix));
  return allOrNothing(ctx, made, async () => readAndWrite(ctx, options, pace));
}

async function readAndWrite(ctx: TaskContext, options: z.output<typeof input>, pace: Pace) {
  const saved = savedSchema.safeParse(ctx.checkpoint()).data;
  const source = await openSource(ctx.signal, options.fileId, saved && { sha256: saved.sha256 });
  const plan = await planAnalysis(source, options);
  const startMs = Date.now();
  // What another version of this program has read is read again.
  const from = saved?.hashes === HASHES_VERSION ? readCheckpoint(saved.checkpoint) : undefined;
  const analysis = await analyze(source, plan, from, {
    checkpointBytes: pace.checkpointBytes,
    async save(checkpoint) {
      await ctx.saveCheckpoint({ sha256: source.info.sha256, hashes: HASHES_VERSION, checkpoint });
      // The clock stands still between I/O, but saving is some. CPU time is never more than what has passed.
      if (Date.now() - startMs >= pace.maxRunMs) await ctx.handOver();
    },
    progress: (ratio, rows) => ctx.progress(ratio, `${rows.toLocaleString("en")} rows`),
  });
  return writeDown(ctx, source, summarize(plan, analysis), analysis, options.report);
}

async function writeDown(
  ctx: TaskContext,
  { info }: Source,
  summary: AnalysisResult,
  analysis: Analysis,
  report: "html" | "pdf" | undefined,
) {
  const save = async (suffix: string, contentType: string, body: Parameters<typeof saveFile>[2]) => {
    const stem = info.filename.replace(/\.[^.]*$/, "") || info.filename;
    const spec = {
      id: outputId(ctx, suffix),
      filename: `${stem}.${suffix}`,
      contentType,
      source: info.id,
      task: ctx.taskId,
    };
    return (await saveFile(env, spec, body, { signal: ctx.signal })).id;
  };
  const columns = inlineColumns(analysis);
  const columnsFileId = columns
    ? null
    : await save("columns.json", "application/json", encode(toJsonPieces(analysis)));
  let reportFileId: string | null = null;
  if (report === "html")
    reportFileId = await save(
      "report.html",
      "text/html; charset=utf-8",
      encode(renderReport(info.filename, summary, describeColumns(analysis))),
    );
  if (report === "pdf") {
    const { renderPdf } = await import("../pdf/index.ts");
    const { bytes } = await renderPdf(describeReport(info.filename, summary, describeColumns(analysis)));
    reportFileId = await save("report.pdf", "application/pdf", bytes);
  }
  ctx.log("info", "File analysed.", { fileId: info.id, rows: summary.rows, columns: summary.columnCount });
  const { id, filename, size } = info;
  return { fileId: id, filename, size, ...summary, columns, columnsFileId, reportFileId };
}

/** The columns, or null if they are too many for a result. */
function inlineColumns(analysis: Analysis): ColumnResult[] | null {
  const columns: ColumnResult[] = [];
  let length = 0;
  for (const { result } of describeColumns(analysis)) {
    length += Buffer.byteLength(JSON.stringify(result));
    if (length > MAX_INLINE_LENGTH) return null;
    columns.push(result);
  }
  return columns;
}

/** An array, with a column on each line. */
function* toJsonPieces(analysis: Analysis): Generator<string> {
  let mark = "[\n";
  for (const { result } of describeColumns(analysis)) {
    yield mark + JSON.stringify(result);
    mark = ",\n";
  }
  yield "\n]\n";
}

const PIECE_LENGTH = 64 * 1024;

async function* encode(pieces: Iterable<string>): AsyncGenerator<Uint8Array> {
  const encoder = new TextEncoder();
  let text = "";
  for (const piece of pieces) {
    text += piece;
    if (text.length < PIECE_LENGTH) continue;
    yield encoder.encode(text);
    text = "";
  }
  yield encoder.encode(text);
}
