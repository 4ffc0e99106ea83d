import { brotliCompressSync, gzipSync, zstdCompressSync } from "node:zlib";
import { parquetWriteBuffer } from "hyparquet-writer";
import { describe, expect, test } from "vitest";
import { analyzeBytes, checkpointKeeper } from "../../support/analysis.ts";

const ROWS = 500;
const range = <T>(of: (i: number) => T): T[] => Array.from({ length: ROWS }, (_, i) => of(i));
const columnData = [
  { name: "id", data: range((i) => BigInt(i) * 10_000_000_000n), type: "INT64" as const },
  { name: "price", data: range((i) => (i % 10 === 0 ? null : i / 4)), type: "DOUBLE" as const },
  { name: "city", data: range((i) => ["Rome", "Oslo", "São Paulo"][i % 3]), type: "STRING" as const },
  { name: "active", data: range((i) => i % 2 === 0), type: "BOOLEAN" as const },
  { name: "at", data: range((i) => new Date(Date.UTC(2024, 0, 1 + i))), type: "TIMESTAMP" as const },
  { name: "tags", data: range((i) => ({ n: i % 5 })), type: "JSON" as const },
];

function write(options: Partial<Parameters<typeof parquetWriteBuffer>[0]> = {}): Uint8Array {
  return new Uint8Array(parquetWriteBuffer({ columnData, rowGroupSize: 100, ...options }));
}

describe("Parquet", () => {
  test("is known by its first bytes, and its values are those that were written", async () => {
    const { format, rows, columns } = await analyzeBytes(write());
    expect([format.type, rows]).toEqual(["parquet", ROWS]);
    expect(columns).toMatchObject([
      { name: "id", type: "integer", distinct: expect.closeTo(500, -2), max: 4_990_000_000_000, nulls: 0 },
      {
        name: "price",
        type: "decimal",
        kinds: { integer: 100, decimal: 350 },
        nulls: 50,
        numbers: { count: 450 },
      },
      {
        name: "city",
        type: "text",
        distinct: 3,
        frequent: [{ value: "Rome", count: 167 }, {}, {}],
        max: "São Paulo",
      },
      { name: "active", type: "boolean", kinds: { boolean: 500 } },
      { name: "at", type: "date", min: "2024-01-01", max: "2025-05-14" },
      {
        name: "tags",
        type: "object",
        distinct: 5,
        frequent: [{ value: '{"n":0}', count: 100 }, {}, {}, {}, {}],
      },
    ]);
  });

  test.each(["UNCOMPRESSED", "SNAPPY", "GZIP", "BROTLI", "ZSTD"] as const)(
    "is unpacked: %s",
    async (codec) => {
      const compressors = {
        GZIP: (bytes: Uint8Array) => new Uint8Array(gzipSync(bytes)),
        BROTLI: (bytes: Uint8Array) => new Uint8Array(brotliCompressSync(bytes)),
        ZSTD: (bytes: Uint8Array) => new Uint8Array(zstdCompressSync(bytes)),
      };
      expect(await analyzeBytes(write({ codec, compressors }))).toEqual(await analyzeBytes(write()));
    },
  );

  test.each(["GZIP", "BROTLI"] as const)("pages of any length are unpacked: %s", async (codec) => {
    const compressors = {
      GZIP: (bytes: Uint8Array) => new Uint8Array(gzipSync(bytes)),
      BROTLI: (bytes: Uint8Array) => new Uint8Array(brotliCompressSync(bytes)),
    };
    for (const length of [1_000, 13_750]) {
      const data = Array.from({ length }, (_, i) => Math.imul(i, 2_654_435_761));
      const file = write({
        columnData: [{ name: "n", data, type: "INT32" }],
        rowGroupSize: length,
        pageSize: 1e7,
        codec,
        compressors,
      });
      expect((await analyzeBytes(file)).columns).toMatchObject([{ name: "n", numbers: { count: length } }]);
    }
  });

  test("goes on from each checkpoint to the same result", async () => {
    const { kept, save } = checkpointKeeper();
    const whole = await analyzeBytes(write(), { checkpointBytes: 500, save });
    expect(kept.length).toBeGreaterThan(5);
    for (const from of kept)
      expect(await analyzeBytes(write(), { checkpointBytes: 500, from })).toEqual(whole);
  });

  test("that is damaged anywhere is refused, and never read past its end", async () => {
    const bytes = write({ codec: "SNAPPY" });
    for (let at = 4; at < bytes.length; at += 997) {
      const damaged = bytes.slice();
      damaged[at] = (damaged[at] ?? 0) ^ 0xff;
      const error = await analyzeBytes(damaged).then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      if (error !== undefined) expect(error).toMatchObject({ name: "NonRetryableError" });
    }
    await expect(analyzeBytes(bytes.slice(0, -20))).rejects.toThrow(
      "its footer: the end of the file is missing",
    );
  });

  test("whose pages are damaged anywhere ends soon, with its result or a refusal", async () => {
    const columns = [
      { name: "n", data: [1, null, 3, null, 5], type: "INT32" as const },
      { name: "t", data: ["a", "b", "a", "b", "a"], type: "STRING" as const },
      { name: "d", data: [1, 2, 3, 4, 5], type: "INT32" as const, encoding: "DELTA_BINARY_PACKED" as const },
      {
        name: "b",
        data: [true, false, true, true, true],
        type: "BOOLEAN" as const,
        encoding: "RLE" as const,
      },
    ];
    const bytes = write({ columnData: columns, codec: "UNCOMPRESSED", statistics: false });
    const footer = bytes.length - 8 - new DataView(bytes.buffer).getUint32(bytes.length - 8, true);
    for (let at = 4; at < footer; at++)
      for (const bits of [0xff, 0x80, 0x01, 0x10]) {
        const damaged = bytes.slice();
        damaged[at] = (damaged[at] ?? 0) ^ bits;
        await analyzeBytes(damaged).catch((error: unknown) => {
          expect(error).toMatchObject({ name: "NonRetryableError" });
        });
      }
  });

  test("whose footer is damaged anywhere is refused in words about the file", async () => {
    const bytes = write({ columnData: columnData.slice(0, 2), rowGroupSize: ROWS, codec: "UNCOMPRESSED" });
    const footer = bytes.length - 8 - new DataView(bytes.buffer).getUint32(bytes.length - 8, true);
    const messages = new Set<string>();
    for (let at = footer; at < bytes.length; at++)
      for (const bits of [0xff, 0x01]) {
        const damaged = bytes.slice();
        damaged[at] = (damaged[at] ?? 0) ^ bits;
        await analyzeBytes(damaged).catch((error: unknown) => {
          expect(error).toMatchObject({ name: "NonRetryableError" });
          messages.add(String(error));
        });
      }
    expect(messages.size).toBeGreaterThan(1);
    for (const message of messages)
      expect(message).not.toMatch(
        /undefined|null|is not a function|iterable|BigInt|bounds|RangeError|TypeError/,
      );
  });

  test("with a chunk that does not fit into memory is refused before it is read", async () => {
    const data = Array.from({ length: 1_400_000 }, () => true);
    const wide = write({ columnData: [{ name: "x", data, type: "BOOLEAN" }], rowGroupSize: data.length });
    await expect(analyzeBytes(wide)).rejects.toThrow('row group 1, column "x" has');
  });
});
