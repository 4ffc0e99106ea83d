/**
 * A report of an analysis: one HTML file with charts, which needs nothing else.
 *
 * Names and values come from whoever made the file, so every text goes through `escapeHtml`.
 */
import { drawBars, drawHistogram, escapeHtml, showNumber } from "./charts.ts";
import type { AnalysisResult, ColumnDetail, ColumnResult, NumberStatistics } from "./result.ts";

/** Further columns have a line each, and no chart. */
const MAX_CARDS = 300;

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

function renderSummary({
  format,
  rows,
  blankLines,
  malformed,
  columnCount,
  precision,
}: AnalysisResult): string {
  const described = Object.entries(format).map(([name, value]) => `${name} ${JSON.stringify(value)}`);
  const facts = renderFacts([
    ["Rows", showNumber(rows)],
    ["Columns", showNumber(columnCount)],
    ["Malformed rows", showNumber(malformed.count)],
    ["Blank lines", showNumber(blankLines)],
    ["Read as", described.join(", ")],
    ["Estimates", `distinct values ± ${percent(precision.distinctError ?? 1)} (standard error)`],
  ]);
  const listed = malformed.listed.map(
    ({ row, line, reason, detail }): Fact => [`Row ${row}, line ${line}`, `${reason}: ${detail}`],
  );
  const malformedRows = listed.length === 0 ? "" : `<h2>Malformed rows</h2>${renderFacts(listed)}`;
  return `<section>${facts}${malformedRows}</section>`;
}

function renderCard({ result, bins }: ColumnDetail, { rows, malformed }: AnalysisResult): string {
  const { name, type, nulls, distinct, distinctIsExact, min, max, numbers, kinds } = result;
  const read = Math.max(1, rows - malformed.count);
  const kindCounts = Object.entries(kinds).map(([kind, count]) => `${kind} ${showNumber(count)}`);
  const facts: Fact[] = [["Nulls", `${showNumber(nulls)} (${percent(nulls / read)})`]];
  if (distinct !== null)
    facts.push(["Distinct", `${distinctIsExact ? "" : "about "}${showNumber(distinct)}`]);
  if (kindCounts.length > 1) facts.unshift(["Kinds", kindCounts.join(", ")]);
  if (min !== null) facts.push(["Least", show(min)], ["Greatest", show(max)]);
  if (numbers) facts.push(...numberFacts(numbers));
  return `<section><h2>${escapeHtml(name)} <small>${escapeHtml(type)}</small></h2><div class="column">${renderFacts(facts)}<div>${drawColumn(result, bins)}</div></div></section>\n`;
}

function numberFacts({ mean, standardDeviation, quantiles, quantileError }: NumberStatistics): Fact[] {
  const facts: Fact[] = [["Mean", showNumber(mean)]];
  if (standardDeviation !== null) facts.push(["Standard deviation", showNumber(standardDeviation)]);
  if (quantiles)
    facts.push(
      [
        "Quantiles",
        Object.entries(quantiles)
          .map(([name, value]) => `${name} ${showNumber(value)}`)
          .join(", "),
      ],
      ["Their error", `at most ${percent(quantileError ?? 0)}`],
    );
  return facts;
}

/** A histogram of numbers, without what a few far away would press together; otherwise what is frequent. */
function drawColumn({ numbers, frequent }: ColumnResult, bins: ColumnDetail["bins"]): string {
  const { p01, p99 } = numbers?.quantiles ?? {};
  if (numbers && p01 !== undefined && p99 !== undefined && numbers.max > numbers.min && bins.length > 2) {
    const isWide = numbers.max - numbers.min > 4 * (p99 - p01) && p99 > p01;
    const [from, to] = isWide ? [p01, p99] : [numbers.min, numbers.max];
    return drawHistogram(bins, from, to) + (isWide ? "<br><small>From p01 to p99.</small>" : "");
  }
  return frequent.length > 0 ? drawBars(frequent.map(({ value, count }) => ({ name: value, count }))) : "";
}

const renderLine = ({ name, type, nulls, distinct, min, max }: ColumnResult) =>
  `<tr><th>${escapeHtml(name)}</th><td>${escapeHtml(type)}</td><td>${showNumber(nulls)} nulls</td><td>${distinct === null ? "" : `${showNumber(distinct)} distinct`}</td><td>${min === null ? "" : `${escapeHtml(show(min))} – ${escapeHtml(show(max))}`}</td></tr>\n`;

type Fact = [name: string, value: string];

const renderFacts = (facts: readonly Fact[]) =>
  `<table>${facts.map(([name, value]) => `<tr><th>${escapeHtml(name)}</th><td>${escapeHtml(value)}</td></tr>`).join("")}</table>`;

const show = (value: number | string | null) =>
  typeof value === "number" ? showNumber(value) : (value ?? "");
const percent = (share: number) => `${Number((share * 100).toPrecision(3))} %`;
