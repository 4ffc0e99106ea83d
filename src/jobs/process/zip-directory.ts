/**
 * The central directory of a ZIP archive, read by ranges and checked before a byte of any entry is unpacked.
 *
 * An archive is refused as a whole. What is refused: entries that are encrypted, packed by a method other than DEFLATE, or
 * no file or folder (a link, a device); paths that lead out, or are there twice; entries that share bytes, as in bombs
 * without recursion (D. Fifield, 2019); and more entries or bytes than the limits allow.
 */
import { DamagedError } from "./huffman.ts";
import {
  END_BYTES,
  FLAG,
  LOCAL_HEADER_BYTES,
  LOCATOR_BYTES,
  METHOD,
  type RawEntry,
  RecordReader,
  readDirectoryHeader,
  ZIP64_END_BYTES,
} from "./zip-format.ts";
import { readName, safePath } from "./zip-names.ts";

/** The archive is whole, but it has something that is not unpacked. The message says what. */
export class RefusedError extends Error {
  override readonly name = "RefusedError";
}

export interface ZipEntry extends Omit<RawEntry, "extra" | "flags" | "unixMode"> {
  path: string;
  /** Where the entry's bytes must have ended: the next one, or the directory, begins there. */
  limit: number;
}

export interface ZipLimits {
  maxEntries: number;
  /** Of all entries, unpacked. */
  maxBytes: number;
  /** How many times as long as the archive the unpacked entries may be. Small archives may be packed as they like. */
  maxRatio: number;
}

/** An archive that unpacks to less than this is no bomb, whatever its ratio. In bytes. */
export const HARMLESS_BYTES = 10 * 1024 * 1024;

/** In bytes; the comment of an archive has at most 65,535. */
const MAX_TAIL_BYTES = END_BYTES + 65_535;
/** In bytes: of the directory, which is read as one piece. */
const MAX_DIRECTORY_BYTES = 4 * 1024 * 1024;
/** In bytes: of all paths, which are in the result of the task. */
const MAX_NAMES_BYTES = 256 * 1024;

/** Reads bytes of the archive. */
type ReadBytes = (offset: number, length: number) => Promise<Uint8Array>;

interface Directory {
  entries: number;
  offset: number;
  size: number;
  /** Where the archive begins: a program that unpacks it may stand in front. */
  base: number;
}

/** The files of an archive of `size` bytes, in its order. Throws a `DamagedError` or a `RefusedError`. */
export async function readZipDirectory(
  read: ReadBytes,
  size: number,
  limits: ZipLimits,
): Promise<ZipEntry[]> {
  const directory = await findDirectory(read, size);
  if (directory.entries > limits.maxEntries)
    throw new RefusedError(`it has ${directory.entries} entries, and the limit is ${limits.maxEntries}`);
  if (directory.size > MAX_DIRECTORY_BYTES)
    throw new RefusedError(`its directory has more than ${MAX_DIRECTORY_BYTES} bytes`);
  const start = directory.base + directory.offset;
  const reader = new RecordReader(await read(start, directory.size));
  const raw: RawEntry[] = [];
  while (!reader.isAtEnd && raw.length < directory.entries) raw.push(readDirectoryHeader(reader));
  if (raw.length !== directory.entries || !reader.isAtEnd)
    throw new DamagedError(`its directory does not have the ${directory.entries} entries that its end names`);
  const placed = withLimits(raw, directory.base, start);
  const files = placed.map(checkEntry).filter((entry) => entry !== undefined);
  checkPaths(files);
  checkSizes(files, size, limits);
  return files;
}

async function findDirectory(read: ReadBytes, size: number): Promise<Directory> {
  const tailBytes = Math.min(size, MAX_TAIL_BYTES + LOCATOR_BYTES);
  const tail = await read(size - tailBytes, tailBytes);
  const at = findEnd(tail);
  if (at === undefined) throw new DamagedError("it is not a ZIP archive, or its end is missing");
  const endAt = size - tailBytes + at;
  const zip64At = findZip64(tail, at);
  const end = new RecordReader(tail, at + 4);
  if (zip64At === undefined) {
    const disks = [end.u16(), end.u16()];
    const entries = [end.u16(), end.u16()];
    return checkDirectory({ disks, entries, size: end.u32(), offset: end.u32() }, endAt);
  }
  const zip64 = new RecordReader(await read(zip64At, ZIP64_END_BYTES));
  zip64.expect(0x06064b50, "the Zip64 end");
  zip64.take(12);
  const disks = [zip64.u32(), zip64.u32()];
  const entries = [zip64.u64(), zip64.u64()];
  return checkDirectory({ disks, entries, size: zip64.u64(), offset: zip64.u64() }, zip64At);
}

/** The place of the end record in the last bytes: the last signature whose comment reaches exactly to the end. */
function findEnd(tail: Uint8Array): number | undefined {
  for (let at = tail.length - END_BYTES; at >= 0; at--) {
    if (tail[at] !== 0x50 || tail[at + 1] !== 0x4b) continue;
    const reader = new RecordReader(tail, at);
    if (reader.u32() !== 0x06054b50) continue;
    reader.take(16);
    if (at + END_BYTES + reader.u16() === tail.length) return at;
  }
  return undefined;
}

/** Where the Zip64 end record is, if there is one. */
function findZip64(tail: Uint8Array, endAt: number): number | undefined {
  if (endAt < LOCATOR_BYTES) return undefined;
  const locator = new RecordReader(tail, endAt - LOCATOR_BYTES);
  if (locator.u32() !== 0x07064b50) return undefined;
  locator.u32();
  return locator.u64();
}

