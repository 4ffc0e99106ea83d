/** A small chart of a series: bars in SVG, drawn by attributes alone, since the policy of the page takes no inline styles. */
import type { Series } from "./rates.ts";

const WIDTH = 240;
const HEIGHT = 48;

interface Props {
  label: string;
  unit: string;
  series: Series;
  /** Lower values, such as a median, drawn in front. */
  inner?: Series;
  /** In the colour of errors. */
  bad?: boolean;
}

/** The same is said in words, for those who do not see it. */
export function Chart({ label, unit, series, inner = [], bad }: Props) {
  const known = series.filter((value) => value !== undefined);
  const max = Math.max(0, ...known);
  const last = known.at(-1) ?? 0;
  const heightOf = (value = 0) => (max > 0 ? (Math.min(value, max) / max) * (HEIGHT - 2) : 0);
  return (
    <figure class="chart">
      <figcaption>
        {label} <strong>{show(last)}</strong> {unit} <span class="faint">most {show(max)}</span>
      </figcaption>
      <svg
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        preserveAspectRatio="none"
        role="img"
        aria-label={`${label} over five minutes: ${show(last)} ${unit} now, ${show(max)} at most`}
      >
        <path class="axis" d={`M0 ${HEIGHT - 0.5}H${WIDTH}`} />
        <path class="unknown" d={bars(series.map((value) => (value === undefined ? 2 : undefined)))} />
        <path class={bad ? "bad" : ""} d={bars(series.map(heightOf))} />
        <path class="inner" d={bars(inner.map(heightOf))} />
      </svg>
    </figure>
  );
}

/** One path for all of them: a page with many charts has few elements. */
function bars(heights: Series): string {
  const step = WIDTH / heights.length;
  return heights
    .map((height, i) =>
      height
        ? `M${(i * step).toFixed(1)} ${HEIGHT}v${(-height).toFixed(1)}h${(step * 0.8).toFixed(1)}V${HEIGHT}z`
        : "",
    )
    .join("");
}

const show = (value: number) =>
  value >= 10 || value === 0 ? value.toFixed(0) : value >= 0.1 ? value.toFixed(1) : value.toPrecision(1);
