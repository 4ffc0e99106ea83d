/**
 * `render_pdf`: a report as PDF, from Markdown, from a document as JSON, or from a stored file with either.
 *
 * What cannot be shown as it should be (a character that no font has, an image that is no stored file) is said in the
 * result's warnings, and in the document itself it is marked; nothing is dropped in silence.
 */
import { env } from "cloudflare:workers";
import { z } from "zod";
import { saveFile } from "../../files/index.ts";
import { defineTask, NonRetryableError, type TaskContext } from "../../tasks/index.ts";
import {
  type Block,
  documentSchema,
  type OwnFonts,
  type PdfDocument,
  PdfError,
  readDocument,
  readMarkdown,
  renderPdf,
} from "../pdf/index.ts";
import { allOrNothing, outputId } from "../support/outputs.ts";
import { fileId } from "../support/schemas.ts";
import { openSource } from "../support/sources.ts";
import { describeFile, expiresIn, filenameSchema } from "./made-file.ts";

/** In bytes: what is read as a whole. */
const MAX_SOURCE_BYTES = 4 * 1024 * 1024;
const MAX_FONT_BYTES = 20 * 1024 * 1024;
const MAX_IMAGE_BYTES = 10 * 1024 * 1024;
const MAX_IMAGES_BYTES = 30 * 1024 * 1024;

const inputSchema = z
  .strictObject({
    fileId: fileId.optional().meta({
      description:
        "A stored file with Markdown, or with JSON: a document, or an array of objects, which becomes a table.",
    }),
    markdown: z
      .string()
      .min(1)
      .max(400_000)
      .optional()
      .meta({ description: "The report as Markdown.", example: "# Hello" }),
    document: documentSchema.optional().meta({ description: "The report as JSON." }),
    title: z
      .string()
      .min(1)
      .max(300)
      .optional()
      .meta({ description: "At the foot of each page, and in the metadata." }),
    filename: filenameSchema
      .optional()
      .meta({ description: "Default: the name of the source with .pdf, or report.pdf." }),
    page_size: z.enum(["A4", "letter"]).optional(),
    landscape: z.boolean().optional(),
    font: fileId
      .optional()
      .meta({ description: "A stored TrueType font, which is used before those that ship." }),
    bold_font: fileId.optional(),
    expires_in: expiresIn,
  })
  .refine(
    ({ fileId: id, markdown, document }) =>
      [id, markdown, document].filter((one) => one !== undefined).length === 1,
    { message: "give exactly one of fileId, markdown and document", path: ["fileId"] },
  );
type Input = z.output<typeof inputSchema>;

export const renderPdfTask = defineTask({
  name: "render_pdf",
  input: inputSchema,
  run: async (ctx, input) => {
    const made = outputId(ctx, "pdf");
    return allOrNothing(ctx, [made], async () => render(ctx, made, input));
  },
});

interface Content {
  document: PdfDocument;
  warnings: string[];
  /** Of the result, unless the input has one. */
  filename: string;
}

async function render(ctx: TaskContext, made: string, input: Input) {
  const name = input.fileId === undefined ? "the report" : `the file ${input.fileId}`;
  try {
    const { document, warnings, filename } = await readContent(ctx.signal, input);
    const { title, page_size, landscape } = input;
    const images = await readImages(ctx.signal, document);
    ctx.progress(0.3, `${(document.blocks ?? []).length} blocks read`);
    const report = { ...document, ...defined({ title, page_size, landscape }) };
    const rendered = await renderPdf(report, { fonts: await readFonts(ctx.signal, input), images });
    ctx.progress(0.8, `${rendered.pages} pages rendered`);
    const spec = {
      id: made,
      filename: input.filename ?? filename,
      contentType: "application/pdf",
      source: input.fileId,
      task: ctx.taskId,
      expiresInSeconds: input.expires_in,
    };
    const file = await saveFile(env, spec, rendered.bytes, { signal: ctx.signal });
    return {
      ...describeFile(file),
      pages: rendered.pages,
      warnings: [...warnings, ...rendered.warnings],
    };
  } catch (error) {
    if (error instanceof PdfError)
      throw new NonRetryableError(`${name} cannot be rendered: ${error.message}`);
    throw error;
  }
}

