/** Charts as SVG: text that has no scripts, needs no other file, and looks the same in light and dark. */
import { escapeHtml } from "../../kernel/escape-html.ts";
import type { Bin } from "./sketches/quantiles.ts";

const [WIDTH, HEIGHT] = [360, 96];
const BARS = 36;

/** At most six significant digits, and groups of three. */
export const showNumber = (value: number): string =>
  Math.abs(value) >= 1e15 || (value !== 0 && Math.abs(value) < 1e-4)
    ? value.toExponential(3)
    : value.toLocaleString("en", Number.isInteger(value) ? {} : { maximumSignificantDigits: 6 });

/** How numbers are spread between two of them. A bin that several bars share is divided among them by length. */
export function spread(bins: readonly Bin[], from: number, to: number): number[] {
  const bars = Array.from({ length: BARS }, () => 0);
  const width = (to - from) / BARS;
  for (const bin of bins) {
    const [low, high] = [Math.max(bin.from, from), Math.min(bin.to, to)];
    if (high < low) continue;
    const share = bin.to > bin.from ? (high - low) / (bin.to - bin.from) : 1;
    const first = Math.min(BARS - 1, Math.floor((low - from) / width));
    const last = Math.min(BARS - 1, Math.floor((high - from) / width));
    for (let i = first; i <= last; i++) {
      const part = Math.min(high, from + (i + 1) * width) - Math.max(low, from + i * width);
      bars[i] = (bars[i] ?? 0) + bin.count * share * (high > low ? Math.max(0, part) / (high - low) : 1);
    }
  }
  return bars;
}

/** A histogram from one number to another. */
export function drawHistogram(bins: readonly Bin[], from: number, to: number): string {
  if (!(to > from) || !Number.isFinite(to - from)) return "";
  const bars = spread(bins, from, to);
  const most = Math.max(...bars, 1);
  const width = WIDTH / BARS;
  const drawn = bars.map((count, i) => {
    const height = count > 0 ? Math.max(1, (count / most) * HEIGHT) : 0;
    return `<rect x="${px(i * width)}" y="${px(HEIGHT - height)}" width="${px(width - 1)}" height="${px(height)}"/>`;
  });
  const label = (x: number, anchor: string, value: number) =>
    `<text x="${x}" y="${HEIGHT + 14}" text-anchor="${anchor}">${showNumber(value)}</text>`;
  return svg(HEIGHT + 18, "Histogram", drawn.join("") + label(0, "start", from) + label(WIDTH, "end", to));
}

/** A bar for each of the values, with its name and count. */
export function drawBars(bars: readonly { name: string; count: number }[]): string {
  const most = Math.max(...bars.map(({ count }) => count), 1);
  const drawn = bars.map(({ name, count }, i) => {
    const shown = name.length > 28 ? `${name.slice(0, 27).toWellFormed()}…` : name;
    const y = i * 20;
    return (
      `<rect x="170" y="${y + 3}" width="${px(Math.max(1, (count / most) * 120))}" height="14"/>` +
      `<text x="164" y="${y + 14}" text-anchor="end">${escapeHtml(shown)}</text>` +
      `<text x="${px(176 + (count / most) * 120)}" y="${y + 14}">${showNumber(count)}</text>`
    );
  });
  return svg(bars.length * 20 + 2, "Most frequent values", drawn.join(""));
}

const px = (value: number) => Number(value.toFixed(1));

const svg = (height: number, title: string, content: string) =>
  `<svg viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="${title}">${content}</svg>`;
