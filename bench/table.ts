/** The figures of one run, side by side, as plain text. */

export interface Figure {
  what: string;
  value: number;
  /** Decimal places. Default: none for an integer, else enough for three significant digits. */
  digits?: number;
}

export interface Column {
  name: string;
  figures: Figure[];
}

/** One row for each figure of the first column. Two columns get a third: the first ÷ the second. */
export function renderTable(columns: Column[]): string {
  const [first] = columns;
  const hasRatio = columns.length === 2;
  const heading = ["", ...columns.map(({ name }) => name), ...(hasRatio ? ["ratio"] : [])];
  const rows = (first?.figures ?? []).map(({ what }) => {
    const same = columns.map(({ figures }) => figures.find((figure) => figure.what === what));
    return [what, ...same.map(formatFigure), ...(hasRatio ? [formatRatio(same)] : [])];
  });
  const widths = heading.map((_, i) => Math.max(...[heading, ...rows].map((row) => row[i]?.length ?? 0)));
  const rule = widths.map((width) => "─".repeat(width));
  return [heading, rule, ...rows].map((row) => alignRow(row, widths)).join("\n");
}

const alignRow = (cells: string[], widths: number[]): string =>
  cells
    .map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
    .join("   ")
    .trimEnd();

function formatFigure(figure: Figure | undefined): string {
  if (!figure) return "";
  const { value, digits = Number.isInteger(value) || value >= 100 ? 0 : value >= 10 ? 1 : 2 } = figure;
  return formatNumber(value, digits);
}

const formatRatio = ([one, other]: (Figure | undefined)[]): string =>
  one && other && other.value > 0 ? formatNumber(one.value / other.value, 2) : "";

const formatNumber = (value: number, digits: number): string =>
  value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });

export const median = (values: number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
