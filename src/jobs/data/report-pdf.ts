/** A report of an analysis as PDF: the same facts and charts as the HTML report. */
import type { PdfDocument } from "../pdf/index.ts";
import { showNumber, spread } from "./charts.ts";
import {
  columnFacts,
  type Fact,
  histogramRange,
  MAX_CARDS,
  malformedFacts,
  show,
  summaryFacts,
} from "./report-facts.ts";
import type { AnalysisResult, ColumnDetail, ColumnResult } from "./result.ts";

type Block = PdfDocument["blocks"][number];

const MAX_LABEL = 24;

/** The document, as `renderPdf` takes it. */
export function describeReport(
  filename: string,
  summary: AnalysisResult,
  columns: Iterable<ColumnDetail>,
): PdfDocument {
  const malformed = malformedFacts(summary);
  const blocks: Block[] = [{ type: "heading", level: 1, text: filename }, tableOf(summaryFacts(summary))];
  if (malformed.length > 0)
    blocks.push({ type: "heading", level: 2, text: "Malformed rows" }, tableOf(malformed));
  const further: ColumnResult[] = [];
  let n = 0;
  for (const { result, bins } of columns) {
    if (n++ >= MAX_CARDS) further.push(result);
    else blocks.push(...describeColumn(result, bins, summary));
  }
  if (further.length > 0)
    blocks.push({ type: "heading", level: 2, text: "Further columns" }, listOf(further));
  return { title: filename.slice(0, 300).toWellFormed(), blocks };
}

function describeColumn(result: ColumnResult, bins: ColumnDetail["bins"], summary: AnalysisResult): Block[] {
  const chart = chartOf(result, bins);
  return [
    { type: "heading", level: 2, text: `${result.name} (${result.type})` },
    tableOf(columnFacts(result, summary)),
    ...(chart ? [chart] : []),
  ];
}

function chartOf(result: ColumnResult, bins: ColumnDetail["bins"]): Block | undefined {
  const range = histogramRange(result, bins);
  if (range) {
    const values = spread(bins, range.from, range.to);
    const width = (range.to - range.from) / values.length;
    const labels = values.map((_, i) => showNumber(range.from + i * width));
    const title = range.isCut ? "From p01 to p99" : "Histogram";
    return { type: "chart", kind: "bar", title, labels, series: [{ name: "rows", values }] };
  }
  const { frequent } = result;
  if (frequent.length === 0) return undefined;
  const labels = frequent.map(({ value }) =>
    value.length > MAX_LABEL ? `${value.slice(0, MAX_LABEL - 1).toWellFormed()}…` : value,
  );
  const values = frequent.map(({ count }) => count);
  return {
    type: "chart",
    kind: "bar",
    title: "Most frequent values",
    labels,
    series: [{ name: "rows", values }],
  };
}

const tableOf = (facts: readonly Fact[]): Block => ({
  type: "table",
  columns: [{ title: "" }, { title: "" }],
  rows: facts.map(([name, value]) => [name, value]),
});

const listOf = (columns: readonly ColumnResult[]): Block => ({
  type: "table",
  columns: [
    { title: "Column" },
    { title: "Type" },
    { title: "Nulls", align: "right" },
    { title: "Least" },
    { title: "Greatest" },
  ],
  rows: columns.map(({ name, type, nulls, min, max }) => [
    name,
    type,
    showNumber(nulls),
    show(min),
    show(max),
  ]),
});
