/**
 * `read_pdf`: the text of a stored PDF as a text file, and its metadata in the result. It is read by PDF.js (unpdf), which
 * needs the whole file in memory: hence the limit. A page that is a picture (a scan) has no text.
 */
import { z } from "zod";
import { defineTask, NonRetryableError, type TaskContext } from "../../tasks/index.ts";
import { allOrNothing, outputId } from "../support/outputs.ts";
import { createRunBudget } from "../support/run-budget.ts";
import { fileId } from "../support/schemas.ts";
import { openSource, type Source } from "../support/sources.ts";
import { describeFile, expiresIn } from "./made-file.ts";
import { type Piece, startedVersion, writeOutput } from "./output.ts";

/** In bytes: it is in memory, beside what PDF.js makes of it. */
const MAX_PDF_BYTES = 25 * 1024 * 1024;
const MAX_PAGES = 5_000;
/** A page takes about 20 ms of CPU time, and a run has 30 s. */
const MAX_PAGES_PER_RUN = 300;
/** Pages are separated as pdftotext does it. */
const FORM_FEED = "\f";
/** A text that is no longer is in the result too. In characters. */
const MAX_INLINE_CHARACTERS = 50_000;

const inputSchema = z
  .strictObject({
    fileId,
    first_page: z.int().min(1).default(1).meta({ description: "Default: 1." }),
    last_page: z.int().min(1).optional().meta({ description: "Default: the last one." }),
    password: z.string().min(1).max(200).optional().meta({
      description:
        "Opens an encrypted PDF. It is kept with the task's input, where callers who may read tasks see it.",
    }),
    expires_in: expiresIn,
  })
  .refine(({ first_page, last_page }) => last_page === undefined || last_page >= first_page, {
    path: ["last_page"],
    message: "the last page comes before the first",
  });

export const readPdf = defineTask({
  name: "read_pdf",
  input: inputSchema,
  timeoutMs: 4 * 3_600_000,
  run: async (ctx, input) => read(ctx, input),
});

type Input = z.output<typeof inputSchema>;

/** `batchBytes`: for tests. */
export async function read(ctx: TaskContext, input: Input, batchBytes?: number) {
  const made = outputId(ctx, "txt");
  return allOrNothing(ctx, [made], async () => write(ctx, made, input, batchBytes));
}

async function write(
  ctx: TaskContext,
  made: string,
  { fileId: id, first_page, last_page, password, expires_in }: Input,
  batchBytes?: number,
) {
  const source = await openSource(ctx.signal, id, startedVersion(ctx));
  const refuse = (why: string) => new NonRetryableError(`the file ${id} cannot be read: ${why}`);
  const pdf = await open(source, password, refuse);
  try {
    const { numPages } = pdf;
    if (numPages > MAX_PAGES) throw refuse(`it has ${numPages} pages, and the limit is ${MAX_PAGES}`);
    if (first_page > numPages) throw refuse(`it has ${numPages} pages, and first_page is ${first_page}`);
    const last = Math.min(last_page ?? numPages, numPages);
    let text = "";
    async function* pieces(from?: number): AsyncGenerator<Piece<number>> {
      for (let number = (from ?? first_page - 1) + 1; number <= last; number++) {
        const page = await pageText(pdf, number).catch((error: unknown) => {
          throw refuse(`page ${number} is damaged: ${messageOf(error)}`);
        });
        if (text.length <= MAX_INLINE_CHARACTERS) text += page;
        ctx.progress(
          (number - first_page + 1) / (last - first_page + 1),
          `${number} of ${numPages} pages read`,
        );
        yield { bytes: Buffer.from(page), cost: 1, state: () => number };
      }
    }
    const spec = {
      id: made,
      filename: `${source.info.filename.replace(/(?<=.)\.pdf$/i, "")}.txt`,
      contentType: "text/plain; charset=utf-8",
      source: id,
      task: ctx.taskId,
      expiresInSeconds: expires_in,
    };
    const file = await writeOutput(ctx, spec, {
      version: source.info.sha256,
      pieces,
      spend: createRunBudget(ctx, MAX_PAGES_PER_RUN),
      onProgress: () => undefined,
      batchBytes,
    });
    const isWhole = file.size === Buffer.byteLength(text) && text.length <= MAX_INLINE_CHARACTERS;
    return {
      ...describeFile(file),
      pages: numPages,
      text: isWhole ? text : null,
      hasText: file.size > EMPTY_PAGE.length * (last - first_page + 1),
      ...(await metadataOf(pdf).catch((error: unknown) => {
        throw refuse(`its metadata or its first page are damaged: ${messageOf(error)}`);
      })),
    };
  } finally {
    await pdf.loadingTask.destroy();
  }
}

