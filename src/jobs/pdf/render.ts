/**
 * A document as PDF: pages with a foot that numbers them, headings that are also the outline, tables, charts and images.
 * The same document gives the same bytes, so a job may render it again.
 */
import { Canvas, type Page, type PageFormat } from "./canvas.ts";
import { drawChart } from "./chart.ts";
import { type Block, type Inline, type PdfDocument, readDocument, spansOf } from "./document.ts";
import { type OwnFonts, openFaces } from "./faces.ts";
import { type PdfImage, readImage } from "./image.ts";
import { asciiString, number, PdfFile, type Reference, textString } from "./pdf-file.ts";
import { drawTable } from "./table.ts";
import { type Color, LINE_HEIGHT, type Style, Typesetter } from "./text.ts";

export interface RenderOptions {
  fonts?: OwnFonts;
  /** The bytes of the images, by the ids of their files. */
  images?: ReadonlyMap<string, Uint8Array>;
}

export interface RenderedPdf {
  bytes: Uint8Array;
  pages: number;
  /** What could not be shown as it should be, in sentences. */
  warnings: string[];
}

const MARGIN = 54;
const SIZES = { A4: [595.28, 841.89], letter: [612, 792] } as const;
const BODY = 10;
const HEADINGS = [20, 15, 12, 10.5];
const GREY: Color = [0.4, 0.42, 0.45];
const SHADE: Color = [0.955, 0.96, 0.97];

/**
 * Renders a document. Throws a `PdfError` if it is not one, for a font or image that cannot be used, or if there are too
 * many pages.
 */
export async function renderPdf(document: PdfDocument, options: RenderOptions = {}): Promise<RenderedPdf> {
  const { blocks, title, author, page_size = "A4", landscape } = readDocument(document);
  const faces = await openFaces(options.fonts ?? {});
  const [width, height] = SIZES[page_size];
  const format = landscape
    ? { width: height, height: width, margin: MARGIN }
    : { width, height, margin: MARGIN };
  const images = new Map(
    [...(options.images ?? [])].map(([id, bytes], i) => [
      id,
      { name: `I${i + 1}`, image: readImage(id, bytes) },
    ]),
  );
  const writer = new BlockWriter(new Canvas(format), new Typesetter(faces), images);
  for (const block of blocks) writer.write(block);
  writer.drawFeet(title);
  const file = new PdfFile();
  const resources = `<< /Font << ${faces.write(file)} >> >>`;
  const pages = writePages(file, writer.canvas.pages, format, resources, images);
  const outlines = writeOutlines(file, writer.headings, pages.pages);
  const root = file.add(
    `<< /Type /Catalog /Pages ${pages.root}${outlines ? ` /Outlines ${outlines} /PageMode /UseOutlines` : ""} >>`,
  );
  const info = file.add(
    `<< /Producer ${textString("Sluice")}${title === undefined ? "" : ` /Title ${textString(title)}`}` +
      `${author === undefined ? "" : ` /Author ${textString(author)}`} >>`,
  );
  const { length } = writer.canvas.pages;
  return { bytes: file.finish(root, info), pages: length, warnings: warningsOf(faces) };
}

interface NamedImage {
  name: string;
  image: PdfImage;
}

interface Heading {
  text: string;
  page: number;
  y: number;
}

class BlockWriter {
  readonly canvas: Canvas;
  readonly headings: Heading[] = [];
  readonly #typesetter: Typesetter;
  readonly #images: ReadonlyMap<string, NamedImage>;
  readonly #numbers: number[] = [];

  constructor(canvas: Canvas, typesetter: Typesetter, images: ReadonlyMap<string, NamedImage>) {
    this.canvas = canvas;
    this.#typesetter = typesetter;
    this.#images = images;
  }