function checkDirectory(
  {
    disks,
    entries: [here = 0, all = 0],
    size,
    offset,
  }: {
    disks: number[];
    entries: number[];
    size: number;
    offset: number;
  },
  endAt: number,
): Directory {
  if (disks.some((disk) => disk !== 0) || here !== all)
    throw new RefusedError("it is one part of an archive of several");
  const base = endAt - size - offset;
  if (base < 0) throw new DamagedError("its directory does not end where it should");
  return { entries: all, offset, size, base };
}

/** Adds to each entry where it must have ended. */
function withLimits(raw: RawEntry[], base: number, end: number): (RawEntry & { limit: number })[] {
  const placed = raw.map((entry) => ({ ...entry, offset: base + entry.offset, limit: end }));
  const inOrder = placed.toSorted((a, b) => a.offset - b.offset);
  for (const [i, entry] of inOrder.entries()) {
    entry.limit = inOrder[i + 1]?.offset ?? end;
    const least = LOCAL_HEADER_BYTES + entry.name.length + entry.compressedBytes;
    if (entry.offset + least > entry.limit)
      throw new RefusedError(`the entry "${readName(entry)}" shares bytes with another one`);
  }
  return placed;
}

const FILE_KIND = { mask: 0o170_000, regular: 0o100_000, folder: 0o040_000, link: 0o120_000 } as const;
/** §4.4.5, of those that are met. */
const METHOD_NAMES: Record<number, string> = {
  9: "Deflate64",
  12: "bzip2",
  14: "LZMA",
  93: "Zstandard",
  95: "XZ",
};

/** Undefined for a folder. Throws a `RefusedError`. */
function checkEntry(entry: RawEntry & { limit: number }): ZipEntry | undefined {
  const { extra: _, flags, unixMode, ...rest } = entry;
  const name = readName(entry);
  const refuse = (why: string) =>
    new RefusedError(`the entry "${name.slice(0, 200)}" is not unpacked: ${why}`);
  const kind = unixMode & FILE_KIND.mask;
  if (kind === FILE_KIND.link) throw refuse("it is a symbolic link");
  if (kind !== 0 && kind !== FILE_KIND.regular && kind !== FILE_KIND.folder)
    throw refuse("it is neither a file nor a folder");
  const safe = safePath(name);
  if ("fault" in safe) throw refuse(safe.fault);
  if (/[/\\]$/.test(name) || kind === FILE_KIND.folder) {
    if (entry.bytes > 0) throw refuse("it is a folder, and has content");
    return undefined;
  }
  const { method } = entry;
  if ((flags & (FLAG.encrypted | FLAG.strong | FLAG.masked)) !== 0 || method === 99)
    throw refuse("it is encrypted");
  if (method !== METHOD.stored && method !== METHOD.deflated)
    throw refuse(`it is packed with ${METHOD_NAMES[method] ?? `method ${method}`}, not DEFLATE`);
  if (method === METHOD.stored && entry.bytes !== entry.compressedBytes)
    throw new DamagedError(`the two sizes of the stored entry "${name}" differ`);
  return { ...rest, path: safe.path };
}

function checkPaths(files: ZipEntry[]): void {
  const names = files.reduce((sum, { path }) => sum + Buffer.byteLength(path), 0);
  if (names > MAX_NAMES_BYTES)
    throw new RefusedError(`its paths have more than ${MAX_NAMES_BYTES} bytes in all`);
  const seen = new Set<string>();
  for (const { path } of files) {
    if (seen.has(path)) throw new RefusedError(`the path "${path}" is there twice`);
    seen.add(path);
  }
  for (const { path } of files)
    for (let slash = path.indexOf("/"); slash !== -1; slash = path.indexOf("/", slash + 1))
      if (seen.has(path.slice(0, slash)))
        throw new RefusedError(`"${path.slice(0, slash)}" is a file and a folder`);
}

function checkSizes(files: ZipEntry[], size: number, { maxBytes, maxRatio }: ZipLimits): void {
  const total = files.reduce((sum, { bytes }) => sum + bytes, 0);
  if (total > maxBytes) throw new RefusedError(`it unpacks to ${total} bytes, and the limit is ${maxBytes}`);
  if (total > HARMLESS_BYTES && total > size * maxRatio)
    throw new RefusedError(
      `it unpacks to ${Math.round(total / size)} times its own size, and the limit is ${maxRatio}`,
    );
}

/** Where the bytes of an entry begin. Throws a `DamagedError` if its local header does not belong to it. */
export async function findEntryBytes(read: ReadBytes, entry: ZipEntry): Promise<number> {
  const header = new RecordReader(await read(entry.offset, LOCAL_HEADER_BYTES + entry.name.length));
  const damaged = (what: string) => new DamagedError(`the entry "${entry.path}": ${what}`);
  if (header.u32() !== 0x04034b50) throw damaged("its header is not where it should be");
  header.take(4);
  const method = header.u16();
  header.take(16);
  const nameLength = header.u16();
  const extraLength = header.u16();
  if (
    method !== entry.method ||
    nameLength !== entry.name.length ||
    !header.take(nameLength).every((byte, i) => byte === entry.name[i])
  )
    throw damaged("its header names another file or method than the directory");
  const start = entry.offset + LOCAL_HEADER_BYTES + nameLength + extraLength;
  if (start + entry.compressedBytes > entry.limit)
    throw new RefusedError(`the entry "${entry.path}" shares bytes with another one`);
  return start;
}
