/**
 * The columns of a Parquet file, one chunk of a column after the other: a row group has one for each column, and it is
 * what must be in memory at once.
 *
 * What the file says about itself is not believed: sizes that would not fit into memory are refused first.
 */
import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from "node:zlib";
import type { AsyncBuffer, CompressionCodec, Compressors, FileMetaData, SchemaTree } from "hyparquet";
import { NonRetryableError } from "../../tasks/index.ts";
import { Columns } from "./columns.ts";
import { PageGuard } from "./parquet-guard.ts";
import { MAX_COLUMNS } from "./precision.ts";
import type { ByteSource } from "./text-bytes.ts";
import { ValueAdder } from "./values.ts";

const MAX_FOOTER_BYTES = 8 * 1024 * 1024;
const MAX_CHUNK_BYTES = 32 * 1024 * 1024;
/** Of one chunk of a column. As values of JavaScript they take up to a few dozen bytes each. */
const MAX_CHUNK_ROWS = 2 ** 20 + 2 ** 18;

export interface ParquetFile {
  names: string[];
  rows: number;
  /** Row groups × columns. */
  chunks: number;
  /** Gives every value of a chunk to its column, and returns how many bytes it has. */
  readChunk(chunk: number, columns: Columns): Promise<number>;
}

/** Throws a `NonRetryableError` for what cannot be read. `nulls`: texts that stand for no value. */
export async function openParquet(source: ByteSource, nulls: readonly string[]): Promise<ParquetFile> {
  const hyparquet = await import("hyparquet");
  const { size } = source.info;
  const file = new RangedFile(source);
  const { metadata, schema, names, rows, chunks } = await refusing(file, "its footer", async () => {
    checkFooter(new DataView(await file.slice(Math.max(0, size - 8))), size);
    const found = await hyparquet.parquetMetadataAsync(file);
    const root = hyparquet.parquetSchema(found);
    const columns = root.children.map(({ element }) => element.name);
    const groups = found.row_groups.length;
    return {
      metadata: found,
      schema: root,
      names: columns,
      rows: Number(found.num_rows),
      chunks: groups * columns.length,
    };
  });
  if (names.length > MAX_COLUMNS)
    throw new NonRetryableError(`It has ${names.length} columns; at most ${MAX_COLUMNS}.`);
  const compressors = createCompressors(hyparquet.snappyUncompress);
  const adder = new ValueAdder(nulls);
  return {
    names,
    rows,
    chunks,
    async readChunk(chunk, columns) {
      const [group, place] = [Math.floor(chunk / names.length), chunk % names.length];
      const [name = "", column] = [names[place], columns.columns[place]];
      const what = `row group ${group + 1}, column ${JSON.stringify(name)}`;
      return refusing(file, what, async () => {
        const bytes = checkChunk(metadata, group, name, what);
        const guarded = await guardChunk(file, metadata, group, name, schema, compressors);
        await hyparquet.parquetRead({
          ...guarded,
          columns: [name],
          onChunk: ({ columnData }) => {
            if (column) for (const value of columnData) adder.add(column, value);
          },
        });
        return bytes;
      });
    },
  };
}

class RangedFile implements AsyncBuffer {
  readonly byteLength: number;
  readonly #source: ByteSource;
  /** Why bytes could not be read: that is no fault of the file. */
  failure: unknown;

  constructor(source: ByteSource) {
    this.#source = source;
    this.byteLength = source.info.size;
  }

  async slice(start: number, end = this.byteLength): Promise<ArrayBuffer> {
    const bytes = new Uint8Array(Math.max(0, Math.min(end, this.byteLength) - start));
    let at = 0;
    try {
      if (bytes.length > 0)
        for await (const chunk of this.#source.chunks({ offset: start, length: bytes.length })) {
          bytes.set(chunk, at);
          at += chunk.length;
        }
    } catch (error) {
      this.failure = error;
      throw error;
    }
    return bytes.buffer;
  }
}

function checkFooter(tail: DataView, size: number): void {
  const isParquet = tail.byteLength === 8 && tail.getUint32(4) === 0x50415231; // PAR1
  const length = isParquet ? tail.getUint32(0, true) : 0;
  if (!isParquet || length > size - 12) throw new Error("the end of the file is missing");
  if (length === 0) throw new Error("it is empty");
  if (length > MAX_FOOTER_BYTES) throw new Error(`it has ${length} bytes; at most ${MAX_FOOTER_BYTES}`);
}

