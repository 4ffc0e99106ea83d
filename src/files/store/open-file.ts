/** Files, for the code of this Worker: `openFile` reads one from a task or a route. */
import { countSubrequests } from "../../kernel/subrequests.ts";
import { type FileInfo, toInfo } from "./file-info.ts";
import type { FileRow, FoundFile } from "./schema.ts";
import { callCatalogue, catalogueOf } from "./shards.ts";

/** Bytes `offset` to `offset + length - 1`. */
export interface ByteRange {
  offset: number;
  length: number;
}

/** Which bytes of a file to read, as R2 takes it: from an offset (to the end, without a length), or the last ones. */
type RequestedRange = { offset: number; length?: number } | { suffix: number };

interface OpenFile {
  info: FileInfo;
  /** The bytes that `body` has; all of them if no range was requested. */
  range: ByteRange;
  body: ReadableStream<Uint8Array>;
}

/**
 * A file and its bytes, or a range of them, as a stream; undefined if there is no file with this id.
 *
 * A range that goes past the end is cut there, and a suffix longer than the file is the whole file; `range` in the
 * result says which bytes these are. Throws a `RangeError` if the range begins at the end of the file or after it, if
 * it asks for no bytes, or if a number in it is not a whole one that is 0 or more.
 *
 * Each call reads the version that is current then. To read one version in several calls, compare `info.sha256`.
 */
export async function openFile(
  env: Env,
  id: string,
  { range: requested }: { range?: RequestedRange } = {},
): Promise<OpenFile | undefined> {
  const opened = await readCurrentVersion(env, id, async (row) => {
    const range = requested && resolveRange(requested, row);
    countSubrequests({ internal: 1 });
    const object = await env.FILES.get(row.blob, range?.length ? { range } : {});
    return object && { range: range ?? { offset: 0, length: row.size }, body: object.body };
  });
  return opened && { info: toInfo(opened.row), ...opened.value };
}

/** The only range of an empty file is its suffix: no bytes. */
function resolveRange(requested: RequestedRange, { id, size }: FileRow): ByteRange {
  for (const [name, value] of Object.entries(requested)) {
    if (value === undefined || (Number.isSafeInteger(value) && value >= (name === "offset" ? 0 : 1)))
      continue;
    throw new RangeError(`The ${name} of a range cannot be ${value}.`);
  }
  if ("suffix" in requested) {
    const length = Math.min(requested.suffix, size);
    return { offset: size - length, length };
  }
  const { offset, length = size } = requested;
  if (offset >= size)
    throw new RangeError(`The file ${id} has ${size} bytes; there are none from ${offset} on.`);
  return { offset, length: Math.min(length, size - offset) };
}

const MAX_TRIES = 3;

/**
 * Looks a file up and calls `read`, which returns null if the file's bytes are no longer in R2. Returns undefined if
 * there is no file. If the file is replaced between the look-up and the read, both are done again.
 */
export async function readCurrentVersion<T>(
  env: Env,
  id: string,
  read: (row: FoundFile) => Promise<T | null>,
): Promise<{ row: FoundFile; value: T } | undefined> {
  for (let tries = 1; ; tries++) {
    const row = await callCatalogue(async () => catalogueOf(env, id).find(id));
    if (!row) return undefined;
    const value = await read(row);
    if (value !== null) return { row, value };
    if (tries === MAX_TRIES) throw new Error(`the bytes of the file ${id} are not in R2`);
  }
}
