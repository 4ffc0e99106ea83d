/**
 * The date of a version of a file, as HTTP has dates: in whole seconds (`Last-Modified`).
 *
 * A second is long enough for two versions, and a client that has one of them must not take it for the other. So the
 * date of a version is the second in which it was written if it is the first one there, and else the second after that.
 * `Last-Modified` is never in the future, so nobody learns the later date before its second begins, and by then that
 * version is the last of the second before. Each date that anyone was told belongs to one version only.
 *
 * `If-Modified-Since` and `If-Unmodified-Since` are compared with the date itself, and a version whose date is still to
 * come counts as modified since any date so far. So when versions follow each other quickly, conditions on dates fail
 * until the second is over: a download that was not necessary, or a 412.
 *
 * Even so a date is not used for `If-Range`: RFC 9110 §13.1.5 lets clients send one only where there is no ETag.
 */

/** The last version of the same id before this one, replaced, removed or expired. */
export interface PreviousVersion {
  datedAtMs: number;
  /** Until when it was current. */
  endedAtMs: number;
}

/** The date of a version that is written now, in ms since the epoch. */
export function dateOf(nowMs: number, previous: PreviousVersion | undefined): number {
  const second = wholeSeconds(nowMs);
  if (!previous || previous.endedAtMs < second) return second;
  const next = second + 1000;
  // Later than the next second only if the clock was set back.
  return previous.datedAtMs > next ? previous.datedAtMs + 1000 : next;
}

/** `Last-Modified` of a version with this date. */
export const lastModified = (datedAtMs: number, nowMs: number): number =>
  Math.min(datedAtMs, wholeSeconds(nowMs));

export const wholeSeconds = (ms: number): number => Math.floor(ms / 1000) * 1000;
