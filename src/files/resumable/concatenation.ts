/**
 * tus's concatenation: a final upload, made of partial uploads which may still be under way (concatenation-unfinished).
 *
 *     final                                                      partial
 *     is created ──── pin, one call to each ───────────────────▶ notes who needs it, and keeps its bytes for that one
 *     waits     ◀──── its length is known, it is complete, or gone
 *     reads all bytes, becomes the file ──── unpin ────────────▶ forgets it
 *
 * R2 cannot join objects, so the bytes of the partial uploads are read again and appended to the final one as those of
 * a request would be. They are committed part by part, and after an interruption the reading continues where they end.
 */
import { errorFields, log } from "../../kernel/log.ts";
import { callObject } from "../../kernel/objects.ts";
import { readChunks } from "../store/body.ts";
import { sessionOf } from "../store/shards.ts";
import type { Piece } from "./append-rules.ts";
import { awaited } from "./pieces.ts";
import type { SessionRecord } from "./session-storage.ts";

/** How many partial uploads a final one may have: each is a call to another object, twice. */
export const MAX_SOURCES = 100;
/** How many calls to other sessions are under way at a time. */
const PARALLEL_CALLS = 10;

/** A partial upload, or its bytes, are gone: the final upload can no longer be completed. */
export class PartialUploadGone extends Error {
  override readonly name = "PartialUploadGone";
  readonly source: string;

  constructor(source: string) {
    super(`the partial upload ${source} is gone`);
    this.source = source;
  }
}

/** Pins the partials that are not known to be complete. The final upload must exist: it removes the pins. */
export async function pinPartials(
  env: Env,
  record: Pick<SessionRecord, "id" | "sources" | "pieces">,
): Promise<Record<string, Piece>> {
  const asked = awaited(record);
  const found = await inParallel(asked, async (source) =>
    callObject(async () => sessionOf(env, source).pin(record.id)),
  );
  // Only now, when none of the calls is under way any longer and could still pin.
  const pieces = found.map((piece, i): [string, Piece] => {
    const source = asked[i] ?? "";
    if (!piece) throw new PartialUploadGone(source);
    return [source, piece];
  });
  return Object.fromEntries(pieces);
}

/** The final upload no longer needs its partials. A pin that cannot be removed expires. */
export async function unpinPartials(env: Env, { id, sources }: Pick<SessionRecord, "id" | "sources">) {
  await inParallel(sources, async (source) =>
    Promise.allSettled([callObject(async () => sessionOf(env, source).unpin(id))]),
  );
}

/** Tells the final uploads that need a partial what has become of it; null: it is gone. Never rejects. */
export async function notifyHolders(env: Env, holders: string[], source: string, piece: Piece | null) {
  await inParallel(holders, async (holder) => {
    try {
      await callObject(async () => sessionOf(env, holder).noteSource(source, piece));
    } catch (error) {
      log("warn", "a final upload was not told about its partial upload; it will ask", errorFields(error));
    }
  });
}

/** The bytes of the partials in their order, from the offset of the final upload on, until it is stopped. */
export async function* readPartials(
  env: Env,
  { sources, pieces, offset }: Pick<SessionRecord, "sources" | "pieces" | "offset">,
  stopped: AbortSignal,
): AsyncGenerator<Uint8Array> {
  let skip = offset;
  for (const source of sources) {
    if (stopped.aborted) return;
    const { blob, length } = pieces[source] ?? { blob: "", length: null };
    if (length === null) throw new Error("a final upload is read before its partial uploads are complete");
    if (skip < length) yield* readPartial(env, { source, blob, from: skip, length }, stopped);
    skip = Math.max(0, skip - length);
  }
}

async function* readPartial(
  env: Env,
  { source, blob, from, length }: { source: string; blob: string; from: number; length: number },
  stopped: AbortSignal,
) {
  const object = await env.FILES.get(blob, { range: { offset: from } });
  if (!object) throw new PartialUploadGone(source);
  let left = length - from;
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

async function inParallel<T, R>(items: T[], act: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (let i = 0; i < items.length; i += PARALLEL_CALLS) {
    results.push(...(await Promise.all(items.slice(i, i + PARALLEL_CALLS).map(act))));
  }
  return results;
}
