/**
 * The records of a ZIP archive (PKWARE APPNOTE 6.3.10; section numbers below are its), written and read. Zip64 (§4.5.3)
 * wherever a number needs it.
 */
import { DamagedError } from "./huffman.ts";

export const METHOD = { stored: 0, deflated: 8 } as const;

/** Bits of an entry's flags (§4.4.4). */
export const FLAG = {
  encrypted: 1,
  descriptor: 1 << 3,
  strong: 1 << 6,
  utf8: 1 << 11,
  masked: 1 << 13,
} as const;

const MAX_32 = 0xffff_ffff;
const MAX_16 = 0xffff;
const UNIX = 3;
const REGULAR_FILE = 0o100_644;
const VERSION_DEFLATE = 20;
const VERSION_ZIP64 = 45;
export const LOCAL_HEADER_BYTES = 30;
const DIRECTORY_HEADER_BYTES = 46;
export const END_BYTES = 22;
export const LOCATOR_BYTES = 20;
export const ZIP64_END_BYTES = 56;

/** Numbers of 1, 2, 4 and 8 bytes, the least byte first. */
function record(size: number, fields: readonly [bytes: 2 | 4 | 8, value: number][]): Uint8Array {
  const view = new DataView(new ArrayBuffer(size));
  let at = 0;
  for (const [bytes, value] of fields) {
    if (bytes === 2) view.setUint16(at, value, true);
    else if (bytes === 4) view.setUint32(at, value, true);
    else view.setBigUint64(at, BigInt(value), true);
    at += bytes;
  }
  return new Uint8Array(view.buffer);
}

/** An entry as it is written. Everything but its name and time is known after its bytes. */
export interface WrittenEntry {
  name: string;
  modifiedAtMs: number;
  /** Of the local header. */
  offset: number;
  crc: number;
  compressedBytes: number;
  bytes: number;
}

type Begun = Pick<WrittenEntry, "name" | "modifiedAtMs">;

/** §4.3.7. Sizes and digest follow in the descriptor. `isLong`: they need eight bytes each there. */
export function localHeader({ name, modifiedAtMs }: Begun, isLong: boolean): Uint8Array {
  const bytes = Buffer.from(name);
  const extra = isLong ? zip64Extra([0, 0]) : new Uint8Array();
  const [time, date] = dosTime(modifiedAtMs);
  const unknown = isLong ? MAX_32 : 0;
  const header = record(LOCAL_HEADER_BYTES, [
    [4, 0x04034b50],
    [2, isLong ? VERSION_ZIP64 : VERSION_DEFLATE],
    [2, FLAG.utf8 | FLAG.descriptor],
    [2, METHOD.deflated],
    [2, time],
    [2, date],
    [4, 0],
    [4, unknown],
    [4, unknown],
    [2, bytes.length],
    [2, extra.length],
  ]);
  return Buffer.concat([header, bytes, extra]);
}

/** §4.3.9. */
export function descriptor(entry: Omit<WrittenEntry, keyof Begun>, isLong: boolean): Uint8Array {
  const width = isLong ? 8 : 4;
  return record(8 + 2 * width, [
    [4, 0x08074b50],
    [4, entry.crc],
    [width, entry.compressedBytes],
    [width, entry.bytes],
  ]);
}

/** §4.3.12: what the central directory says of an entry. */
export function directoryHeader(entry: WrittenEntry): Uint8Array {
  const { name, modifiedAtMs, offset, crc, compressedBytes, bytes } = entry;
  const sizes = [bytes, compressedBytes, offset];
  const extra = zip64Extra(sizes.filter((size) => size >= MAX_32));
  const encoded = Buffer.from(name);
  const [time, date] = dosTime(modifiedAtMs);
  const version = extra.length > 0 ? VERSION_ZIP64 : VERSION_DEFLATE;
  const header = record(DIRECTORY_HEADER_BYTES, [
    [4, 0x02014b50],
    [2, (UNIX << 8) | version],
    [2, version],
    [2, FLAG.utf8 | FLAG.descriptor],
    [2, METHOD.deflated],
    [2, time],
    [2, date],
    [4, crc],
    [4, Math.min(compressedBytes, MAX_32)],
    [4, Math.min(bytes, MAX_32)],
    [2, encoded.length],
    [2, extra.length],
    [2, 0],
    [2, 0],
    [2, 0],
    [4, REGULAR_FILE * 0x10000],
    [4, Math.min(offset, MAX_32)],
  ]);
  return Buffer.concat([header, encoded, extra]);
}

function zip64Extra(sizes: number[]): Uint8Array {
  if (sizes.length === 0) return new Uint8Array();
  return record(4 + 8 * sizes.length, [
    [2, 1],
    [2, 8 * sizes.length],
    ...sizes.map((size): [8, number] => [8, size]),
  ]);
}