  write(block: Block): void {
    switch (block.type) {
      case "heading":
        return this.#heading(block);
      case "paragraph":
        return this.#text(block.text, { size: BODY }, 0);
      case "quote":
        return this.#quote(block.text);
      case "list":
        return this.#list(block);
      case "code":
        return this.#code(block.text);
      case "table":
        return drawTable(this.canvas, this.#typesetter, block);
      case "chart":
        return drawChart(this.canvas, this.#typesetter, block);
      case "image":
        return this.#image(block);
      case "rule":
        return this.#rule();
      case "page_break":
        return this.canvas.newPage();
    }
  }

  #text(inline: Inline, style: Style, indent: number, gap = BODY * 0.6): void {
    const { canvas } = this;
    canvas.flow(
      this.#typesetter.lines(spansOf(inline), style, canvas.width - indent),
      style.size,
      canvas.left + indent,
    );
    canvas.y += gap;
  }

  #heading({ level, text }: Extract<Block, { type: "heading" }>): void {
    const size = HEADINGS[level - 1] ?? BODY;
    const { canvas } = this;
    // With the beginning of what follows.
    canvas.need(size * LINE_HEIGHT + 3 * BODY * LINE_HEIGHT);
    if (!canvas.isAtTop) canvas.y += size * 0.6;
    if (level <= 2)
      this.headings.push({
        text: spansOf(text)
          .map((span) => span.text)
          .join(""),
        page: canvas.pages.length - 1,
        y: canvas.y,
      });
    this.#text(text, { size, bold: true }, 0, size * 0.35);
  }

  #quote(text: Inline): void {
    const { canvas } = this;
    for (const line of this.#typesetter.lines(
      spansOf(text),
      { size: BODY, color: GREY },
      canvas.width - 14,
    )) {
      canvas.need(BODY * LINE_HEIGHT);
      canvas.rectangle(canvas.left, canvas.y, 2, BODY * LINE_HEIGHT, GREY);
      canvas.flow([line], BODY, canvas.left + 14);
    }
    canvas.y += BODY * 0.6;
  }

  #list({ ordered, start = 1, items }: Extract<Block, { type: "list" }>): void {
    const { canvas } = this;
    this.#numbers.length = 0;
    for (const { text, depth = 0, marker } of items) {
      this.#numbers.length = Math.min(this.#numbers.length, depth + 1);
      const count = (this.#numbers[depth] ?? (depth === 0 ? start - 1 : 0)) + 1;
      this.#numbers[depth] = count;
      const indent = 16 * (depth + 1);
      canvas.need(BODY * LINE_HEIGHT);
      const sign = this.#typesetter.line(marker ?? (ordered ? `${count}.` : "•"), { size: BODY });
      canvas.text(
        sign,
        canvas.left + Math.max(0, indent - 4 - sign.width),
        canvas.y + BODY * LINE_HEIGHT * 0.75,
      );
      this.#text(text, { size: BODY }, indent, BODY * 0.15);
    }
    canvas.y += BODY * 0.5;
  }

  /** Spaces count, and lines that are too long go on in the next. */
  #code(text: string): void {
    const { canvas } = this;
    const size = 8.5;
    for (const line of text.replaceAll("\t", "    ").split("\n")) {
      const spans = [{ text: line.replaceAll(" ", "\u00a0"), code: true }];
      for (const part of this.#typesetter.lines(spans, { size }, canvas.width - 12)) {
        canvas.need(size * LINE_HEIGHT);
        canvas.rectangle(canvas.left, canvas.y, canvas.width, size * LINE_HEIGHT, SHADE);
        canvas.flow([part], size, canvas.left + 6);
      }
    }
    canvas.y += BODY * 0.8;
  }

  #image({ fileId, caption, width: share = 1 }: Extract<Block, { type: "image" }>): void {
    const { canvas } = this;
    const found = this.#images.get(fileId);
    if (!found) throw new Error(`the image ${fileId} was not given`);
    const { width, height } = found.image;
    // At most as large as at 96 pixels an inch, and as the page.
    const scale = Math.min((canvas.width * share) / width, 0.75, (canvas.height - 30) / height);
    canvas.need(height * scale + (caption === undefined ? 0 : 20));
    canvas.image(found.name, canvas.left, canvas.y, width * scale, height * scale);
    canvas.y += height * scale + 4;
    if (caption !== undefined) this.#text(caption, { size: 8.5, color: GREY }, 0, 0);
    canvas.y += BODY * 0.8;
  }

  #rule(): void {
    const { canvas } = this;
    canvas.need(16);
    canvas.path(
      [
        [canvas.left, canvas.y + 6],
        [canvas.left + canvas.width, canvas.y + 6],
      ],
      GREY,
    );
    canvas.y += 16;
  }

  /** At the foot of each page: the title, and its number of how many. */
  drawFeet(title: string | undefined): void {
    const { canvas } = this;
    const style = { size: 8, color: GREY };
    const y = canvas.format.height - MARGIN / 2;
    const { length } = canvas.pages;
    canvas.onEachPage((i) => {
      const count = this.#typesetter.line(`${i + 1} / ${length}`, style);
      const room = canvas.width - count.width - 20;
      const [name] = this.#typesetter.lines([{ text: (title ?? "").replaceAll("\n", " ") }], style, room);
      if (name) canvas.text(name, canvas.left, y);
      canvas.text(count, canvas.left + canvas.width - count.width, y);
    });
  }
}

