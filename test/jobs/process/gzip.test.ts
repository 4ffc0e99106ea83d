import zlib from "node:zlib";
import { describe, expect, test } from "vitest";
import { adler32 } from "../../../src/jobs/process/adler32.ts";
import {
  beginDeflate,
  type DeflateState,
  deflateBlocks,
  type Format,
  type InflatedState,
  inflateFile,
  WRAPPERS,
} from "../../../src/jobs/process/gzip.ts";
import { DamagedError } from "../../../src/jobs/process/huffman.ts";

/** Reads bytes in chunks of a length, from an offset on. */
const reading = (bytes: Uint8Array, chunkBytes: number) =>
  async function* read(offset: number): AsyncGenerator<Uint8Array> {
    for (let at = offset; at < bytes.length; at += chunkBytes) yield bytes.subarray(at, at + chunkBytes);
  };

/** 2.4 MB of lines, so that blocks refer to those before them. */
const lines = Buffer.from(
  Array.from({ length: 80_000 }, (_, i) => `${i},a line with number ${(i * 7919) % 1_000}\n`).join(""),
);

/** Deflates in runs: each ends after one block, and the next goes on from its state. */
async function deflateInRuns(bytes: Uint8Array, level: number) {
  const out: Uint8Array[] = [];
  let state = beginDeflate(0);
  for (let runs = 0; runs < 10; runs++) {
    const pieces = deflateBlocks(reading(bytes, 100_001), state, { level, ...WRAPPERS.gzip });
    const { done, value } = await pieces.next();
    if (done) return { data: Buffer.concat([WRAPPERS.gzip.header, ...out]), state };
    out.push(value.bytes);
    state = JSON.parse(JSON.stringify(value.state())) as DeflateState;
    await pieces.return(undefined);
  }
  throw new Error("too many runs");
}

async function inflate(data: Uint8Array, format?: Format, chunkBytes = data.length || 1) {
  const out: Uint8Array[] = [];
  for await (const { bytes } of inflateFile(reading(data, chunkBytes), format))
    out.push(Uint8Array.from(bytes));
  return Buffer.concat(out);
}

/** Inflates in runs: each ends after a piece, and the next goes on from its state. */
async function inflateInRuns(data: Uint8Array) {
  const out: Uint8Array[] = [];
  for (let state: InflatedState | undefined, runs = 0; runs < 100; runs++) {
    const pieces = inflateFile(reading(data, 10_000), undefined, state);
    const { done, value } = await pieces.next();
    if (done) return Buffer.concat(out);
    out.push(Uint8Array.from(value.bytes));
    state = JSON.parse(JSON.stringify(value.state())) as InflatedState;
    await pieces.return(undefined);
  }
  throw new Error("too many runs");
}

describe("deflated blocks", () => {
  test("are one stream, also from a run for each, with the checksum of all bytes", async () => {
    const { data, state } = await deflateInRuns(lines, 6);
    expect(zlib.gunzipSync(data).equals(lines)).toBe(true);
    expect(state).toEqual({ offset: lines.length, checksum: zlib.crc32(lines), isEnded: true });
  });

  test("cost hardly any compression", async () => {
    const { data } = await deflateInRuns(lines, 6);
    expect(data.length).toBeLessThan(zlib.gzipSync(lines).length * 1.002);
  });

  test("of nothing are an empty stream", async () => {
    const { data } = await deflateInRuns(new Uint8Array(), 6);
    expect(zlib.gunzipSync(data)).toEqual(Buffer.alloc(0));
  });
});