function checkChunk({ row_groups: groups }: FileMetaData, group: number, name: string, what: string): number {
  const { columns = [], num_rows: rows = 0n } = groups[group] ?? {};
  const parts = columns.flatMap(({ meta_data: meta }) => (meta?.path_in_schema[0] === name ? [meta] : []));
  const sum = (size: (part: (typeof parts)[number]) => bigint) =>
    parts.reduce((all, part) => all + Number(size(part)), 0);
  const bytes = sum((part) => part.total_uncompressed_size);
  const packed = sum((part) => part.total_compressed_size);
  if (
    Math.max(bytes, packed) > MAX_CHUNK_BYTES ||
    rows > MAX_CHUNK_ROWS ||
    sum((part) => part.num_values) > MAX_CHUNK_ROWS
  )
    throw new NonRetryableError(
      `Too large to read at once: ${what} has ${bytes} bytes in ${rows} rows, and at most ${MAX_CHUNK_BYTES} bytes in ` +
        `${MAX_CHUNK_ROWS} rows fit. Write the file with smaller row groups.`,
    );
  return bytes;
}

/**
 * What hyparquet is given to read one column of one row group, whose pages are looked at before it decodes them. Each
 * chunk (a nested column has several) gets a codec of its own, so that its unpacked pages pass its guard.
 */
async function guardChunk(
  file: RangedFile,
  metadata: FileMetaData,
  group: number,
  name: string,
  schema: SchemaTree,
  unpackers: Compressors,
): Promise<{ file: AsyncBuffer; metadata: FileMetaData; compressors: Compressors }> {
  const found = metadata.row_groups[group];
  if (!found) throw new Error("it is missing");
  const compressors: Compressors = {};
  const buffers = new Map<string, ArrayBuffer>();
  const columns: typeof found.columns = [];
  for (const column of found.columns) {
    const meta = column.meta_data;
    if (meta?.path_in_schema[0] !== name) continue;
    const start = Number(meta.dictionary_page_offset || meta.data_page_offset);
    const end = start + Number(meta.total_compressed_size);
    const bytes = await file.slice(start, end);
    buffers.set(`${start}-${end}`, bytes);
    const guard = new PageGuard(new Uint8Array(bytes), pathTo(schema, meta.path_in_schema), {
      maxBytes: MAX_CHUNK_BYTES,
      maxValues: MAX_CHUNK_ROWS,
    });
    const unpack = meta.codec === "UNCOMPRESSED" ? (input: Uint8Array) => input : unpackers[meta.codec];
    if (!unpack) throw new Error(`its codec, ${meta.codec}, is not known here`);
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- hyparquet takes any name that is in `compressors`
    const codec = `guarded ${columns.length}` as CompressionCodec;
    compressors[codec] = (input, length) => {
      const page = unpack(input, length);
      guard.check(input.byteOffset, page);
      return page;
    };
    columns.push({ ...column, meta_data: { ...meta, codec } });
  }
  return {
    file: {
      byteLength: file.byteLength,
      slice: (start, end) => buffers.get(`${start}-${end}`) ?? file.slice(start, end),
    },
    metadata: { ...metadata, row_groups: [{ ...found, columns }] },
    compressors,
  };
}

function pathTo(schema: SchemaTree, names: readonly string[]): SchemaTree[] {
  const path = [schema];
  for (const name of names) {
    const next = path.at(-1)?.children.find(({ element }) => element.name === name);
    if (!next) throw new Error(`its schema has no ${names.join(".")}`);
    path.push(next);
  }
  return path;
}

/**
 * Whoever wrote the file also wrote the length. workerd holds the limit against what it has reserved, which is more than
 * the bytes it unpacks; hyparquet compares the length itself.
 */
function bounded(length: number): { maxOutputLength: number } {
  if (length > MAX_CHUNK_BYTES) throw new Error(`a page of ${length} bytes is too large`);
  return { maxOutputLength: length + 64 * 1024 };
}

function createCompressors(snappy: (input: Uint8Array, output: Uint8Array) => void): Compressors {
  return {
    SNAPPY: (input, length) => {
      bounded(length);
      const output = new Uint8Array(length);
      snappy(input, output);
      return output;
    },
    GZIP: (input, length) => gunzipSync(input, bounded(length)),
    BROTLI: (input, length) => brotliDecompressSync(input, bounded(length)),
    ZSTD: (input, length) => zstdDecompressSync(input, bounded(length)),
  };
}

/** What cannot be decoded now never can; but a read that failed may work later. */
async function refusing<T>(file: RangedFile, what: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    if (file.failure !== undefined) throw file.failure;
    if (error instanceof NonRetryableError) throw error;
    throw new NonRetryableError(`It cannot be read as Parquet: ${what}: ${reasonOf(error)}.`, {
      cause: error,
    });
  }
}

/** An error about what is not there tells nobody anything about the file. */
function reasonOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  const isOfCode = [TypeError, RangeError, SyntaxError].some((type) => error instanceof type);
  return isOfCode || message.includes("undefined") ? "it is damaged" : message;
}