function writePages(
  file: PdfFile,
  pages: readonly Page[],
  { width, height }: PageFormat,
  resources: string,
  images: ReadonlyMap<string, NamedImage>,
): { root: Reference; pages: Reference[] } {
  const root = file.reserve();
  const used = new Set(pages.flatMap((page) => [...page.images]));
  const objects = [...images.values()]
    .filter(({ name }) => used.has(name))
    .map(({ name, image }) => `/${name} ${image.write(file)}`);
  const shared = file.add(
    objects.length === 0 ? resources : resources.replace(/>>$/, `/XObject << ${objects.join(" ")} >> >>`),
  );
  const references = pages.map(({ operators, links }) => {
    const content = file.addStream("", Buffer.from(operators.join("\n"), "latin1"));
    const annotations = links.map(({ url, box }) =>
      file.add(
        `<< /Type /Annot /Subtype /Link /Rect [${box.map(number).join(" ")}] /Border [0 0 0] ` +
          `/A << /S /URI /URI ${asciiString(url)} >> >>`,
      ),
    );
    return file.add(
      `<< /Type /Page /Parent ${root} /MediaBox [0 0 ${number(width)} ${number(height)}] /Resources ${shared} ` +
        `/Contents ${content}${annotations.length === 0 ? "" : ` /Annots [${annotations.join(" ")}]`} >>`,
    );
  });
  file.add(`<< /Type /Pages /Kids [${references.join(" ")}] /Count ${references.length} >>`, root);
  return { root, pages: references };
}

/** The headings, for the side of the reader's window. */
function writeOutlines(
  file: PdfFile,
  headings: readonly Heading[],
  pages: readonly Reference[],
): Reference | undefined {
  if (headings.length === 0) return undefined;
  const root = file.reserve();
  const items = headings.map(() => file.reserve());
  for (const [i, { text, page }] of headings.entries()) {
    const [before, after] = [items[i - 1], items[i + 1]];
    file.add(
      `<< /Title ${textString(text)} /Parent ${root} /Dest [${pages[page] ?? "null"} /XYZ null null null]` +
        `${before === undefined ? "" : ` /Prev ${before}`}${after === undefined ? "" : ` /Next ${after}`} >>`,
      items[i],
    );
  }
  const [first] = items;
  return file.add(
    `<< /Type /Outlines /First ${first ?? ""} /Last ${items.at(-1) ?? ""} /Count ${items.length} >>`,
    root,
  );
}

/** So many of the characters without a glyph are named. */
const NAMED_CHARACTERS = 20;

function warningsOf({
  missing,
  unshaped,
}: {
  missing: ReadonlyMap<string, number>;
  unshaped: number;
}): string[] {
  const warnings: string[] = [];
  if (missing.size > 0) {
    const named = [...missing.keys()].slice(0, NAMED_CHARACTERS).map((character) => {
      const code = (character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0");
      return `${character} (U+${code})`;
    });
    const more = missing.size > named.length ? ` and ${missing.size - named.length} more` : "";
    warnings.push(`No font has these characters, which are drawn as \ufffd: ${named.join(", ")}${more}.`);
  }
  if (unshaped > 0)
    warnings.push(
      `${unshaped} characters are of a script whose letters are joined, reordered or written from right to left, ` +
        "which is not done here: they are drawn one by one, from left to right.",
    );
  return warnings;
}
