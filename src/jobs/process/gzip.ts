/**
 * The formats around DEFLATE data: gzip (RFC 1952), zlib (RFC 1950; HTTP calls it deflate), and none. Written as one
 * member, from blocks that are deflated one by one; read with a state that can be kept between any two pieces of output.
 */
import { constants, crc32, deflateRawSync } from "node:zlib";
import { adler32 } from "./adler32.ts";
import { ByteInput } from "./byte-input.ts";
import { DamagedError } from "./huffman.ts";
import { Inflater, type InflateState } from "./inflate.ts";
import type { Piece } from "./output.ts";

export const FORMATS = ["gzip", "deflate", "deflate-raw"] as const;
export type Format = (typeof FORMATS)[number];

/** What is deflated at once: it is in memory, beside its result. In bytes. */
const BLOCK_BYTES = 1024 * 1024;
/** It is empty, and has the codes of RFC 1951 §3.2.6. */
const LAST_BLOCK = Uint8Array.of(3, 0);
/** How far back DEFLATE may refer. */
const WINDOW_BYTES = 32 * 1024;

/** Reads bytes of a file from an offset on. */
export type ReadFrom = (offset: number) => AsyncIterable<Uint8Array>;

/** How far the deflated file has come. */
export interface DeflateState {
  /** In the source. */
  offset: number;
  checksum: number;
  /** Whether the last block, and what follows it, is written. */
  isEnded: boolean;
}

/** Before the first block. `checksum`: of no bytes. */
export const beginDeflate = (checksum: number): DeflateState => ({ offset: 0, checksum, isEnded: false });

/**
 * Deflates the bytes of `read` in blocks of 1 MiB that end at a whole byte. Each may refer to the 32 KiB before it, so
 * that dividing costs no compression, and the result is one stream as any other (pigz does the same). Ends with the trailer.
 */
export async function* deflateBlocks(
  read: ReadFrom,
  from: DeflateState,
  { level, sum, trailer }: { level: number } & Pick<Wrapper, "sum" | "trailer">,
): AsyncGenerator<Piece<DeflateState>> {
  if (from.isEnded) return;
  const { offset, checksum } = from;
  const state: DeflateState = { offset, checksum, isEnded: false };
  const begin = Math.max(0, offset - WINDOW_BYTES);
  let dictionary: Uint8Array | undefined;
  for await (const block of blocksOf(read(begin), offset - begin)) {
    if (state.offset === offset && dictionary === undefined && offset > begin) {
      dictionary = block;
      continue;
    }
    const options = { level, finishFlush: constants.Z_SYNC_FLUSH };
    const bytes = deflateRawSync(block, dictionary ? { ...options, dictionary } : options);
    state.offset += block.length;
    state.checksum = sum(block, state.checksum);
    dictionary = block.subarray(-WINDOW_BYTES);
    const after = { ...state };
    yield { bytes, cost: level === 0 ? block.length / 8 : block.length, state: () => after };
  }
  const bytes = Buffer.concat([LAST_BLOCK, trailer(state.checksum, state.offset)]);
  yield { bytes, cost: 0, state: () => ({ ...state, isEnded: true }) };
}

/** The chunks as one block of `first` bytes, if that is not 0, and then blocks of 1 MiB; the last may be shorter. */
async function* blocksOf(chunks: AsyncIterable<Uint8Array>, first: number): AsyncGenerator<Uint8Array> {
  let block = new Uint8Array(first || BLOCK_BYTES);
  let filled = 0;
  for await (const chunk of chunks)
    for (let at = 0; at < chunk.length; ) {
      const part = chunk.subarray(at, at + block.length - filled);
      block.set(part, filled);
      at += part.length;
      filled += part.length;
      if (filled < block.length) continue;
      yield block;
      block = new Uint8Array(BLOCK_BYTES);
      filled = 0;
    }
  if (filled > 0) yield block.subarray(0, filled);
}

type Checksum = (bytes: Uint8Array, before: number) => number;

/** What stands before and after the data, and what sums it up. */
interface Wrapper {
  header: Uint8Array;
  /** The checksum of no bytes. */
  start: number;
  sum: Checksum;
  trailer: (checksum: number, bytes: number) => Uint8Array;
}

export const WRAPPERS: Record<"gzip" | "deflate", Wrapper> = {
  gzip: {
    // No name and no time: the same bytes give the same file.
    header: Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255),
    start: 0,
    sum: crc32,
    trailer: (crc, bytes) => {
      const view = new DataView(new ArrayBuffer(8));
      view.setUint32(0, crc, true);
      view.setUint32(4, bytes % 2 ** 32, true);
      return new Uint8Array(view.buffer);
    },
  },
  deflate: {
    header: Uint8Array.of(0x78, 0x9c),
    start: 1,
    sum: adler32,
    trailer: (adler) => {
      const view = new DataView(new ArrayBuffer(4));
      view.setUint32(0, adler);
      return new Uint8Array(view.buffer);
    },
  },
};

/** How far the inflated file has come. */
export interface InflatedState {
  /** In the source: of the next byte that is needed. */
  offset: number;
  format: Format;
  members: number;
  /** The member that was begun. */
  member: { checksum: number; bytes: number; inflate: InflateState } | null;
}

