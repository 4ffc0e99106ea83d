/** Tables: as wide as they need to be, over as many pages as they take, with the heads of the columns on each. */
import type { Canvas } from "./canvas.ts";
import { type Inline, type Span, spansOf, type Table } from "./document.ts";
import { type Color, LINE_HEIGHT, type Line, type Typesetter } from "./text.ts";

const SIZE = 9;
const LINE = SIZE * LINE_HEIGHT;
const PADDING = { x: 4, y: 3 };
const HEAD: Color = [0.91, 0.93, 0.96];
const RULE: Color = [0.8, 0.82, 0.85];

type Align = "left" | "center" | "right";

interface Column {
  x: number;
  width: number;
  align: Align;
}

export function drawTable(canvas: Canvas, typesetter: Typesetter, { columns, rows }: Table): void {
  const placed = place(canvas, typesetter, { columns, rows });
  const cells = (row: readonly Inline[], bold: boolean) =>
    placed.map(({ width }, i) =>
      typesetter.lines(spansOf(row[i] ?? ""), { size: SIZE, bold }, width - 2 * PADDING.x),
    );
  const head = cells(
    columns.map(({ title }) => title),
    true,
  );
  // A head that fills the page would leave no room for its rows: it is shortened.
  const maxLines = Math.max(1, Math.floor(canvas.height / 3 / LINE));
  const shortHead = head.map((lines) => lines.slice(0, maxLines));
  canvas.need(heightOf(shortHead) + LINE + 2 * PADDING.y);
  drawRow(canvas, placed, head.every((lines) => lines.length <= maxLines) ? head : shortHead, HEAD);
  for (const row of rows) {
    let rest = cells(row, false);
    for (;;) {
      const height = heightOf(rest);
      if (height <= canvas.room) break;
      // What fits on a page is kept together, if it is not very long.
      const fits = Math.floor((canvas.room - 2 * PADDING.y) / LINE);
      if (fits >= 1 && height > canvas.height / 2) {
        drawRow(
          canvas,
          placed,
          rest.map((lines) => lines.slice(0, fits)),
        );
        rest = rest.map((lines) => lines.slice(fits));
      }
      canvas.newPage();
      drawRow(canvas, placed, shortHead, HEAD);
    }
    drawRow(canvas, placed, rest);
  }
  canvas.y += SIZE;
}

const heightOf = (cells: readonly Line[][]) =>
  Math.max(1, ...cells.map((lines) => lines.length)) * LINE + 2 * PADDING.y;

function drawRow(canvas: Canvas, columns: Column[], cells: Line[][], fill?: Color): void {
  const height = heightOf(cells);
  const { y, left, width } = canvas;
  if (fill) canvas.rectangle(left, y, width, height, fill);
  for (const [i, { x, width: room, align }] of columns.entries())
    for (const [n, line] of (cells[i] ?? []).entries()) {
      const spare = room - 2 * PADDING.x - line.width;
      const indent = align === "left" ? 0 : align === "right" ? spare : spare / 2;
      canvas.text(line, x + PADDING.x + indent, y + PADDING.y + n * LINE + LINE * 0.75);
    }
  canvas.y += height;
  canvas.path(
    [
      [left, canvas.y],
      [left + width, canvas.y],
    ],
    RULE,
  );
}

/** So many rows decide how wide the columns are. */
const MEASURED_ROWS = 200;

/**
 * The columns, which together are as wide as the text. Each gets what its longest cell needs, if all do; otherwise each gets
 * its longest word, and a share of what is left. Columns of numbers stand at the right.
 */
function place(
  canvas: Canvas,
  typesetter: Typesetter,
  { columns, rows }: Pick<Table, "columns" | "rows">,
): Column[] {
  const measured = rows.slice(0, MEASURED_ROWS);
  const extents = columns.map(({ title }, i) => {
    const cells = [
      typesetter.extent(spansOf(title), { size: SIZE, bold: true }),
      ...measured.map((row) => typesetter.extent(spansOf(row[i] ?? ""), { size: SIZE })),
    ];
    return {
      whole: Math.max(...cells.map(({ whole }) => whole)) + 2 * PADDING.x + 1,
      word: Math.max(...cells.map(({ word }) => word)) + 2 * PADDING.x + 1,
    };
  });
  const widths = widthsFor(extents, canvas.width);
  let x = canvas.left;
  return columns.map(({ align }, i) => {
    const width = widths[i] ?? 0;
    const column = { x, width, align: align ?? (isNumeric(measured, i) ? "right" : "left") } as const;
    x += width;
    return column;
  });
}

/** What the cells of a column take on one line, and what their longest word takes. */
interface Extent {
  whole: number;
  word: number;
}

const sum = (values: number[]) => values.reduce((all, value) => all + value, 0);

function widthsFor(extents: Extent[], total: number): number[] {
  const wholes = extents.map(({ whole }) => whole);
  if (sum(wholes) <= total) return wholes.map((whole) => whole + (total - sum(wholes)) / wholes.length);
  const widths = new Map<Extent, number>();
  // Who needs no more than an equal share gets what it needs, and leaves the rest to the others.
  for (let isDone = false; !isDone; ) {
    const others = extents.filter((extent) => !widths.has(extent));
    const share = (total - sum([...widths.values()])) / others.length;
    const modest = others.filter(({ whole }) => whole <= share);
    for (const extent of modest) widths.set(extent, extent.whole);
    isDone = modest.length === 0;
  }
  const greedy = extents.filter((extent) => !widths.has(extent));
  const left = total - sum([...widths.values()]);
  // Each gets its longest word, and a share of what is left. A column of endless words gets no more than its share.
  const least = new Map(greedy.map((extent) => [extent, Math.min(extent.word, left / greedy.length)]));
  const wishes = sum(greedy.map((extent) => extent.whole - (least.get(extent) ?? 0)));
  const spare = left - sum([...least.values()]);
  return extents.map((extent) => {
    const own = least.get(extent) ?? 0;
    return widths.get(extent) ?? own + (spare * (extent.whole - own)) / wishes;
  });
}

const NUMBER = /^[-+−]?\d[\d.,' \u00a0\u202f]*(?:[%‰€$£]|[a-zµ]{1,3})?$/i;

function isNumeric(rows: readonly Inline[][], column: number): boolean {
  const texts = rows.map((row) => textOf(spansOf(row[column] ?? ""))).filter((text) => text !== "");
  return texts.length > 0 && texts.every((text) => text.length < 40 && NUMBER.test(text));
}

const textOf = (spans: readonly Span[]) =>
  spans
    .map(({ text }) => text)
    .join("")
    .trim();
