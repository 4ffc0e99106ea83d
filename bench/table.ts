/** The figures of one run, side by side, as plain text. */

export interface Figure {
  what: string;
  value: number;
  /** Decimal places; by default none for a whole number, else enough for three significant digits. */
  digits?: number;
}

export interface Column {
  name: string;
  figures: Figure[];
}

/** One row for each figure. With two columns there is a third: how many times the second the first is. */
export function renderTable([first, second]: Column[]): string {
  if (!first) return "";
  const heading = ["", first.name, ...(second ? [second.name, "ratio"] : [])];
  const rows = first.figures.map((figure) => {
    const other = second?.figures.find((f) => f.what === figure.what);
    const ratio = other && other.value > 0 ? formatNumber(figure.value / other.value, 2) : "";
    return [figure.what, formatFigure(figure), ...(second ? [formatFigure(other), ratio] : [])];
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

const formatNumber = (value: number, digits: number): string =>
  value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
