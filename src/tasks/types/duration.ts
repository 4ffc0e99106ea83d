/** Durations as code writes them: milliseconds, or a number with a unit. */

/** Milliseconds, or `"30s"`, `"5m"`, `"12h"`, `"7d"`, `"500ms"`. */
export type Duration = number | string;

const UNITS_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** The longest that a task can sleep or wait: it cannot be submitted for later either. */
export const MAX_DURATION_MS = 366 * 86_400_000;

/** In ms; what is negative is 0. Throws a `RangeError` for what is no duration, or more than a year. `what`: for its message. */
export function durationMs(duration: Duration, what: string): number {
  const [, number, unit = ""] = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(String(duration)) ?? [];
  const ms = typeof duration === "number" ? duration : Number(number) * (UNITS_MS[unit] ?? Number.NaN);
  if (Number.isNaN(ms))
    throw new RangeError(
      `${what} must be milliseconds, or a number with one of the units ms, s, m, h and d: "5m".`,
    );
  if (ms > MAX_DURATION_MS) throw new RangeError(`${what} must last at most a year.`);
  return Math.max(0, ms);
}