/** §4.3.14 to §4.3.16: the end of the archive, after the directory. */
export function endRecords(entries: number, offset: number, size: number): Uint8Array {
  const end = record(END_BYTES, [
    [4, 0x06054b50],
    [2, 0],
    [2, 0],
    [2, Math.min(entries, MAX_16)],
    [2, Math.min(entries, MAX_16)],
    [4, Math.min(size, MAX_32)],
    [4, Math.min(offset, MAX_32)],
  ]);
  if (entries < MAX_16 && size < MAX_32 && offset < MAX_32) return end;
  const zip64 = record(ZIP64_END_BYTES, [
    [4, 0x06064b50],
    [8, ZIP64_END_BYTES - 12],
    [2, (UNIX << 8) | VERSION_ZIP64],
    [2, VERSION_ZIP64],
    [4, 0],
    [4, 0],
    [8, entries],
    [8, entries],
    [8, size],
    [8, offset],
  ]);
  const locator = record(LOCATOR_BYTES, [
    [4, 0x07064b50],
    [4, 0],
    [8, offset + size],
    [4, 1],
  ]);
  return Buffer.concat([zip64, locator, end]);
}

/** Two seconds is its step, and 1980 its first year (§4.4.6); in UTC. */
function dosTime(atMs: number): [time: number, date: number] {
  const at = new Date(Math.min(Math.max(atMs, Date.UTC(1980, 0, 1)), Date.UTC(2107, 11, 31)));
  return [
    (at.getUTCHours() << 11) | (at.getUTCMinutes() << 5) | (at.getUTCSeconds() >> 1),
    ((at.getUTCFullYear() - 1980) << 9) | ((at.getUTCMonth() + 1) << 5) | at.getUTCDate(),
  ];
}

/** Reads numbers from a record; throws a `DamagedError` where it ends too early. */
export class RecordReader {
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  at: number;

  constructor(bytes: Uint8Array, at = 0) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.at = at;
  }

  get isAtEnd(): boolean {
    return this.at >= this.#bytes.length;
  }

  u16(): number {
    return this.#view.getUint16(this.#skip(2), true);
  }

  u32(): number {
    return this.#view.getUint32(this.#skip(4), true);
  }

  u64(): number {
    const value = this.#view.getBigUint64(this.#skip(8), true);
    if (value <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(value);
    throw new DamagedError("it has a number that is larger than any file");
  }

  take(length: number): Uint8Array {
    const at = this.#skip(length);
    return this.#bytes.subarray(at, at + length);
  }

  expect(signature: number, what: string): void {
    if (this.isAtEnd || this.u32() !== signature) throw new DamagedError(`${what} is not where it should be`);
  }

  #skip(length: number): number {
    const { at } = this;
    if (at + length > this.#bytes.length) throw new DamagedError("a record is longer than its place");
    this.at += length;
    return at;
  }
}

/** An entry as the central directory describes it, unchecked. */
export interface RawEntry {
  flags: number;
  method: number;
  crc: number;
  compressedBytes: number;
  bytes: number;
  name: Uint8Array;
  /** The blocks of extra data, by their ids. */
  extra: Map<number, Uint8Array>;
  /** Of the local header. */
  offset: number;
  /** The mode of the file on Unix; 0 if the archive was made elsewhere. */
  unixMode: number;
}

/** Reads one header of the central directory, with its Zip64 numbers. */
export function readDirectoryHeader(reader: RecordReader): RawEntry {
  reader.expect(0x02014b50, "an entry of the central directory");
  const system = reader.u16() >> 8;
  reader.u16();
  const flags = reader.u16();
  const method = reader.u16();
  reader.u32();
  const crc = reader.u32();
  let compressedBytes = reader.u32();
  let bytes = reader.u32();
  const [nameLength, extraLength, commentLength] = [reader.u16(), reader.u16(), reader.u16()];
  const disk = reader.u16();
  reader.u16();
  const attributes = reader.u32();
  let offset = reader.u32();
  const name = Uint8Array.from(reader.take(nameLength));
  const extra = readExtra(reader.take(extraLength));
  reader.take(commentLength);
  const long = extra.get(1);
  const zip64 = long && new RecordReader(long);
  if (zip64 && bytes === MAX_32) bytes = zip64.u64();
  if (zip64 && compressedBytes === MAX_32) compressedBytes = zip64.u64();
  if (zip64 && offset === MAX_32) offset = zip64.u64();
  if (disk !== 0 && disk !== MAX_16) throw new DamagedError("it is one part of an archive of several");
  const unixMode = system === UNIX ? attributes >>> 16 : 0;
  return { flags, method, crc, compressedBytes, bytes, name, extra, offset, unixMode };
}

function readExtra(bytes: Uint8Array): Map<number, Uint8Array> {
  const blocks = new Map<number, Uint8Array>();
  const reader = new RecordReader(bytes);
  // Some programs pad with fewer bytes than a block has.
  while (reader.at + 4 <= bytes.length) {
    const id = reader.u16();
    const length = reader.u16();
    if (reader.at + length > bytes.length) break;
    blocks.set(id, Uint8Array.from(reader.take(length)));
  }
  return blocks;
}