type Pdf = Awaited<ReturnType<typeof open>>;

async function open(source: Source, password: string | undefined, refuse: (why: string) => Error) {
  const { size } = source.info;
  if (size > MAX_PDF_BYTES) throw refuse(`it has ${size} bytes, and the limit is ${MAX_PDF_BYTES}`);
  const data = new Uint8Array(await source.bytes({ offset: 0, length: size }));
  const { getDocumentProxy } = await import("unpdf");
  // Nothing is fetched, and nothing in the file is run.
  const options = { isEvalSupported: false, useSystemFonts: false, stopAtErrors: false, verbosity: 0 };
  return getDocumentProxy(data, password === undefined ? options : { ...options, password }).catch(
    (error: unknown) => {
      if (!(error instanceof Error)) throw error;
      if (error.name === "PasswordException")
        throw refuse(
          password === undefined
            ? "it is encrypted: give its password"
            : "it is encrypted, and the password is wrong",
        );
      if (error.name === "InvalidPDFException") throw refuse("it is not a PDF, or it is damaged");
      throw refuse(messageOf(error));
    },
  );
}

/** What PDF.js says; an error of its own code would tell nobody anything. */
function messageOf(error: unknown): string {
  if (error instanceof TypeError || error instanceof RangeError || error instanceof ReferenceError)
    return "PDF.js cannot make sense of it";
  return (error instanceof Error ? error.message : String(error)).slice(0, 300);
}

/** What a page without text is in the file. */
const EMPTY_PAGE = `\n${FORM_FEED}`;

/** The text of a page, with its line breaks; and a form feed. White space alone is no text. */
async function pageText(pdf: Pdf, number: number): Promise<string> {
  const page = await pdf.getPage(number);
  const { items } = await page.getTextContent();
  const parts = items.map((item) => ("str" in item ? item.str + (item.hasEOL ? "\n" : "") : ""));
  page.cleanup();
  const text = parts.join("").toWellFormed().replaceAll("\0", "");
  return text.trim() === "" ? EMPTY_PAGE : `${text}\n${FORM_FEED}`;
}

/** The entries of the document's information dictionary that are text (ISO 32000-1 §14.3.3). */
const ENTRIES = ["Title", "Author", "Subject", "Keywords", "Creator", "Producer", "CreationDate", "ModDate"];
const MAX_ENTRY_CHARACTERS = 1_000;

async function metadataOf(pdf: Pdf) {
  const { info } = await pdf.getMetadata();
  const entries = new Map<string, unknown>(Object.entries(info));
  const version = entries.get("PDFFormatVersion");
  const metadata: [name: string, value: string][] = ENTRIES.flatMap((name) => {
    const value = entries.get(name);
    return typeof value === "string" && value !== ""
      ? [[name, value.toWellFormed().replaceAll("\0", "").slice(0, MAX_ENTRY_CHARACTERS)]]
      : [];
  });
  const first = await pdf.getPage(1);
  const [left = 0, bottom = 0, right = 0, top = 0] = first.view;
  return {
    metadata: Object.fromEntries(metadata),
    version: typeof version === "string" ? version : null,
    isEncrypted: typeof entries.get("EncryptFilterName") === "string",
    /** Of the first page, in points. */
    pageSize: { width: right - left, height: top - bottom },
  };
}
