/**
 * The life of a resumable upload, as rules without clock, storage or network.
 *
 *     receiving ──last byte──▶ completing ──complete in R2──▶ publishing ──in the catalogue──▶ complete
 *         └──────────────────────────┴── cancelled, expired, wrong digest ──▶ ended ──cleared──▶ (gone)
 *
 * The first `offset` bytes are stored: parts that R2 has, and a tail shorter than a part. They are acknowledged, and
 * survive whatever happens. From "completing" on nothing can be appended, and the rest happens without the client,
 * by alarm if necessary.
 */

export type Phase = "receiving" | "completing" | "publishing" | "complete" | "ended";

/** A file of its own; or, for tus's concatenation, a piece of one ("partial") or one made of pieces ("final"). */
type Kind = "whole" | "partial" | "final";

/** The part of a session that the rules need. Sizes are in bytes. */
export interface Progress {
  phase: Phase;
  kind: Kind;
  offset: number;
  /** Null until the client has said how long the upload is. */
  length: number | null;
  /** The byte at `length` completes the upload (tus, early drafts). Else only a request that says so does. */
  endsAtLength: boolean;
}

/** For tus's concatenation: one partial upload, as its session describes it to a final one. */
export interface Piece {
  /** The key of its bytes in R2. */
  blob: string;
  /** Of all its bytes; null until the client has said how many there will be. */
  length: number | null;
  isComplete: boolean;
  /** When the upload is removed at the latest; ms since the epoch. */
  expiresAtMs: number;
}

/** What a request asks to append. */
export interface AppendRequest {
  offset: number;
  /** The length of the whole upload, if the request says it. */
  length: number | null;
  /** How many bytes the request brings, if it says so. */
  contentLength: number | null;
  /** The request brings all the remaining bytes. */
  isLast: boolean;
}

export type AdmissionRejection =
  | "final"
  | "complete"
  | "offset-mismatch"
  | "length-conflict"
  | "beyond-length"
  | "too-large";

/** Why bytes cannot be appended; or the length that the upload has if they are. */
export function admit(
  state: Progress,
  request: AppendRequest,
  maxUnknownLength: number,
): { rejection: AdmissionRejection } | { length: number | null } {
  if (state.kind === "final") return { rejection: "final" };
  if (state.phase !== "receiving") return { rejection: "complete" };
  if (request.offset !== state.offset) return { rejection: "offset-mismatch" };
  const end = request.contentLength === null ? null : request.offset + request.contentLength;
  const lengths = [state.length, request.length, request.isLast ? end : null].filter(
    (length) => length !== null,
  );
  const [length = null] = lengths;
  if (lengths.some((other) => other !== length)) return { rejection: "length-conflict" };
  if (length !== null && length < state.offset) return { rejection: "length-conflict" };
  if (length !== null && end !== null && end > length) return { rejection: "beyond-length" };
  // While the length is unknown, the parts have the smallest size, and their number is limited.
  if (state.length === null && Math.max(length ?? 0, end ?? 0) > maxUnknownLength)
    return { rejection: "too-large" };
  return { length };
}

/** Whether nothing more can come. */
export const hasAllBytes = ({ offset, length, endsAtLength }: Progress): boolean =>
  endsAtLength && offset === length;

/**
 * How a body ended: normally, past the end of the upload, past what one request may bring, because the client broke off,
 * or by another request.
 */
export type BodyEnd = "ended" | "overflow" | "too-much" | "interrupted" | "preempted";

export type AppendRejection = AdmissionRejection | "content-too-large" | "interrupted" | "preempted";

/**
 * What follows when the body of an append has ended; `state` includes all bytes that arrived. If `isKept`, they are
 * acknowledged; else only the parts that R2 already had remain. A rejected append never completes an upload.
 */
export function concludeAppend(
  state: Progress,
  end: BodyEnd,
  isLast: boolean,
): { isKept: boolean; phase: Phase; length: number | null; rejection?: AppendRejection } {
  const { length, offset } = state;
  if (end === "overflow") {
    const rejection = length === null ? "too-large" : "beyond-length";
    return { isKept: false, phase: "receiving", length, rejection };
  }
  if (end === "too-much") {
    return { isKept: false, phase: "receiving", length, rejection: "content-too-large" };
  }
  if (end === "ended" && isLast) {
    return length === null || length === offset
      ? { isKept: true, phase: "completing", length: offset }
      : { isKept: true, phase: "receiving", length, rejection: "length-conflict" };
  }
  const phase = hasAllBytes(state) ? "completing" : "receiving";
  return end === "ended" ? { isKept: true, phase, length } : { isKept: true, phase, length, rejection: end };
}

const DAY_MS = 24 * 60 * 60 * 1000;
/** How long an upload lives after its last byte. */
export const MAX_IDLE_MS = DAY_MS;
/** From its creation. R2 aborts a multipart upload after seven days. */
export const MAX_LIFETIME_MS = 6 * DAY_MS;

/** When an upload that was last active at `nowMs` expires. */
export const expiryOf = (createdAtMs: number, nowMs: number): number =>
  Math.min(nowMs + MAX_IDLE_MS, createdAtMs + MAX_LIFETIME_MS);

/** What decides how long an upload stays; times are ms since the epoch. */
export interface Lifetime {
  createdAtMs: number;
  expiresAtMs: number;
}

/** For a partial upload: the final uploads that are made of it, and until when each keeps its bytes. */
export type Pins = Map<string, number>;

/** All bytes have arrived, and the upload is not yet a file. */
export const isCompleting = (state: Progress): boolean =>
  state.phase === "completing" ||
  state.phase === "publishing" ||
  (state.phase === "receiving" && hasAllBytes(state));

/** Whether the upload is due for removal. One that has all its bytes stays as long as R2 allows. */
export const hasExpired = (state: Progress & Lifetime, nowMs: number): boolean =>
  (isCompleting(state) ? state.createdAtMs + MAX_LIFETIME_MS : state.expiresAtMs) <= nowMs;

/** Until when its last pin holds; 0 if it has none. */
export const pinnedUntilMs = (pins: Pins): number => Math.max(0, ...pins.values());
