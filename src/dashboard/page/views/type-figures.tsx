/** Each type with a sparkline of its tasks that ended, and how long they waited and took. */
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { Chart } from "../lib/chart.tsx";
import { useLive } from "../lib/live.ts";
import { linkTo } from "../lib/route.ts";
import { BOUNDS, type TypeFigures as Figures, histogram, TypeHistory } from "../lib/type-figures.ts";
import type { TaskLine } from "../lib/types.ts";

const history = new TypeHistory(Date.now());
const REFRESH_MS = 1_000;

/** `tasks`: what the list has read. */
export function TypeFigures({ tasks }: { tasks: readonly TaskLine[] }) {
  const figures = useSignal<Figures[]>([]);
  useLive({ tasks: (changes) => history.add(changes.tasks) });
  history.add(tasks);
  useEffect(() => {
    const draw = () => {
      figures.value = history.figures(Date.now());
    };
    draw();
    const timer = setInterval(draw, REFRESH_MS);
    return () => clearInterval(timer);
  }, []);
  if (figures.value.length === 0) return null;
  return (
    <details>
      <summary>By type</summary>
      <p class="faint">Of the tasks that this page has seen.</p>
      <div class="cards">
        {figures.value.map(({ type, count, endedPerSecond, waits, runs }) => (
          <section key={type} class="card" aria-label={type}>
            <h2>
              <a href={linkTo("tasks", "", { type })}>{type}</a>
            </h2>
            <Chart label={`${count} ended`} unit="a second" series={endedPerSecond} />
            <Histogram label="Waited" values={waits} />
            <Histogram label="Took" values={runs} />
          </section>
        ))}
      </div>
    </details>
  );
}

const WIDTH = 240;
const HEIGHT = 32;
const STEP = WIDTH / (BOUNDS.length + 1);

function Histogram({ label, values }: { label: string; values: readonly number[] }) {
  const counts = histogram(values);
  const most = Math.max(1, ...counts);
  const words = counts.flatMap((count, i) => (count === 0 ? [] : [`${count} ${nameOf(i)}`])).join(", ");
  return (
    <figure class="chart">
      <figcaption>
        {label}: <span class="faint">{words}</span>
      </figcaption>
      <svg
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        preserveAspectRatio="none"
        role="img"
        aria-label={`${label}: ${words}`}
      >
        <path class="axis" d={`M0 ${HEIGHT - 0.5}H${WIDTH}`} />
        {counts.map((count, i) => {
          const height = (count / most) * (HEIGHT - 2);
          return <path key={i} d={`M${i * STEP} ${HEIGHT}v${-height}h${STEP * 0.9}v${height}z`} />;
        })}
      </svg>
    </figure>
  );
}

function nameOf(bucket: number): string {
  const bound = BOUNDS[bucket];
  return bound ? `up to ${bound[1]}` : `beyond ${BOUNDS.at(-1)?.[1]}`;
}
