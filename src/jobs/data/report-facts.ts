/** What a report says of an analysis and of each column, and what it draws: the same in HTML and in PDF. */
import { showNumber } from "./charts.ts";
import type { AnalysisResult, ColumnDetail, ColumnResult, NumberStatistics } from "./result.ts";

export type Fact = [name: string, value: string];

/** Further columns have a line each, and no chart. */
export const MAX_CARDS = 300;

export function summaryFacts({
  format,
  rows,
  blankLines,
  malformed,
  columnCount,
  precision,
}: AnalysisResult): Fact[] {
  const described = Object.entries(format).map(([name, value]) => `${name} ${JSON.stringify(value)}`);
  return [
    ["Rows", showNumber(rows)],
    ["Columns", showNumber(columnCount)],
    ["Malformed rows", showNumber(malformed.count)],
    ["Blank lines", showNumber(blankLines)],
    ["Read as", described.join(", ")],
    ["Estimates", `distinct values ± ${percent(precision.distinctError ?? 1)} (standard error)`],
  ];
}

export const malformedFacts = ({ malformed }: AnalysisResult): Fact[] =>
  malformed.listed.map(({ row, line, reason, detail }) => [
    `Row ${row}, line ${line}`,
    `${reason}: ${detail}`,
  ]);

export function columnFacts(result: ColumnResult, { rows, malformed }: AnalysisResult): Fact[] {
  const { nulls, distinct, distinctIsExact, min, max, numbers, kinds } = result;
  const read = Math.max(1, rows - malformed.count);
  const kindCounts = Object.entries(kinds).map(([kind, count]) => `${kind} ${showNumber(count)}`);
  const facts: Fact[] = [["Nulls", `${showNumber(nulls)} (${percent(nulls / read)})`]];
  if (distinct !== null)
    facts.push(["Distinct", `${distinctIsExact ? "" : "about "}${showNumber(distinct)}`]);
  if (kindCounts.length > 1) facts.unshift(["Kinds", kindCounts.join(", ")]);
  if (min !== null) facts.push(["Least", show(min)], ["Greatest", show(max)]);
  if (numbers) facts.push(...numberFacts(numbers));
  return facts;
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

/** Between which numbers a column's histogram is: without what a few far away would press together. */
export function histogramRange(
  { numbers }: ColumnResult,
  bins: ColumnDetail["bins"],
): { from: number; to: number; isCut: boolean } | undefined {
  const { p01, p99 } = numbers?.quantiles ?? {};
  if (!numbers || p01 === undefined || p99 === undefined || bins.length <= 2) return undefined;
  if (!(numbers.max > numbers.min) || !Number.isFinite(numbers.max - numbers.min)) return undefined;
  const isCut = numbers.max - numbers.min > 4 * (p99 - p01) && p99 > p01;
  return isCut ? { from: p01, to: p99, isCut } : { from: numbers.min, to: numbers.max, isCut };
}

export const show = (value: number | string | null): string =>
  typeof value === "number" ? showNumber(value) : (value ?? "");

const percent = (share: number) => `${Number((share * 100).toPrecision(3))} %`;
