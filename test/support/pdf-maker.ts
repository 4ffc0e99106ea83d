/** PDFs written by hand, as plain as their readers take them (ISO 32000-1), and with what is wrong with those that people have. */
import { createHash } from "node:crypto";
import { deflateSync } from "node:zlib";

/** The objects of a document, from number 1 on. A stream is what it holds, and the entries of its dictionary. */
export type PdfObject = string | { entries: string; data: Buffer };

/** The object that is the catalogue. */
const ROOT = 1;

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

/** The same document as PDF 1.5 has it: its objects packed into a stream, and the cross-reference table in another. */
export function makeCompactPdf(objects: PdfObject[]): Buffer {
  const parts: Buffer[] = [Buffer.from("%PDF-1.5\n%\xe2\xe3\xcf\xd3\n", "latin1")];
  const size = () => parts.reduce((sum, part) => sum + part.length, 0);
  // Of each object: 1 and its offset, or 2, its stream and its place in that.
  const entries: [kind: number, where: number, place: number][] = [[0, 0, 65_535]];
  const plain = objects.flatMap((object, i) =>
    typeof object === "string" ? [{ number: i + 1, text: object }] : [],
  );
  const packedIn = objects.length + 1;
  const add = (number: number, object: PdfObject) => {
    entries[number] = [1, size(), 0];
    parts.push(
      Buffer.from(`${number} 0 obj\n`),
      bodyOf(object, number, (data) => data),
      Buffer.from("\nendobj\n"),
    );
  };
  for (const [i, object] of objects.entries()) if (typeof object !== "string") add(i + 1, object);
  let offset = 0;
  const index = plain.map(({ number, text }, place) => {
    entries[number] = [2, packedIn, place];
    const at = offset;
    offset += text.length + 1;
    return `${number} ${at}`;
  });
  const head = `${index.join(" ")} `;
  const packed = deflateSync(Buffer.from(head + plain.map(({ text }) => text).join(" ")));
  const about = `/Type /ObjStm /N ${plain.length} /First ${head.length} /Filter /FlateDecode`;
  add(packedIn, { entries: about, data: packed });
  const [number, at] = [packedIn + 1, size()];
  entries[number] = [1, at, 0];
  const rows = Buffer.concat(
    entries.map(([kind, where, place]) => {
      const row = Buffer.alloc(7);
      row.writeUInt8(kind, 0);
      row.writeUInt32BE(where, 1);
      row.writeUInt16BE(place, 5);
      return row;
    }),
  );
  const reference = `/Type /XRef /Size ${entries.length} /W [1 4 2] /Root ${ROOT} 0 R /Filter /FlateDecode`;
  add(number, { entries: reference, data: deflateSync(rows) });
  return Buffer.concat([...parts, Buffer.from(`startxref\n${at}\n%%EOF\n`)]);
}

/** What an editor appends when it saves a change: a new version of one object, and where it is. */
export function updatePdf(pdf: Buffer, number: number, object: PdfObject): Buffer {
  const previous = /startxref\n(\d+)\n/.exec(pdf.toString("latin1"))?.[1] ?? "0";
  const count = /\/Size (\d+)/.exec(pdf.toString("latin1"))?.[1] ?? "0";
  const added = Buffer.concat([
    Buffer.from(`${number} 0 obj\n`),
    bodyOf(object, number, (data) => data),
    Buffer.from("\nendobj\n"),
  ]);
  const offset = String(pdf.length).padStart(10, "0");
  const table = `xref\n${number} 1\n${offset} 00000 n \n`;
  const trailer = `trailer\n<< /Size ${count} /Root ${ROOT} 0 R /Prev ${previous} >>\n`;
  return Buffer.concat([
    pdf,
    added,
    Buffer.from(`${table}${trailer}startxref\n${pdf.length + added.length}\n%%EOF\n`),
  ]);
}

/** What a password is filled up with (ISO 32000-1, 7.6.3.3). */
const PADDING = Buffer.from("28bf4e5e4e758a4164004e56fffa01082e2e00b6d0683e802f0ca9fe6453697a", "hex");
const PERMISSIONS = -4;
const FILE_ID = Buffer.from("0123456789abcdef");

/** The document, encrypted with RC4 and a key of 40 bits (revision 2). An empty password opens it for everybody. */
export function encryptPdf(objects: PdfObject[], userPassword: string, ownerPassword: string): Buffer {
  const [user, owner] = [userPassword, ownerPassword].map((text) =>
    Buffer.concat([Buffer.from(text, "latin1"), PADDING]).subarray(0, 32),
  ) as [Buffer, Buffer];
  const permissions = Buffer.alloc(4);
  permissions.writeInt32LE(PERMISSIONS);
  const ownerEntry = rc4(md5(owner).subarray(0, 5), user);
  const key = md5(Buffer.concat([user, ownerEntry, permissions, FILE_ID])).subarray(0, 5);
  const entries = `/O <${ownerEntry.toString("hex")}> /U <${rc4(key, PADDING).toString("hex")}> /P ${PERMISSIONS}`;
  const id = `<${FILE_ID.toString("hex")}>`;
  return makePdf(objects, {
    trailer: `/Encrypt << /Filter /Standard /V 1 /R 2 ${entries} >> /ID [${id} ${id}]`,
    encrypt: (data, number) => {
      const salt = Buffer.from([number & 255, (number >> 8) & 255, number >> 16, 0, 0]);
      return rc4(md5(Buffer.concat([key, salt])).subarray(0, 10), data);
    },
  });
}

const md5 = (bytes: Uint8Array) => createHash("md5").update(bytes).digest();

/** Node's OpenSSL has it no more. */
function rc4(key: Uint8Array, data: Uint8Array): Buffer {
  const state = Array.from({ length: 256 }, (_, i) => i);
  const at = (i: number) => state[i & 255] ?? 0;
  const swap = (i: number, j: number) => {
    [state[i & 255], state[j & 255]] = [at(j), at(i)];
  };
  for (let i = 0, j = 0; i < 256; i++) {
    j = (j + at(i) + (key[i % key.length] ?? 0)) & 255;
    swap(i, j);
  }
  let j = 0;
  const mask = Uint8Array.from(data, (_, n) => {
    j = (j + at(n + 1)) & 255;
    swap(n + 1, j);
    return at(at(n + 1) + at(j));
  });
  return Buffer.from(data.map((byte, n) => byte ^ (mask[n] ?? 0)));
}
