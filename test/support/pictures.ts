/** Pictures in the formats that people upload, each of which shows what `makePng(24, 16)` shows; and what is in a PNG. */
import { deflateSync, inflateSync } from "node:zlib";
import { makePng, pngOf } from "./image-maker.ts";
import * as data from "./picture-data.ts";

const fromBase64 = (text: string) => new Uint8Array(Buffer.from(text, "base64"));

const [WIDTH, HEIGHT] = [24, 16];

export const PICTURES = {
  jpeg: fromBase64(data.RGB_JPEG),
  cmykJpeg: fromBase64(data.CMYK_JPEG),
  greyJpeg: fromBase64(data.GREY_JPEG),
  progressiveJpeg: fromBase64(data.PROGRESSIVE_JPEG),
  animatedGif: fromBase64(data.ANIMATED_GIF),
  animatedWebp: fromBase64(data.ANIMATED_WEBP),
  webp: fromBase64(data.WEBP),
  avif: fromBase64(data.AVIF),
  png: makePng(WIDTH, HEIGHT),
  /** 16 bits for each channel. */
  deepPng: deepPng(),
  /** A palette whose first colour is transparent: the left half has it. The right half is red. */
  palettePng: palettePng(),
};

/** The JPEG with Exif data that says how it lies (Exif 2.3, 4.6.4): 1 to 8. */
export function lyingJpeg(orientation: number): Uint8Array {
  const jpeg = Buffer.from(PICTURES.jpeg);
  const value = orientation.toString(16).padStart(4, "0");
  const exif = Buffer.from(`4578696600004d4d002a0000000800010112000300000001${value}000000000000`, "hex");
  const segment = Buffer.concat([Buffer.from([0xff, 0xe1, 0, exif.length + 2]), exif]);
  return new Uint8Array(Buffer.concat([jpeg.subarray(0, 2), segment, jpeg.subarray(2)]));
}

function deepPng(): Uint8Array {
  const rows = Buffer.alloc(HEIGHT * (1 + WIDTH * 6));
  for (let y = 0; y < HEIGHT; y++)
    for (let x = 0; x < WIDTH; x++) {
      const at = y * (1 + WIDTH * 6) + 1 + x * 6;
      rows.writeUInt16BE(Math.floor((65_535 * x) / WIDTH), at);
      rows.writeUInt16BE(Math.floor((65_535 * y) / HEIGHT), at + 2);
      rows.writeUInt16BE(100 * 257, at + 4);
    }
  return pngOf([WIDTH, HEIGHT], { depth: 16, colours: 2 }, [["IDAT", deflateSync(rows)]]);
}

function palettePng(): Uint8Array {
  const rows = Buffer.alloc(HEIGHT * (1 + WIDTH));
  for (let y = 0; y < HEIGHT; y++) rows.fill(1, y * (1 + WIDTH) + 1 + WIDTH / 2, (y + 1) * (1 + WIDTH));
  return pngOf([WIDTH, HEIGHT], { depth: 8, colours: 3 }, [
    ["PLTE", Buffer.from([0, 0, 255, 255, 0, 0])],
    ["tRNS", Buffer.from([0])],
    ["IDAT", deflateSync(rows)],
  ]);
}

const CHANNELS = new Map([
  [0, 1],
  [2, 3],
  [4, 2],
  [6, 4],
]);

/** The pixels of a PNG of 8 bits for each channel, without interlacing: grey or RGB, each perhaps with alpha. */
export function readPng(bytes: Uint8Array): {
  width: number;
  height: number;
  pixel: (x: number, y: number) => number[];
} {
  const png = Buffer.from(bytes);
  const [width, height] = [png.readUInt32BE(16), png.readUInt32BE(20)];
  const channels = CHANNELS.get(png[25] ?? -1);
  if (png[24] !== 8 || channels === undefined || png[28] !== 0)
    throw new Error("a PNG that is not read here");
  const parts: Buffer[] = [];
  for (let at = 8; at < png.length; at += 12 + png.readUInt32BE(at))
    if (png.toString("latin1", at + 4, at + 8) === "IDAT")
      parts.push(png.subarray(at + 8, at + 8 + png.readUInt32BE(at)));
  const pixels = unfilter(inflateSync(Buffer.concat(parts)), width * channels, height, channels);
  return {
    width,
    height,
    pixel: (x, y) => [...pixels.subarray((y * width + x) * channels, (y * width + x + 1) * channels)],
  };
}

/** Undoes the filters of the rows (PNG, third edition, 9.2). */
function unfilter(rows: Buffer, rowBytes: number, height: number, channels: number): Buffer {
  const out = Buffer.alloc(rowBytes * height);
  for (let y = 0; y < height; y++) {
    const filter = rows[y * (rowBytes + 1)];
    for (let i = 0; i < rowBytes; i++) {
      const at = y * rowBytes + i;
      const left = i < channels ? 0 : (out[at - channels] ?? 0);
      const up = y === 0 ? 0 : (out[at - rowBytes] ?? 0);
      const upLeft = i < channels || y === 0 ? 0 : (out[at - rowBytes - channels] ?? 0);
      const guesses = [0, left, up, (left + up) >> 1, paeth(left, up, upLeft)];
      out[at] = (rows[y * (rowBytes + 1) + 1 + i] ?? 0) + (guesses[filter ?? 0] ?? 0);
    }
  }
  return out;
}

function paeth(left: number, up: number, upLeft: number): number {
  const guess = left + up - upLeft;
  const [toLeft, toUp, toUpLeft] = [left, up, upLeft].map((value) => Math.abs(guess - value)) as [
    number,
    number,
    number,
  ];
  if (toLeft <= toUp && toLeft <= toUpLeft) return left;
  return toUp <= toUpLeft ? up : upLeft;
}
