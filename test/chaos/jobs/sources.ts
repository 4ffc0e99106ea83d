/** The files that the jobs read, and what they must find in them, computed here by other code than theirs. */
import { createCipheriv, createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import { makePng } from "../../support/image-maker.ts";
import { makePdf, textPages } from "../../support/pdf-maker.ts";
import { makeZip } from "../../support/zip-maker.ts";

export interface Source {
  id: string;
  contentType: string;
  bytes: Buffer;
}

/** What `analyze_file` must find in a column of whole numbers. */
interface Column {
  name: string;
  min: number;
  max: number;
  mean: number;
}

export interface Sources {
  /** Base64, which DEFLATE makes a quarter shorter: long enough for several pieces of output. */
  text: Source;
  packed: Source;
  archive: Source;
  entries: { path: string; bytes: Buffer }[];
  table: Source;
  rows: number;
  columns: Column[];
  image: Source;
  pdf: Source;
  pdfPages: number;
  report: Source;
  reportRows: number;
  pushed: Source;
}

const TEXT_BYTES = 28_000_000;
const ROWS = 120_000;
const PDF_PAGES = 250;
const REPORT_ROWS = 2_500;

export function makeSources(seed: number): Sources {
  const text = Buffer.from(base64Lines(seed, "text", TEXT_BYTES));
  const entries = [9, 5, 1, 1, 1, 1].map((megabytes, i) => ({
    path: `part ${i}/data.txt`,
    bytes: base64Lines(seed, `entry ${i}`, megabytes * 1_000_000),
  }));
  return {
    text: fileOf("text.txt", "text/plain", text),
    packed: fileOf("text.txt.gz", "application/gzip", gzipSync(text, { level: 1 })),
    archive: fileOf(
      "parts.zip",
      "application/zip",
      makeZip(entries.map(({ path, bytes }) => ({ name: path, content: bytes }))),
    ),
    entries,
    ...makeTable(seed),
    image: fileOf("picture.png", "image/png", Buffer.from(makePng(2_400, 1_600))),
    pdf: fileOf(
      "pages.pdf",
      "application/pdf",
      makePdf(textPages(Array.from({ length: PDF_PAGES }, (_, i) => pageLines(i)))),
    ),
    pdfPages: PDF_PAGES,
    report: fileOf("report.md", "text/markdown", Buffer.from(reportText())),
    reportRows: REPORT_ROWS,
    pushed: fileOf("pushed.bin", "application/octet-stream", stream(seed, "pushed", 9_000_000)),
  };
}

/** The lines on page `i` of the PDF. */
export const pageLines = (i: number): string[] =>
  Array.from({ length: 30 }, (_, line) => `Page ${i}, line ${line}: the quick brown fox`);

export const rowLabel = (i: number): string => `row-${i}-end`;

const reportText = () =>
  `# Rows\n\n| row | square |\n|---|---:|\n${Array.from({ length: REPORT_ROWS }, (_, i) => `| ${rowLabel(i)} | ${i * i} |`).join("\n")}\n`;

function makeTable(seed: number): Pick<Sources, "table" | "rows" | "columns"> {
  const noise = stream(seed, "table", ROWS * 8);
  const names = ["count", "amount"];
  const all = names.map((name) => ({ name, min: Infinity, max: -Infinity, sum: 0 }));
  const lines = ["city,count,amount,note"];
  for (let row = 0; row < ROWS; row++) {
    const values = names.map((_, i) => noise.readInt32LE(row * 8 + i * 4) % 1_000_000);
    for (const [i, column] of all.entries()) {
      const value = values[i] ?? 0;
      column.min = Math.min(column.min, value);
      column.max = Math.max(column.max, value);
      column.sum += value;
    }
    lines.push(
      `City ${row % 97},${values.join(",")},"a note, with ""quotes""\nand a second line ${row % 11}"`,
    );
  }
  return {
    table: fileOf("table.csv", "text/csv", Buffer.from(`${lines.join("\r\n")}\r\n`)),
    rows: ROWS,
    columns: all.map(({ sum, ...column }) => ({ ...column, mean: sum / ROWS })),
  };
}

const fileOf = (id: string, contentType: string, bytes: Buffer): Source => ({ id, contentType, bytes });

/** Bytes that follow from the seed and the name. */
function stream(seed: number, name: string, length: number): Buffer {
  const key = createHash("md5").update(`${seed}/${name}`).digest();
  return createCipheriv("aes-128-ctr", key, Buffer.alloc(16)).update(Buffer.alloc(length));
}

const base64Lines = (seed: number, name: string, bytes: number): Buffer =>
  Buffer.from(
    stream(seed, name, Math.floor(bytes * 0.74))
      .toString("base64")
      .replaceAll(/.{76}/g, "$&\n"),
  );
