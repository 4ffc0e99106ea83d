/** The files that the examples work on, made here. Each is stored under its name. */
import { crc32, deflateSync, gzipSync } from "node:zlib";

interface Sample {
  contentType: string;
  body: () => Uint8Array<ArrayBuffer> | string;
}

const WALKS = `name,km,dogs,opened
Along the mill race,4,yes,2019-05-01
"Over the common, and back",7,yes,2020-09-12
To the old lock,5,no,2018-03-30
Round the reservoir,11,yes,2021-06-21
`;

const PAGE = `# Walks

Four of them, the *longest* round the reservoir.

| walk | km |
|---|---:|
| Along the mill race | 4 |
| Round the reservoir | 11 |
`;

export const SAMPLES: Record<string, Sample> = {
  "walks.csv": { contentType: "text/csv; charset=utf-8", body: () => WALKS },
  "walks.md": { contentType: "text/markdown; charset=utf-8", body: () => PAGE },
  "walks.csv.gz": { contentType: "application/gzip", body: () => new Uint8Array(gzipSync(WALKS)) },
  "walks.zip": { contentType: "application/zip", body: () => zip("walks.csv", Buffer.from(WALKS)) },
  "walks.pdf": { contentType: "application/pdf", body: () => pdf("Along the mill race: 4 km") },
  "gate.png": { contentType: "image/png", body: () => png(64, 48) },
};

/** A ZIP archive of one stored entry (APPNOTE 6.3.10 §4.3). */
function zip(name: string, content: Buffer): Uint8Array<ArrayBuffer> {
  // Version, flags, method, time and date, CRC-32, sizes, and the lengths of the name and of what follows it.
  const fields = Buffer.alloc(26);
  fields.writeUInt16LE(20, 0);
  fields.writeUInt16LE(0x5a21, 8);
  fields.writeUInt32LE(crc32(content), 10);
  fields.writeUInt32LE(content.length, 14);
  fields.writeUInt32LE(content.length, 18);
  fields.writeUInt16LE(name.length, 22);
  const local = Buffer.concat([Buffer.from("PK\u0003\u0004"), fields, Buffer.from(name), content]);
  const central = Buffer.concat([
    Buffer.from("PK\u0001\u0002\u0014\0"),
    fields,
    Buffer.alloc(14),
    Buffer.from(name),
  ]);
  const end = Buffer.alloc(18);
  end.writeUInt16LE(1, 4);
  end.writeUInt16LE(1, 6);
  end.writeUInt32LE(central.length, 8);
  end.writeUInt32LE(local.length, 12);
  return new Uint8Array(Buffer.concat([local, central, Buffer.from("PK\u0005\u0006"), end]));
}

/** A PDF of one line (ISO 32000-1 §7.5). Its text must have no parentheses. */
function pdf(line: string): string {
  const content = `BT /F1 18 Tf 40 100 Td (${line}) Tj ET`;
  const objects = [
    "<< /Type /Catalog /Pages 2 0 R >>",
    "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
    "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 150] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
    `<< /Length ${content.length} >>\nstream\n${content}\nendstream`,
    "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
  ];
  let text = "%PDF-1.4\n";
  const offsets = objects.map((object, i) => {
    const offset = text.length;
    text += `${i + 1} 0 obj\n${object}\nendobj\n`;
    return `${String(offset).padStart(10, "0")} 00000 n \n`;
  });
  const count = objects.length + 1;
  const table = `xref\n0 ${count}\n0000000000 65535 f \n${offsets.join("")}`;
  return `${text}${table}trailer\n<< /Size ${count} /Root 1 0 R >>\nstartxref\n${text.length}\n%%EOF\n`;
}

/** An image of shades of blue (PNG, 3rd edition §11). */
function png(width: number, height: number): Uint8Array<ArrayBuffer> {
  const rows = Array.from({ length: height }, (_, y) =>
    Buffer.from([0, ...Array.from({ length: width }, (_pixel, x) => [x * 3, y * 4, 200]).flat()]),
  );
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2], 8);
  const chunks = [chunk("IHDR", header), chunk("IDAT", deflateSync(Buffer.concat(rows))), chunk("IEND")];
  return new Uint8Array(Buffer.concat([Buffer.from("\x89PNG\r\n\x1a\n", "latin1"), ...chunks]));
}

function chunk(type: string, data: Buffer = Buffer.alloc(0)): Buffer {
  const typed = Buffer.concat([Buffer.from(type), data]);
  const [length, check] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  check.writeUInt32BE(crc32(typed));
  return Buffer.concat([length, typed, check]);
}
