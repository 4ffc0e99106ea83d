/**
 * The pages of a document while it is written: what is drawn where, from the top down. Lengths are in points (1/72 inch),
 * measured from the upper left corner of a page; PDF itself measures from the lower left.
 */
import { PdfError } from "./pdf-error.ts";
import { number } from "./pdf-file.ts";
import { BLACK, type Color, LINE_HEIGHT, type Line, type StyledRun } from "./text.ts";

export interface Link {
  url: string;
  /** Left, lower, right and upper edge, as PDF measures. */
  box: [number, number, number, number];
}

export interface Page {
  /** The content stream, by lines. */
  operators: string[];
  links: Link[];
  /** Images by their names. */
  images: Set<string>;
}

export interface PageFormat {
  width: number;
  height: number;
  margin: number;
}

export type Point = readonly [x: number, y: number];

/** More is no report. */
const MAX_PAGES = 1_000;

const color = (rgb: Color) => rgb.map(number).join(" ");

export class Canvas {
  readonly format: PageFormat;
  readonly pages: Page[] = [];
  /** Where the next block begins on the current page. */
  y = 0;
  #page: Page | undefined;

  constructor(format: PageFormat) {
    this.format = format;
    this.newPage();
  }

  /** The width of the text. */
  get width(): number {
    return this.format.width - 2 * this.format.margin;
  }

  get left(): number {
    return this.format.margin;
  }

  /** The height of the text on a page. */
  get height(): number {
    return this.format.height - 2 * this.format.margin;
  }

  /** How much room the current page still has. */
  get room(): number {
    return this.format.height - this.format.margin - this.y;
  }

  get isAtTop(): boolean {
    return this.y === this.format.margin;
  }

  get page(): Page {
    if (!this.#page) throw new Error("there is no page");
    return this.#page;
  }

  newPage(): void {
    if (this.pages.length === MAX_PAGES) throw new PdfError(`it has more than ${MAX_PAGES} pages`);
    // One string takes much less memory than its lines.
    if (this.#page) this.#page.operators = [this.#page.operators.join("\n")];
    this.#page = { operators: [], links: [], images: new Set() };
    this.pages.push(this.#page);
    this.y = this.format.margin;
  }

  /** Goes on to a new page if this one lacks the room, and a new one has more. */
  need(height: number): void {
    if (height > this.room && !this.isAtTop) this.newPage();
  }

  /** Calls `draw` for each page, with that as the current one: when all are written. */
  onEachPage(draw: (index: number) => void): void {
    for (const [i, page] of this.pages.entries()) {
      this.#page = page;
      draw(i);
    }
  }

  /** Draws lines of text one below the other, over as many pages as they take, and moves on. */
  flow(lines: readonly Line[], size: number, x = this.left): void {
    for (const line of lines) {
      this.need(size * LINE_HEIGHT);
      this.text(line, x, this.y + size * LINE_HEIGHT * 0.75);
      this.y += size * LINE_HEIGHT;
    }
  }

  /** Draws a line of text; `y` is its baseline. */
  text(line: Line, x: number, y: number): void {
    let at = x;
    for (const run of line.runs) {
      this.#run(run, at, y);
      const width = run.width * run.size;
      if (run.link !== undefined) this.#link(run.link, at, y, width, run.size);
      at += width;
    }
  }

  #run(run: StyledRun, x: number, y: number): void {
    const glyphs = run.glyphs.map((glyph) => glyph.toString(16).padStart(4, "0")).join("");
    const slant = run.isItalic ? 0.2 : 0;
    const weight = run.isBold ? `2 Tr ${number(run.size * 0.03)} w ${color(run.color)} RG ` : "0 Tr ";
    this.page.operators.push(
      `BT /${run.face.name} ${number(run.size)} Tf ${color(run.color)} rg ${weight}` +
        `1 0 ${slant} 1 ${number(x)} ${this.#up(y)} Tm <${glyphs}> Tj ET`,
    );
  }

  #link(url: string, x: number, y: number, width: number, size: number): void {
    const [bottom, top] = [y + size * 0.25, y - size * 0.8].map((edge) => this.format.height - edge);
    this.page.links.push({ url, box: [x, bottom ?? 0, x + width, top ?? 0] });
  }

  rectangle(x: number, y: number, width: number, height: number, fill: Color): void {
    this.page.operators.push(
      `${color(fill)} rg ${number(x)} ${this.#up(y + height)} ${number(width)} ${number(height)} re f`,
    );
  }

  path(points: readonly Point[], stroke: Color = BLACK, width = 0.5): void {
    const steps = points.map(([x, y], i) => `${number(x)} ${this.#up(y)} ${i === 0 ? "m" : "l"}`);
    if (steps.length > 1)
      this.page.operators.push(`${color(stroke)} RG ${number(width)} w 1 j ${steps.join(" ")} S`);
  }

  image(name: string, x: number, y: number, width: number, height: number): void {
    this.page.images.add(name);
    this.page.operators.push(
      `q ${number(width)} 0 0 ${number(height)} ${number(x)} ${this.#up(y + height)} cm /${name} Do Q`,
    );
  }

  #up(y: number): string {
    return number(this.format.height - y);
  }
}
