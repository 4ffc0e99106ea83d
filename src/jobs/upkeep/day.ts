/** A calendar day in a time zone, as the time from its first moment to the first of the next. */
export interface Day {
  fromMs: number;
  untilMs: number;
}

/** `date`: `2026-11-26`. A day has 23 to 25 hours where clocks are changed. */
export function dayOf(date: string, timeZone: string): Day {
  const midnight = Date.parse(`${date}T00:00:00Z`);
  return { fromMs: startOf(midnight, timeZone), untilMs: startOf(midnight + 86_400_000, timeZone) };
}

/** The date in a time zone at a time. */
export const dateAt = (atMs: number, timeZone: string): string => isoIn(atMs, timeZone).slice(0, 10);

/** Whether the first moment of a day has come. */
export const hasBegun = (date: string, timeZone: string, nowMs: number): boolean =>
  dateAt(nowMs, timeZone) >= date;

/** The date of the day before. */
export const dayBefore = (date: string): string =>
  new Date(Date.parse(`${date}T00:00:00Z`) - 86_400_000).toISOString().slice(0, 10);

/** When the clocks there show midnight; where that hour does not exist, when they show the next. */
function startOf(midnightMs: number, timeZone: string): number {
  const offsetAt = (atMs: number) => Date.parse(`${isoIn(atMs, timeZone)}Z`) - atMs;
  const guess = midnightMs - offsetAt(midnightMs);
  return midnightMs - offsetAt(guess);
}

/** The time on the clocks of a time zone, as in ISO 8601, to the second. */
function isoIn(atMs: number, timeZone: string): string {
  const at = Math.floor(atMs / 1000) * 1000;
  return new Date(at).toLocaleString("sv-SE", { timeZone }).replace(" ", "T");
}
