/**
 * A report of an analysis: one HTML file with charts, which needs nothing else.
 *
 * Names and values come from whoever made the file, so every text goes through `escapeHtml`.
 */
import { escapeHtml } from "../../kernel/escape-html.ts";
import { drawBars, drawHistogram, showNumber } from "./charts.ts";
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

const STYLE = `
:root{color-scheme:light dark;--line:#8884;--bar:#3b7dd8}
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}
h1{font-size:1.5rem;overflow-wrap:anywhere}h2{font-size:1.1rem;margin:0 0 .5rem;overflow-wrap:anywhere}
section{border:1px solid var(--line);border-radius:6px;padding:1rem;margin:1rem 0}
.column{display:flex;flex-wrap:wrap;gap:1rem 2rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.1rem .8rem .1rem 0;vertical-align:top;overflow-wrap:anywhere}
th{font-weight:500;opacity:.7;white-space:nowrap}
svg{max-width:100%;height:auto}rect{fill:var(--bar)}text{font:11px system-ui,sans-serif;fill:currentColor}
small{opacity:.7}`;

export function* renderReport(
  filename: string,
  summary: AnalysisResult,
  columns: Iterable<ColumnDetail>,
): Generator<string> {
  const title = escapeHtml(filename);
  yield `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${title}</title><style>${STYLE}</style></head><body>
<h1>${title}</h1>
${renderSummary(summary)}
`;
  let n = 0;
  for (const column of columns) {
    if (n === MAX_CARDS) yield `<section><h2>Further columns</h2><table>\n`;
    yield n++ < MAX_CARDS ? renderCard(column, summary) : renderLine(column.result);
  }
  if (n > MAX_CARDS) yield "</table></section>\n";
  yield "</body></html>\n";
}

function renderSummary(summary: AnalysisResult): string {
  const listed = malformedFacts(summary);
  const malformedRows = listed.length === 0 ? "" : `<h2>Malformed rows</h2>${renderFacts(listed)}`;
  return `<section>${renderFacts(summaryFacts(summary))}${malformedRows}</section>`;
}

function renderCard({ result, bins }: ColumnDetail, summary: AnalysisResult): string {
  const { name, type } = result;
  const facts = renderFacts(columnFacts(result, summary));
  return `<section><h2>${escapeHtml(name)} <small>${escapeHtml(type)}</small></h2><div class="column">${facts}<div>${drawColumn(result, bins)}</div></div></section>\n`;
}

/** A histogram of numbers; otherwise what is frequent. */
function drawColumn(result: ColumnResult, bins: ColumnDetail["bins"]): string {
  const range = histogramRange(result, bins);
  if (range)
    return (
      drawHistogram(bins, range.from, range.to) + (range.isCut ? "<br><small>From p01 to p99.</small>" : "")
    );
  const { frequent } = result;
  return frequent.length > 0 ? drawBars(frequent.map(({ value, count }) => ({ name: value, count }))) : "";
}

const renderLine = ({ name, type, nulls, distinct, min, max }: ColumnResult) =>
  `<tr><th>${escapeHtml(name)}</th><td>${escapeHtml(type)}</td><td>${showNumber(nulls)} nulls</td><td>${distinct === null ? "" : `${showNumber(distinct)} distinct`}</td><td>${min === null ? "" : `${escapeHtml(show(min))} – ${escapeHtml(show(max))}`}</td></tr>\n`;

const renderFacts = (facts: readonly Fact[]) =>
  `<table>${facts.map(([name, value]) => `<tr><th>${escapeHtml(name)}</th><td>${escapeHtml(value)}</td></tr>`).join("")}</table>`;