/** Inflates the whole file. `format`: undefined to tell it by its first bytes. Throws a `DamagedError`. */
export async function* inflateFile(
  read: ReadFrom,
  format: Format | undefined,
  from?: InflatedState,
): AsyncGenerator<Piece<InflatedState>> {
  const input = new ByteInput(read(from?.offset ?? 0), from?.offset ?? 0);
  try {
    const known = from?.format ?? format ?? (await detectFormat(input));
    let { members, member } = from ?? { members: 0, member: null };
    for (; member !== null || (await hasMember(input, known, members)); member = null) {
      if (member === null) await readHeader(input, known);
      yield* inflateMember(input, known, members, member);
      members++;
    }
  } finally {
    await input.close();
  }
}

async function* inflateMember(
  input: ByteInput,
  format: Format,
  members: number,
  from: InflatedState["member"],
): AsyncGenerator<Piece<InflatedState>> {
  const inflater = new Inflater(from?.inflate);
  const start = input.position;
  const { sum } = WRAPPERS[format === "deflate" ? "deflate" : "gzip"];
  let { checksum, bytes } = from ?? { checksum: format === "deflate" ? 1 : 0, bytes: 0 };
  while (!inflater.isDone) {
    const chunk = await input.chunk();
    if (chunk.length === 0) throw new DamagedError("it ends too early");
    for (const piece of inflater.push(chunk)) {
      checksum = sum(piece, checksum);
      bytes += piece.length;
      const state = () => {
        const member = { checksum, bytes, inflate: inflater.save() };
        return { offset: start + inflater.consumed, format, members, member };
      };
      yield { bytes: piece, cost: piece.length, state };
    }
  }
  input.unread(inflater.unused);
  if (format === "deflate-raw") return;
  const expected = WRAPPERS[format].trailer(checksum, bytes);
  const trailer = await input.take(expected.length);
  if (!expected.every((byte, i) => byte === trailer[i]))
    throw new DamagedError("its bytes do not match its checksum or its length");
}

async function detectFormat(input: ByteInput): Promise<Format> {
  const start = await input.take(2).catch(() => {
    throw new DamagedError("it is too short to be compressed");
  });
  input.unread(start);
  if (start[0] === 0x1f && start[1] === 0x8b) return "gzip";
  if (isZlib(start)) return "deflate";
  throw new DamagedError(
    'it is neither gzip nor zlib; if it is DEFLATE data alone, say "format": "deflate-raw"',
  );
}

const isZlib = ([method = 0, flags = 0]: Uint8Array) =>
  (method & 15) === 8 && method >> 4 <= 7 && (method * 256 + flags) % 31 === 0;

/** Whether another member follows: only gzip has several (RFC 1952 §2.2). Zeros may fill a file up, as on tapes. */
async function hasMember(input: ByteInput, format: Format, members: number): Promise<boolean> {
  if (members === 0) return true;
  let isPadded = false;
  for (let chunk = await input.chunk(); chunk.length > 0; chunk = await input.chunk()) {
    const at = chunk.findIndex((byte) => byte !== 0);
    isPadded ||= at !== 0;
    if (at === -1) continue;
    input.unread(chunk.subarray(at));
    if (format === "gzip" && !isPadded && chunk[at] === 0x1f) return true;
    throw new DamagedError(`after its end, at byte ${input.position}, something else follows`);
  }
  return false;
}

async function readHeader(input: ByteInput, format: Format): Promise<void> {
  if (format === "deflate-raw") return;
  if (format === "deflate") {
    const header = await input.take(2);
    if (!isZlib(header)) throw new DamagedError("it does not begin with a zlib header");
    if (((header[1] ?? 0) & 0x20) !== 0)
      throw new DamagedError("it needs a dictionary, which it does not contain");
    return;
  }
  const [id1, id2, method, flags = 0] = await input.take(10);
  if (id1 !== 0x1f || id2 !== 0x8b || method !== 8)
    throw new DamagedError(`there is no gzip header at byte ${input.position - 10}`);
  if ((flags & 0xe0) !== 0) throw new DamagedError("its gzip header has reserved flags");
  if ((flags & 4) !== 0) {
    const [low = 0, high = 0] = await input.take(2);
    await input.take(low + 256 * high);
  }
  if ((flags & 8) !== 0) await skipText(input);
  if ((flags & 16) !== 0) await skipText(input);
  if ((flags & 2) !== 0) await input.take(2);
}

/** In bytes: of a name or comment. */
const MAX_TEXT_BYTES = 64 * 1024;

async function skipText(input: ByteInput): Promise<void> {
  for (let skipped = 0; skipped < MAX_TEXT_BYTES; ) {
    const chunk = await input.chunk();
    if (chunk.length === 0) throw new DamagedError("it ends too early");
    const end = chunk.indexOf(0);
    if (end !== -1) {
      input.unread(chunk.subarray(end + 1));
      return;
    }
    skipped += chunk.length;
  }
  throw new DamagedError(`the name or comment in its gzip header is longer than ${MAX_TEXT_BYTES} bytes`);
}
