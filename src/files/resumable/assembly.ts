/**
 * tus's concatenation: a final upload, made of partial ones. R2 cannot join objects, so their bytes are read again,
 * and go into the final one as those of a request would: they are kept part by part, and after an interruption the
 * reading goes on where they end.
 */
import { readChunks } from "../store/parts.ts";
import type { SessionRecord } from "./record.ts";

/** A partial upload, as its session tells of it. */
export interface Piece {
  /** The key of its bytes in R2. */
  blob: string;
  /** In bytes. */
  size: number;
  isWhole: boolean;
}

/** How long a pin lasts that is neither renewed nor taken back. */
const PIN_MS = 60 * 60 * 1000;

/** A piece, or its bytes, are gone: the final upload cannot be put together any more. */
export class MissingPiece extends Error {
  override readonly name = "MissingPiece";
}

/** What there is of each piece, in their order. */
export const findPieces = async (env: Env, sources: string[]): Promise<(Piece | undefined)[]> =>
  Promise.all(sources.map(async (source) => env.UPLOAD_SESSION.getByName(source).piece()));

/** Pins all pieces of a final upload, which must be known to exist: else nobody would ever take the pins back. */
async function pinPieces(env: Env, { id, sources }: Pick<SessionRecord, "id" | "sources">): Promise<Piece[]> {
  const untilMs = Date.now() + PIN_MS;
  const pieces = await Promise.all(
    sources.map(async (source) => env.UPLOAD_SESSION.getByName(source).pin(id, untilMs)),
  );
  const found = pieces.filter((piece) => piece !== undefined);
  if (found.length === sources.length) return found;
  throw new MissingPiece("a piece of the upload is gone");
}

/** The final upload does not need its pieces any more. A pin that cannot be taken back ends by itself. */
export async function unpinPieces(env: Env, { id, sources }: Pick<SessionRecord, "id" | "sources">) {
  await Promise.allSettled(sources.map(async (source) => env.UPLOAD_SESSION.getByName(source).unpin(id)));
}

/** The bytes of the pieces, in their order, from the offset of the final upload on, until it is stopped. */
export async function* readPieces(
  env: Env,
  { id, sources, offset }: Pick<SessionRecord, "id" | "sources" | "offset">,
  stopped: AbortSignal,
): AsyncGenerator<Uint8Array> {
  let skip = offset;
  let pinnedAtMs = Date.now();
  for (const piece of await pinPieces(env, { id, sources })) {
    if (stopped.aborted) return;
    // The last ones may have to wait for long.
    if (Date.now() - pinnedAtMs > PIN_MS / 2) {
      pinnedAtMs = Date.now();
      await pinPieces(env, { id, sources });
    }
    if (skip < piece.size) yield* readPiece(env, piece, skip, stopped);
    skip = Math.max(0, skip - piece.size);
  }
}

async function* readPiece(env: Env, { blob, size }: Piece, from: number, stopped: AbortSignal) {
  const object = await env.FILES.get(blob, { range: { offset: from } });
  if (!object) throw new MissingPiece(`the bytes ${blob} are not in R2`);
  let left = size - from;
  try {
    for await (const chunk of readChunks(object.body, stopped)) {
      left -= chunk.length;
      yield chunk;
    }
  } catch (error) {
    if (!stopped.aborted) throw error;
  }
  if (left !== 0 && !stopped.aborted) throw new Error(`R2 gave ${left} bytes too few of ${blob}`);
}
