/**
 * tus's concatenation: a final upload, made of partial uploads. R2 cannot join objects, so the bytes of the partial
 * uploads are read again and appended to the final one as those of a request would be. They are committed part by
 * part, and after an interruption the reading continues where they end.
 */
import { readChunks } from "../store/body.ts";
import type { SessionRecord } from "./session-storage.ts";

/** A partial upload, as its session describes it. */
export interface PartialUpload {
  /** The key of its bytes in R2. */
  blob: string;
  /** In bytes. */
  size: number;
  isComplete: boolean;
}

/** How long a pin lasts if it is neither renewed nor removed. */
const PIN_MS = 60 * 60 * 1000;

/** A partial upload, or its bytes, are gone: the final upload can no longer be completed. */
export class PartialUploadGone extends Error {
  override readonly name = "PartialUploadGone";
}

/** The partial uploads in their order; undefined for each that does not exist. */
export const findPartials = async (env: Env, sources: string[]): Promise<(PartialUpload | undefined)[]> =>
  Promise.all(sources.map(async (source) => env.UPLOAD_SESSION.getByName(source).partial()));

/** Pins all partials of a final upload, which must exist: otherwise nothing would ever remove the pins. */
async function pinPartials(
  env: Env,
  { id, sources }: Pick<SessionRecord, "id" | "sources">,
): Promise<PartialUpload[]> {
  const untilMs = Date.now() + PIN_MS;
  const partials = await Promise.all(
    sources.map(async (source) => env.UPLOAD_SESSION.getByName(source).pin(id, untilMs)),
  );
  const found = partials.filter((partial) => partial !== undefined);
  if (found.length === sources.length) return found;
  throw new PartialUploadGone("a partial upload is gone");
}

/** The final upload no longer needs its partials. A pin that cannot be removed expires. */
export async function unpinPartials(env: Env, { id, sources }: Pick<SessionRecord, "id" | "sources">) {
  await Promise.allSettled(sources.map(async (source) => env.UPLOAD_SESSION.getByName(source).unpin(id)));
}

/** The bytes of the partials in their order, from the offset of the final upload on, until it is stopped. */
export async function* readPartials(
  env: Env,
  { id, sources, offset }: Pick<SessionRecord, "id" | "sources" | "offset">,
  stopped: AbortSignal,
): AsyncGenerator<Uint8Array> {
  let skip = offset;
  let pinnedAtMs = Date.now();
  for (const partial of await pinPartials(env, { id, sources })) {
    if (stopped.aborted) return;
    // It can take long until the last ones are read.
    if (Date.now() - pinnedAtMs > PIN_MS / 2) {
      pinnedAtMs = Date.now();
      await pinPartials(env, { id, sources });
    }
    if (skip < partial.size) yield* readPartial(env, partial, skip, stopped);
    skip = Math.max(0, skip - partial.size);
  }
}

async function* readPartial(env: Env, { blob, size }: PartialUpload, from: number, stopped: AbortSignal) {
  const object = await env.FILES.get(blob, { range: { offset: from } });
  if (!object) throw new PartialUploadGone(`the bytes ${blob} are not in R2`);
  let left = size - from;
  try {
    for await (const chunk of readChunks(object.body, stopped)) {
      left -= chunk.length;
      yield chunk;
    }
  } catch (error) {
    if (!stopped.aborted) throw error;
  }
  if (left !== 0 && !stopped.aborted) throw new Error(`R2 returned ${left} bytes too few of ${blob}`);
}