describe("a file is inflated", () => {
  const text = Buffer.from("hello, ".repeat(1_000));

  test.each<[string, Uint8Array, Format | undefined, Buffer]>([
    ["gzip", zlib.gzipSync(text), undefined, text],
    ["zlib", zlib.deflateSync(text), undefined, text],
    ["DEFLATE data alone, if it is said", zlib.deflateRawSync(text), "deflate-raw", text],
    [
      "several members of gzip",
      Buffer.concat([zlib.gzipSync(text), zlib.gzipSync("b"), zlib.gzipSync("")]),
      undefined,
      Buffer.concat([text, Buffer.from("b")]),
    ],
    ["gzip filled up with zeros", Buffer.concat([zlib.gzipSync(text), Buffer.alloc(512)]), undefined, text],
    ["gzip of nothing", zlib.gzipSync(""), undefined, Buffer.alloc(0)],
  ])("%s", async (_, data, format, expected) => {
    for (const chunkBytes of [data.length, 7, 1])
      expect(await inflate(data, format, chunkBytes)).toEqual(expected);
  });

  test("a gzip header with everything that it may have", async () => {
    const [header, body] = [zlib.gzipSync(text).subarray(0, 10), zlib.gzipSync(text).subarray(10)];
    header[3] = 2 | 4 | 8 | 16;
    const fields = [[3, 0, 1, 2, 3], Buffer.from("name\0"), Buffer.from("comment\0"), [1, 2]];
    const data = Buffer.concat([header, ...fields.map((field) => Buffer.from(field)), body]);
    for (const chunkBytes of [data.length, 1])
      expect(await inflate(data, undefined, chunkBytes)).toEqual(text);
  });

  test("in as many runs as there are pieces, over several members", async () => {
    const data = Buffer.concat([
      zlib.gzipSync(lines.subarray(0, 300_000)),
      zlib.gzipSync(lines.subarray(300_000, 900_000)),
    ]);
    expect((await inflateInRuns(data)).equals(lines.subarray(0, 900_000))).toBe(true);
  });
});

describe("is refused:", () => {
  const whole = zlib.gzipSync("hello");
  const changed = (at: number, byte: number) => whole.map((old, i) => (i === at ? byte : old));

  test.each<[string, Uint8Array, Format | undefined, string]>([
    ["no bytes", new Uint8Array(), undefined, "too short"],
    ["what is not compressed", Buffer.from("hello"), undefined, "neither gzip nor zlib"],
    ["gzip that breaks off", whole.subarray(0, -1), undefined, "ends too early"],
    ["gzip that breaks off in its data", whole.subarray(0, 12), undefined, "ends too early"],
    ["another checksum", changed(whole.length - 8, 1), undefined, "do not match its checksum"],
    ["another length", changed(whole.length - 4, 1), undefined, "do not match its checksum or its length"],
    ["another method", changed(2, 7), undefined, "no gzip header at byte 0"],
    ["reserved flags", changed(3, 0x80), undefined, "reserved flags"],
    ["something after its end", Buffer.concat([whole, Buffer.from("x")]), undefined, `byte ${whole.length}`],
    [
      "a member after zeros",
      Buffer.concat([whole, Buffer.alloc(9), whole]),
      undefined,
      `byte ${whole.length + 9}`,
    ],
    [
      "zlib with a dictionary",
      zlib.deflateSync("hello", { dictionary: Buffer.from("hell") }),
      undefined,
      "dictionary",
    ],
    [
      "another checksum of zlib",
      zlib.deflateSync("hello").map((byte, i, all) => (i === all.length - 1 ? byte ^ 1 : byte)),
      undefined,
      "checksum",
    ],
    ["gzip that should be zlib", whole, "deflate", "zlib header"],
    [
      "a name without end",
      Buffer.concat([changed(3, 8).subarray(0, 10), Buffer.alloc(70_000, 97)]),
      undefined,
      "name or comment",
    ],
  ])("%s", async (_, data, format, message) => {
    await expect(inflate(data, format)).rejects.toThrow(DamagedError);
    await expect(inflate(data, format)).rejects.toThrow(message);
  });
});

test("adler32 is that of zlib, however the bytes are divided", () => {
  for (const length of [0, 1, 5_552, 5_553, 100_000]) {
    const bytes = lines.subarray(0, length);
    const expected = zlib.deflateSync(bytes).readUInt32BE(zlib.deflateSync(bytes).length - 4);
    expect(adler32(bytes)).toBe(expected);
    expect(adler32(bytes.subarray(length >> 1), adler32(bytes.subarray(0, length >> 1)))).toBe(expected);
  }
});
