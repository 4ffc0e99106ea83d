/**
 * Cron patterns: five fields, or a nickname such as `@daily`, as croner reads them in the local time of a time zone.
 *
 * A pattern is kept in one form (`normalizePattern`): single spaces, and names of months and days by three letters, which
 * croner knows. If both the day of the month and the day of the week are restricted, a day that fits either one runs, as cron
 * has it; with a `+` before the day of the week, it must fit both. Only `*` and `?` restrict nothing: `*\/2` does.
 *
 * Croner handles daylight saving time. A fixed time that the clock skips runs right after the gap, and one that occurs twice
 * runs the first time only. `*` and steps are intervals, which such changes do not affect.
 */
import { Cron } from "croner";
import { timeZoneError } from "./time-zones.ts";

/** A cron pattern in the local time of an IANA time zone. */
export interface Timing {
  cron: string;
  timeZone: string;
}

const FIELDS = [
  ["minute", "0 to 59"],
  ["hour", "0 to 23"],
  ["day of the month", "1 to 31, L for the last day, or 15W for the weekday nearest to the 15th"],
  ["month", "1 to 12, JAN to DEC, or January to December"],
  [
    "day of the week",
    "0 to 7, SUN to SAT, or Sunday to Saturday, with #2 for the second or L for the last of the month",
  ],
] as const;

/** What they stand for is croner's. `@reboot` names no time. */
const NICKNAMES = ["@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"];

const MONTHS = "JANUARY FEBRUARY MARCH APRIL MAY JUNE JULY AUGUST SEPTEMBER OCTOBER NOVEMBER DECEMBER".split(
  " ",
);
const DAYS = "SUNDAY MONDAY TUESDAY WEDNESDAY THURSDAY FRIDAY SATURDAY".split(" ");

/** The form in which a pattern is kept. What is not valid stays as it is, to be told so. */
export function normalizePattern(cron: string): string {
  const fields = cron.trim().split(/\s+/);
  if (fields.length === 1) return (fields[0] ?? "").toLowerCase();
  return fields
    .map((field, i) => (i === 3 ? short(field, MONTHS) : i === 4 ? short(field, DAYS) : field))
    .join(" ");
}

/** With names by their first three letters. The last Friday may be `FRIDAYL`. */
const short = (field: string, names: readonly string[]): string =>
  field.replaceAll(/[a-z]+/gi, (word) => {
    const name = names.find((full) => [full, `${full}L`].includes(word.toUpperCase()));
    return name === undefined ? word : name.slice(0, 3) + word.slice(name.length);
  });

/** What is wrong with a timing, if anything: its pattern, its time zone, or that it would never run after `nowMs`. */
export function timingError(timing: Timing, nowMs: number): { at: keyof Timing; detail: string } | undefined {
  const zoneDetail = timeZoneError(timing.timeZone);
  if (zoneDetail !== undefined) return { at: "timeZone", detail: zoneDetail };
  const patternDetail = patternError(timing.cron);
  if (patternDetail !== undefined) return { at: "cron", detail: patternDetail };
  if (nextRuns(timing, 1, nowMs).length > 0) return undefined;
  return { at: "cron", detail: `No future day matches "${timing.cron}": it would never run.` };
}

/** The first `n` ticks after `afterMs`, in order; fewer if the pattern has no more. Throws if it cannot be read. */
export function nextRuns(timing: Timing, n: number, afterMs: number): number[] {
  return parsePattern(timing)
    .nextRuns(n, new Date(afterMs))
    .map((date) => date.getTime());
}

/** The last tick at or before `nowMs`. Croner returns ticks before a moment, or within the same second. */
export function latestRun(timing: Timing, nowMs: number): number {
  const [latest] = parsePattern(timing).previousRuns(1, new Date(nowMs + 1));
  return latest?.getTime() ?? Number.NEGATIVE_INFINITY;
}

/** The patterns that were read last. Reading one costs as much as many ticks. */
const patterns = new Map<string, Cron>();
const MAX_PATTERNS = 200;

/** Without a function to call, a `Cron` only calculates: it starts no timer, and can be used again. */
export function parsePattern({ cron, timeZone }: Timing): Cron {
  const key = `${timeZone} ${cron}`;
  const known = patterns.get(key);
  if (known) return known;
  const pattern = new Cron(normalizePattern(cron), {
    timezone: timeZone,
    mode: "5-part",
    fixedTimeRule: "no-wildcard",
    paused: true,
  });
  const [oldest = ""] = patterns.keys();
  if (patterns.size >= MAX_PATTERNS) patterns.delete(oldest);
  patterns.set(key, pattern);
  return pattern;
}

/** Checks more than croner does: it also accepts dates, and its messages do not name the field. */
function patternError(cron: string): string | undefined {
  const text = normalizePattern(cron);
  if (text.startsWith("@")) return NICKNAMES.includes(text) ? undefined : nicknameError(cron.trim());
  const fields = text === "" ? [] : text.split(" ");
  if (fields.length !== FIELDS.length) {
    const count = fields.length === 0 ? "none" : fields.length;
    return `A pattern must have 5 fields (minute, hour, day of the month, month, day of the week); this has ${count}.`;
  }
  for (const [i, [name, range]] of FIELDS.entries()) {
    const alone = FIELDS.map((_, j) => (j === i ? (fields[i] ?? "") : "*")).join(" ");
    if (!isReadable(alone))
      return `"${fields[i]}" is not a valid ${name}: ${range}; also *, lists (1,2), ranges (1-5), steps (*/2).`;
  }
  return isReadable(text) ? undefined : `"${cron}" is not a valid pattern.`;
}

const nicknameError = (text: string) =>
  `"${text}" is not one of ${NICKNAMES.join(", ")}. Else a pattern has 5 fields.`;

function isReadable(cron: string): boolean {
  try {
    return parsePattern({ cron, timeZone: "UTC" }).getPattern() !== undefined;
  } catch {
    return false;
  }
}
