/** A ZIP archive as a stream of pieces, with a state that can be kept between any two of them. */
import { crc32 } from "node:zlib";
import { beginDeflate, type DeflateState, deflateBlocks, type ReadFrom } from "./gzip.ts";
import type { Piece } from "./output.ts";
import { descriptor, directoryHeader, endRecords, localHeader, type WrittenEntry } from "./zip-format.ts";

export interface ZipInput {
  /** The path in the archive. */
  name: string;
  /** In bytes. */
  size: number;
  read: ReadFrom;
}

export interface ZipState {
  /** The entries that are written, and what the directory must say about them. */
  done: Omit<WrittenEntry, "name" | "modifiedAtMs">[];
  /** The entry that was begun: where it is, and how many bytes of it are written. */
  entry: (DeflateState & { start: number; compressedBytes: number }) | null;
  /** In the archive. */
  offset: number;
  isDone: boolean;
}

/** Pictures, films, sound and archives are compressed already: they are only wrapped. */
const COMPRESSED =
  /\.(?:7z|aac|avif|br|bz2|docx|flac|gif|gz|heic|jpe?g|jar|m4a|mkv|mov|mp[34]|odt|ogg|parquet|png|pptx|rar|tgz|webm|webp|xlsx|xz|zip|zst)$/i;

/** An entry's data has no trailer of its own: the descriptor follows. */
const NOTHING = new Uint8Array();

/** DEFLATE may make bytes a little longer: a file near 4 GiB is written as one that is longer. In bytes. */
const LONG_BYTES = 0xff00_0000;

/** `modifiedAtMs`: the time of all entries, so that the same files give the same archive. */
export async function* writeZip(
  inputs: readonly ZipInput[],
  modifiedAtMs: number,
  level: number,
  from?: ZipState,
): AsyncGenerator<Piece<ZipState>> {
  const state: ZipState = from ?? { done: [], entry: null, offset: 0, isDone: false };
  const piece = (bytes: Uint8Array, cost = bytes.length): Piece<ZipState> => {
    state.offset += bytes.length;
    return { bytes, cost, state: () => structuredClone(state) };
  };
  if (state.isDone) return;
  for (const { name, size, read } of inputs.slice(state.done.length)) {
    const isLong = size >= LONG_BYTES;
    const own = { level: COMPRESSED.test(name) ? 0 : level, sum: crc32, trailer: () => NOTHING };
    let { entry } = state;
    if (!entry) {
      state.entry = entry = { ...beginDeflate(0), start: state.offset, compressedBytes: 0 };
      yield piece(localHeader({ name, modifiedAtMs }, isLong));
    }
    for await (const { bytes, cost, state: after } of deflateBlocks(read, entry, own)) {
      Object.assign(entry, after());
      entry.compressedBytes += bytes.length;
      yield piece(bytes, cost);
    }
    const { start: offset, compressedBytes, checksum: crc, offset: length } = entry;
    const written = { offset, crc, compressedBytes, bytes: length };
    state.entry = null;
    state.done.push(written);
    yield piece(descriptor(written, isLong));
  }
  const headers = inputs.map(({ name }, i) => {
    const written = state.done[i];
    if (!written) throw new Error(`the entry ${name} was not written`);
    return directoryHeader({ name, modifiedAtMs, ...written });
  });
  const directory = Buffer.concat(headers);
  const end = endRecords(inputs.length, state.offset, directory.length);
  state.isDone = true;
  yield piece(Buffer.concat([directory, end]));
}
