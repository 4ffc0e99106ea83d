/** PDFs written by hand, as plain as their readers take them (ISO 32000-1), and with what is wrong with those that people have. */

/** The objects of a document, from number 1 on. A stream is what it holds, and the entries of its dictionary. */
export type PdfObject = string | { entries: string; data: Buffer };

/** The object that is the catalogue. */
export const ROOT = 1;

/** Pages of lines of text, in Latin-1. */
export function textPages(pages: string[][]): PdfObject[] {
  const kids = pages.map((_, i) => `${4 + 2 * i} 0 R`);
  return [
    "<< /Type /Catalog /Pages 2 0 R >>",
    `<< /Type /Pages /Kids [${kids.join(" ")}] /Count ${pages.length} /MediaBox [0 0 595 842] >>`,
    "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ...pages.flatMap((lines, i) => [
      `<< /Type /Page /Parent 2 0 R /Resources << /Font << /F1 3 0 R >> >> /Contents ${5 + 2 * i} 0 R >>`,
      { entries: "", data: Buffer.from(textOperators(lines), "latin1") },
    ]),
  ];
}

const textOperators = (lines: string[]) =>
  `BT /F1 12 Tf 14 TL 50 790 Td ${lines.map((line) => `(${line.replaceAll(/[\\()]/g, "\\$&")}) Tj T*`).join("\n")} ET`;

/** One page that is a picture of 8 by 8 pixels: what a scanner makes. */
export function scannedPage(): PdfObject[] {
  const pixels = Buffer.from(Array.from({ length: 64 }, (_, i) => (i * 4) % 256));
  return [
    "<< /Type /Catalog /Pages 2 0 R >>",
    "<< /Type /Pages /Kids [3 0 R] /Count 1 /MediaBox [0 0 200 200] >>",
    "<< /Type /Page /Parent 2 0 R /Resources << /XObject << /I 5 0 R >> >> /Contents 4 0 R >>",
    { entries: "", data: Buffer.from("q 200 0 0 200 0 0 cm /I Do Q") },
    {
      entries:
        "/Type /XObject /Subtype /Image /Width 8 /Height 8 /ColorSpace /DeviceGray /BitsPerComponent 8",
      data: pixels,
    },
  ];
}

export interface PdfOptions {
  /** More entries of the trailer. */
  trailer?: string;
  /** How many bytes the file says that its cross-reference table is away from where it is. */
  xrefError?: number;
  /** Changes the data of a stream: encryption. */
  encrypt?: (data: Buffer, object: number) => Buffer;
}

/** The file. */
export function makePdf(
  objects: PdfObject[],
  { trailer = "", xrefError = 0, encrypt = (data) => data }: PdfOptions = {},
): Buffer {
  const parts: Buffer[] = [Buffer.from("%PDF-1.4\n%\xe2\xe3\xcf\xd3\n", "latin1")];
  const offsets: number[] = [];
  let size = parts[0]?.length ?? 0;
  const add = (part: Buffer) => {
    parts.push(part);
    size += part.length;
  };
  for (const [i, object] of objects.entries()) {
    offsets.push(size);
    add(
      Buffer.concat([
        Buffer.from(`${i + 1} 0 obj\n`),
        bodyOf(object, i + 1, encrypt),
        Buffer.from("\nendobj\n"),
      ]),
    );
  }
  const entries = offsets.map((offset) => `${String(offset + xrefError).padStart(10, "0")} 00000 n \n`);
  const count = objects.length + 1;
  const end = `<< /Size ${count} /Root ${ROOT} 0 R ${trailer} >>\nstartxref\n${size + xrefError}\n%%EOF\n`;
  add(Buffer.from(`xref\n0 ${count}\n0000000000 65535 f \n${entries.join("")}trailer\n${end}`));
  return Buffer.concat(parts);
}

function bodyOf(object: PdfObject, number: number, encrypt: NonNullable<PdfOptions["encrypt"]>): Buffer {
  if (typeof object === "string") return Buffer.from(object);
  const data = encrypt(object.data, number);
  const head = Buffer.from(`<< ${object.entries} /Length ${data.length} >>\nstream\n`);
  return Buffer.concat([head, data, Buffer.from("\nendstream")]);
}
