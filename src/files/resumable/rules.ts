/**
 * The life of a resumable upload, as rules without clock, storage or network.
 *
 *     receiving ──the last byte──▶ sealing ──R2 has it whole──▶ publishing ──the catalogue has it──▶ complete
 *         └───────────────────────────┴── cancelled, expired, wrong digest ──▶ ended ──cleared──▶ (gone)
 *
 * `offset` bytes are kept: parts that R2 has, and a tail shorter than a part. They are acknowledged, and survive
 * whatever happens. From "sealing" on nothing can be added, and the rest happens by itself, if need be by alarm.
 */

export type Phase = "receiving" | "sealing" | "publishing" | "complete" | "ended";

/** One file; or, for tus's concatenation, a piece of one, or one made of such pieces. */
export type Kind = "whole" | "partial" | "final";

/** The part of a session that the rules look at. Sizes are bytes. */
export interface Progress {
  phase: Phase;
  kind: Kind;
  offset: number;
  /** Null as long as nobody has said it. */
  length: number | null;
  /** tus, and early drafts: the byte at `length` ends the upload. Else only a request that says so does. */
  endsAtLength: boolean;
}

/** What a request wants to add. */
export interface Addition {
  offset: number;
  /** What the request says that the whole is. */
  length: number | null;
  /** How much it brings, if it says so. */
  contentLength: number | null;
  /** It brings all the rest. */
  isLast: boolean;
}

export type Refusal =
  | "final"
  | "complete"
  | "offset-mismatch"
  | "length-conflict"
  | "beyond-length"
  | "too-large";

/** Why an addition cannot be made, or the length that the upload has with it. */
export function admit(
  state: Progress,
  addition: Addition,
  maxUnknownLength: number,
): { refusal: Refusal } | { length: number | null } {
  if (state.kind === "final") return { refusal: "final" };
  if (state.phase !== "receiving") return { refusal: "complete" };
  if (addition.offset !== state.offset) return { refusal: "offset-mismatch" };
  const end = addition.contentLength === null ? null : addition.offset + addition.contentLength;
  const said = [state.length, addition.length, addition.isLast ? end : null].filter(
    (length) => length !== null,
  );
  const [length = null] = said;
  if (said.some((other) => other !== length)) return { refusal: "length-conflict" };
  if (length !== null && length < state.offset) return { refusal: "length-conflict" };
  if (length !== null && end !== null && end > length) return { refusal: "beyond-length" };
  // Its parts have the least size, as long as nobody knows how many there will be.
  if (state.length === null && Math.max(length ?? 0, end ?? 0) > maxUnknownLength)
    return { refusal: "too-large" };
  return { length };
}

/** Whether nothing more can come. */
export const isWhole = ({ offset, length, endsAtLength }: Progress): boolean =>
  endsAtLength && offset === length;

/** How a body ended: at its end, or at the upload's; or its sender broke off, or another request took over. */
export type BodyEnd = "ended" | "overflow" | "interrupted" | "preempted";

/**
 * What becomes of an addition whose body has ended; `state` is with all that has come of it. `isKept`: it is
 * acknowledged; else only the parts are that R2 has already. Nothing that was refused completes an upload.
 */
export function conclude(
  state: Progress,
  end: BodyEnd,
  isLast: boolean,
): { isKept: boolean; phase: Phase; length: number | null; refusal?: BodyEndRefusal } {
  const { length, offset } = state;
  if (end === "overflow") {
    const refusal = length === null ? "too-large" : "beyond-length";
    return { isKept: false, phase: "receiving", length, refusal };
  }
  if (end === "ended" && isLast) {
    return length === null || length === offset
      ? { isKept: true, phase: "sealing", length: offset }
      : { isKept: true, phase: "receiving", length, refusal: "length-conflict" };
  }
  const phase = isWhole(state) ? "sealing" : "receiving";
  return end === "ended" ? { isKept: true, phase, length } : { isKept: true, phase, length, refusal: end };
}

export type BodyEndRefusal = Refusal | "interrupted" | "preempted";

const DAY_MS = 24 * 60 * 60 * 1000;
/** After the last byte. */
export const IDLE_MS = DAY_MS;
/** From the beginning: R2 gives up a multipart upload after seven days. */
export const MAX_LIFE_MS = 6 * DAY_MS;

/** When an upload is given up that was active at `nowMs`. */
export const expiryOf = (createdAtMs: number, nowMs: number): number =>
  Math.min(nowMs + IDLE_MS, createdAtMs + MAX_LIFE_MS);

/** What decides how long an upload stays; times are ms since the epoch. */
export interface Lifetime {
  createdAtMs: number;
  expiresAtMs: number;
  /** Of a partial upload: final ones that are being made of it, and until when its bytes stay for each at least. */
  pins: Record<string, number>;
}

/** All the bytes are here, and it is not yet a file. */
export const isSealing = (state: Progress): boolean =>
  state.phase === "sealing" ||
  state.phase === "publishing" ||
  (state.phase === "receiving" && isWhole(state));

/** Whether it is to be given up; what has all its bytes, not before it must be. */
export const isOver = (state: Progress & Lifetime, nowMs: number): boolean =>
  (isSealing(state) ? state.createdAtMs + MAX_LIFE_MS : state.expiresAtMs) <= nowMs;

/** Until when it is pinned; 0 if it never was. */
export const lastPin = ({ pins }: Pick<Lifetime, "pins">): number => Math.max(0, ...Object.values(pins));
