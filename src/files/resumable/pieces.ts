/**
 * What a final upload of tus knows about the partial uploads that it is made of: pure functions.
 *
 * A final upload may be created while its partial uploads are still under way. It is ready when all of them are
 * complete, and it lives no longer than any of them could.
 */
import { partSizeFor } from "../store/parts.ts";
import { MAX_LIFETIME_MS, type Piece } from "./append-rules.ts";
import type { SessionRecord } from "./session-storage.ts";

export const toPiece = ({ blob, phase, offset, length, createdAtMs }: SessionRecord): Piece => {
  // One that has ended and is still here was complete.
  const isComplete = phase === "complete" || phase === "ended";
  return {
    blob,
    length: isComplete ? offset : length,
    isComplete,
    expiresAtMs: createdAtMs + MAX_LIFETIME_MS,
  };
};

/** The final upload, with what has been learnt about its partials. A piece that is complete does not change. */
export function withPieces(record: SessionRecord, found: Record<string, Piece>): SessionRecord {
  const pieces = { ...record.pieces };
  for (const [id, piece] of Object.entries(found)) {
    if (pieces[id]?.isComplete !== true) pieces[id] = piece;
  }
  const length = totalLength(record.sources, pieces);
  const expiries = Object.values(pieces).map((piece) => piece.expiresAtMs);
  return {
    ...record,
    pieces,
    length,
    partSize: partSizeFor(length),
    expiresAtMs: Math.min(record.expiresAtMs, ...expiries),
  };
}

/** Null while one of them has no length. */
function totalLength(sources: string[], pieces: Record<string, Piece>): number | null {
  let total = 0;
  for (const source of sources) {
    const length = pieces[source]?.length ?? null;
    if (length === null) return null;
    total += length;
  }
  return total;
}

/** The partials that are not known to be complete. */
export const awaited = ({ sources, pieces }: Pick<SessionRecord, "sources" | "pieces">): string[] =>
  sources.filter((source) => pieces[source]?.isComplete !== true);

/** A final upload that waits for some of its partials. */
export const isWaiting = (record: SessionRecord): boolean =>
  record.kind === "final" && record.phase === "receiving" && awaited(record).length > 0;

const MIN_PAUSE_MS = 15_000;
const MAX_PAUSE_MS = 10 * 60 * 1000;

/**
 * How long a final upload waits until it asks its partials itself. They tell it when they are complete; only if one died
 * just then, nothing comes. The pause grows with its age, so that long waiting costs little.
 */
export const pauseUntilAskedMs = (
  { createdAtMs }: Pick<SessionRecord, "createdAtMs">,
  nowMs: number,
): number => Math.min(MAX_PAUSE_MS, Math.max(MIN_PAUSE_MS, nowMs - createdAtMs));
