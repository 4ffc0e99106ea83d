/** Charts: bars and lines as paths, with an axis of round numbers. */
import type { Canvas, Point } from "./canvas.ts";
import type { Chart } from "./document.ts";
import type { Color, Typesetter } from "./text.ts";

const HEIGHT = 170;
const SIZE = 8;
const GRID: Color = [0.87, 0.88, 0.9];
const AXIS: Color = [0.45, 0.47, 0.5];
const TEXT: Color = [0.3, 0.31, 0.34];
/** Told apart also by those who do not see all colours (M. Okabe, K. Ito, 2002). */
const COLORS: readonly Color[] = [
  [0, 0.45, 0.7],
  [0.84, 0.37, 0],
  [0, 0.62, 0.45],
  [0.8, 0.47, 0.65],
  [0.9, 0.62, 0],
  [0.34, 0.71, 0.91],
  [0.36, 0.36, 0.36],
  [0.6, 0.55, 0.1],
];

/** Round numbers from at most the smallest value to at least the largest, about five steps; zero is among them for bars. */
export function ticksFor(values: readonly number[], withZero: boolean): number[] {
  const finite = withZero ? [0, ...values] : values;
  let low = finite.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
  let high = finite.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  if (!Number.isFinite(low) || !Number.isFinite(high)) [low, high] = [0, 1];
  if (low === high) [low, high] = [Math.min(low, 0), low === 0 ? 1 : Math.max(high, 0)];
  // Halves: the difference of the largest numbers is no number.
  const rough = high / 5 - low / 5 || Math.abs(high) || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step =
    [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((one) => one >= rough * 0.999) ?? rough;
  const first = Math.floor(low / step);
  const last = Math.max(first + 1, Math.ceil(high / step - 1e-9));
  return Array.from({ length: Math.min(20, last - first + 1) }, (_, i) =>
    Number(((first + i) * step).toPrecision(12)),
  );
}

/** `1.2 M`, `34 k`, `0.5`. */
export function shortNumber(value: number): string {
  const size = Math.abs(value);
  const [unit = "", factor = 1] =
    (
      [
        ["T", 1e12],
        ["G", 1e9],
        ["M", 1e6],
        ["k", 1e3],
      ] as const
    ).find(([, least]) => size >= least) ?? [];
  if (size >= 1e15 || (size > 0 && size < 1e-4)) return value.toExponential(1);
  const text = String(Number((value / factor).toPrecision(4)));
  return unit === "" ? text : `${text} ${unit}`;
}

interface Frame {
  left: number;
  top: number;
  width: number;
  height: number;
  /** The place of a value. */
  yOf: (value: number) => number;
  /** The middle of the place of a label. */
  xOf: (index: number) => number;
  /** The width of the place of a label. */
  slot: number;
}

export function drawChart(canvas: Canvas, typesetter: Typesetter, chart: Chart): void {
  const { kind, title, labels, series, unit } = chart;
  canvas.need(HEIGHT + 60);
  if (title !== undefined)
    canvas.flow(typesetter.lines([{ text: title, bold: true }], { size: 10 }, canvas.width), 10);
  if (series.length > 1) drawLegend(canvas, typesetter, chart);
  const values = series.flatMap((one) => one.values.filter((value) => value !== null));
  const ticks = ticksFor(values, kind === "bar");
  const texts = ticks.map((tick) =>
    typesetter.line(unit === undefined ? shortNumber(tick) : `${shortNumber(tick)} ${unit}`, {
      size: SIZE,
      color: TEXT,
    }),
  );
  const margin = Math.min(canvas.width / 3, Math.max(...texts.map(({ width }) => width)) + 6);
  const [low = 0] = ticks;
  const high = ticks.at(-1) ?? 1;
  const slot = (canvas.width - margin) / labels.length;
  const left = canvas.left + margin;
  const top = canvas.y + 6;
  const frame: Frame = {
    left,
    top,
    width: canvas.width - margin,
    height: HEIGHT,
    slot,
    yOf: (value) => top + HEIGHT - ((value - low) / (high - low)) * HEIGHT,
    xOf: (index) => left + slot * (index + 0.5),
  };
  for (const [i, tick] of ticks.entries()) {
    const y = frame.yOf(tick);
    canvas.path(
      [
        [left, y],
        [left + frame.width, y],
      ],
      tick === 0 ? AXIS : GRID,
    );
    const text = texts[i];
    if (text) canvas.text(text, left - 6 - text.width, y + SIZE * 0.35);
  }
  if (kind === "bar") drawBars(canvas, frame, chart);
  else drawLines(canvas, frame, chart);
  drawLabels(canvas, typesetter, frame, labels);
  canvas.y = top + HEIGHT + SIZE * 2.5 + 10;
}

function drawLegend(canvas: Canvas, typesetter: Typesetter, { series }: Chart): void {
  let x = canvas.left;
  for (const [i, { name }] of series.entries()) {
    const text = typesetter.line(name, { size: SIZE, color: TEXT });
    if (x > canvas.left && x + text.width + 14 > canvas.left + canvas.width) {
      x = canvas.left;
      canvas.y += SIZE * 1.6;
    }
    canvas.rectangle(x, canvas.y + 3, 7, 7, colorOf(i));
    canvas.text(text, x + 10, canvas.y + 9.5);
    x += text.width + 24;
  }
  canvas.y += SIZE * 1.9;
}

const colorOf = (index: number): Color => COLORS[index % COLORS.length] ?? AXIS;

function drawBars(canvas: Canvas, { xOf, yOf, slot }: Frame, { series, labels }: Chart): void {
  const width = (slot * 0.8) / series.length;
  for (const [n, { values }] of series.entries())
    for (const [i, value] of values.slice(0, labels.length).entries()) {
      if (value === null) continue;
      const [top, bottom] = [yOf(Math.max(value, 0)), yOf(Math.min(value, 0))];
      canvas.rectangle(xOf(i) - slot * 0.4 + n * width, top, width * 0.95, bottom - top, colorOf(n));
    }
}

function drawLines(canvas: Canvas, { xOf, yOf }: Frame, { series, labels }: Chart): void {
  for (const [n, { values }] of series.entries()) {
    let points: Point[] = [];
    const end = () => {
      const [only] = points;
      // A value between two gaps has no line, and would not be seen.
      if (points.length === 1 && only) canvas.rectangle(only[0] - 1.5, only[1] - 1.5, 3, 3, colorOf(n));
      canvas.path(points, colorOf(n), 1.4);
      points = [];
    };
    for (const [i, value] of values.slice(0, labels.length).entries()) {
      if (value === null) end();
      else points.push([xOf(i), yOf(value)]);
    }
    end();
  }
}

/** As many labels as there is room for, at equal distances. */
function drawLabels(canvas: Canvas, typesetter: Typesetter, frame: Frame, labels: readonly string[]): void {
  const lines = labels.map((label) => typesetter.line(label, { size: SIZE, color: TEXT }));
  const widest = Math.max(...lines.map(({ width }) => width)) + 6;
  const every = Math.max(1, Math.ceil(widest / frame.slot));
  for (const [i, line] of lines.entries())
    if (i % every === 0) {
      const x = Math.min(frame.xOf(i) - line.width / 2, frame.left + frame.width - line.width);
      canvas.text(line, Math.max(x, canvas.left), frame.top + frame.height + SIZE * 1.6);
    }
}