/** Without what is undefined: that would hide what a document says itself. */
const defined = (values: Pick<Input, "title" | "page_size" | "landscape">) =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));

async function readContent(signal: AbortSignal, { fileId: id, markdown, document }: Input): Promise<Content> {
  if (document) return { document, warnings: [], filename: "report.pdf" };
  if (markdown !== undefined) return fromMarkdown(markdown, "report.pdf");
  if (id === undefined) throw new NonRetryableError("there is nothing to render");
  const { info, text } = await readText(signal, id);
  const filename = `${info.filename.replace(/(?<=.)\.(?:md|markdown|json|txt)$/i, "")}.pdf`;
  const isJson =
    /^application\/(?:[\w.-]+\+)?json\b/i.test(info.contentType) || /\.json$/i.test(info.filename);
  return isJson ? { document: fromJson(text), warnings: [], filename } : fromMarkdown(text, filename);
}

async function fromMarkdown(text: string, filename: string): Promise<Content> {
  const { blocks, skippedImages } = await readMarkdown(text);
  const warnings =
    skippedImages.length === 0
      ? []
      : [`Only images that are stored files are shown. Not shown: ${skippedImages.slice(0, 10).join(", ")}.`];
  return { document: { blocks }, warnings, filename };
}

function fromJson(text: string): PdfDocument {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new PdfError("it is not valid JSON");
  }
  if (Array.isArray(value)) return { blocks: [tableOf(value)] };
  return readDocument(value);
}

/** What is no text is shown as JSON. */
function cell(value: unknown): string {
  if (value === null || value === undefined) return "";
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** A table of objects: the names of their members are the heads of its columns. */
function tableOf(values: readonly unknown[]): Block {
  const objects = values.map((value) => {
    if (typeof value !== "object" || value === null)
      throw new PdfError("it is an array of other values than objects");
    return new Map<string, unknown>(Object.entries(value));
  });
  const names = [...new Set(objects.flatMap((object) => [...object.keys()]))];
  if (names.length === 0 || names.length > 30)
    throw new PdfError(`its objects have ${names.length} different members, and a table has 1 to 30 columns`);
  return {
    type: "table",
    columns: names.map((title) => ({ title })),
    rows: objects.map((object) => names.map((name) => cell(object.get(name)))),
  };
}

async function readText(signal: AbortSignal, id: string) {
  const { info, bytes } = await readWhole(signal, id, MAX_SOURCE_BYTES, "the source");
  try {
    return { info, text: new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(bytes) };
  } catch {
    throw new PdfError("it is not text in UTF-8");
  }
}

async function readWhole(signal: AbortSignal, id: string, maxBytes: number, what: string) {
  const source = await openSource(signal, id);
  const { size } = source.info;
  if (size > maxBytes) throw new PdfError(`${what} ${id} has ${size} bytes, and the limit is ${maxBytes}`);
  return { info: source.info, bytes: await source.bytes({ offset: 0, length: size }) };
}

async function readFonts(signal: AbortSignal, { font, bold_font }: Input): Promise<OwnFonts> {
  const read = async (id: string) => (await readWhole(signal, id, MAX_FONT_BYTES, "the font")).bytes;
  return {
    ...(font !== undefined && { regular: await read(font) }),
    ...(bold_font !== undefined && { bold: await read(bold_font) }),
  };
}

/** The images of a document, each once. */
async function readImages(signal: AbortSignal, { blocks }: PdfDocument): Promise<Map<string, Uint8Array>> {
  const images = new Map<string, Uint8Array>();
  let total = 0;
  for (const block of blocks) {
    if (block.type !== "image" || images.has(block.fileId)) continue;
    const { bytes } = await readWhole(signal, block.fileId, MAX_IMAGE_BYTES, "the image");
    total += bytes.length;
    if (total > MAX_IMAGES_BYTES)
      throw new PdfError(`its images have more than ${MAX_IMAGES_BYTES} bytes in all`);
    images.set(block.fileId, bytes);
  }
  return images;
}
