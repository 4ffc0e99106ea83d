/** A small chart of a series: bars in SVG, drawn by attributes alone, since the policy of the page takes no inline styles. */
import type { Series } from "./rates.ts";

const WIDTH = 240;
const HEIGHT = 48;

/** `bad`: in the colour of errors. The same is said in words, for those who do not see it. */
export function Chart({
  label,
  unit,
  series,
  bad,
}: {
  label: string;
  unit: string;
  series: Series;
  bad?: boolean;
}) {
  const known = series.filter((value) => value !== undefined);
  const max = Math.max(0, ...known);
  const last = known.at(-1) ?? 0;
  const step = WIDTH / series.length;
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
        {series.map((value, i) =>
          value === undefined ? (
            <path key={i} class="unknown" d={bar(i * step, step, 2)} />
          ) : (
            <path
              key={i}
              class={bad ? "bad" : ""}
              d={bar(i * step, step, max && (value / max) * (HEIGHT - 2))}
            />
          ),
        )}
      </svg>
    </figure>
  );
}

const bar = (x: number, width: number, height: number) =>
  `M${x.toFixed(1)} ${HEIGHT}v${(-height).toFixed(1)}h${(width * 0.8).toFixed(1)}v${height.toFixed(1)}z`;

const show = (value: number) => (value >= 10 || value === 0 ? value.toFixed(0) : value.toFixed(1));
