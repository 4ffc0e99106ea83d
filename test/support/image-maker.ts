/** Pictures, made by code. */
import { crc32, deflateSync } from "node:zlib";

/** A PNG with a red that grows to the right and a green that grows downwards; `alpha`: half transparent. */
export function makePng(width: number, height: number, alpha = false): Uint8Array {
  const channels = alpha ? 4 : 3;
  const rows = Buffer.alloc(height * (1 + width * channels));
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      rows.set(
        [(255 * x) / width, (255 * y) / height, 100, 128].slice(0, channels),
        y * (1 + width * channels) + 1 + x * channels,
      );
  return pngOf([width, height], { depth: 8, colours: alpha ? 6 : 2 }, [["IDAT", deflateSync(rows)]]);
}

/** A PNG of these chunks. `depth`: bits for each channel; `colours`: 2 for RGB, 3 for a palette, 6 for RGB with alpha. */
export function pngOf(
  [width, height]: [width: number, height: number],
  { depth, colours }: { depth: number; colours: number },
  chunks: [name: string, data: Buffer][],
): Uint8Array {
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([depth, colours, 0, 0, 0], 8);
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  const all = [
    chunk("IHDR", head),
    ...chunks.map(([name, data]) => chunk(name, data)),
    chunk("IEND", Buffer.alloc(0)),
  ];
  return new Uint8Array(Buffer.concat([signature, ...all]));
}

function chunk(name: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(name), data]);
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  sum.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, sum]);
}
