/**
 * When a schedule runs, as rules without clock, storage or network.
 *
 * A tick is a moment that the pattern names. The run of a tick is the one task that is enqueued for it, under a key
 * made of the schedule and the tick. So there is only one run, however often enqueuing it is tried.
 *
 *     tick ──at most 60 s late──────────▶ taken ──the previous run has ended──▶ enqueued
 *       │                                 ▲   │
 *       └──later (a downtime)──▶ missed ──┘   └──the previous run goes on──▶ waits (queue) | dropped (skip)
 *                            (run_once: the last one)
 *
 * Croner reads the patterns and handles daylight saving time. A fixed time that the clock skips runs right after the
 * gap, and one that occurs twice runs the first time only. `*` and steps are intervals, which such changes do not
 * affect.
 */
import { Cron } from "croner";
import { timeZoneError } from "./time-zones.ts";

export const OVERLAPS = ["skip", "queue"] as const;
export type Overlap = (typeof OVERLAPS)[number];
export const MISSED_POLICIES = ["run_once", "skip"] as const;
export type MissedPolicy = (typeof MISSED_POLICIES)[number];

/** A tick that is later than this counts as missed. */
const MAX_LATE_MS = 60_000;
/** How many ticks may wait for the previous run. */
export const MAX_WAITING = 100;
/** How many missed ticks are counted per downtime: each costs about 30 µs. */
export const MAX_COUNTED = 100;

/** A cron pattern of five fields, in the local time of an IANA time zone. */
export interface Timing {
  cron: string;
  timeZone: string;
}

const FIELDS = [
  ["minute", "0 to 59"],
  ["hour", "0 to 23"],
  ["day of the month", "1 to 31, L for the last day, or 15W for the weekday nearest to the 15th"],
  ["month", "1 to 12, or JAN to DEC"],
  ["day of the week", "0 to 7, or SUN to SAT, with #2 for the second or L for the last of the month"],
] as const;

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

/** The key of a tick's run: the same however often it is enqueued. */
export const runKey = (scheduleId: string, tickAtMs: number) => `schedule:${scheduleId}@${tickAtMs}`;

/** The part of a schedule that the rules use. */
export interface ScheduleState extends Timing {
  overlap: Overlap;
  missed: MissedPolicy;
  /** The first tick that is not decided yet. */
  nextAtMs: number;
  /** How many ticks were taken but not enqueued yet. */
  waiting: number;
  /** Whether the previous run has not ended. */
  isBusy: boolean;
}

/** What happens to the ticks up to now. */
export interface Decision {
  /** The tick that is taken, if any: it is enqueued as soon as all earlier runs have ended. */
  takeAtMs: number | null;
  /** How many ticks are dropped because of the previous run: at most one. */
  skipped: number;
  /** How many ticks were missed, without the one that is taken; at most `MAX_COUNTED`. */
  missed: number;
  /** The first tick after now. */
  nextAtMs: number;
}

/** Decides every tick up to `nowMs`. Throws if the pattern cannot be read or names no tick after that. */
export function decideTick(state: ScheduleState, nowMs: number): Decision {
  const { nextAtMs } = state;
  if (nextAtMs > nowMs) return { takeAtMs: null, skipped: 0, missed: 0, nextAtMs };
  const [after] = nextRuns(state, 1, nowMs);
  if (after === undefined) throw new RangeError(`No future day matches "${state.cron}".`);
  const latestAtMs = Math.max(nextAtMs, latestRun(state, nowMs));
  const earlier = countBetween(state, nextAtMs, latestAtMs);
  const isMissed = nowMs - latestAtMs > MAX_LATE_MS;
  if (isMissed && state.missed === "skip") {
    return { takeAtMs: null, skipped: 0, missed: Math.min(earlier + 1, MAX_COUNTED), nextAtMs: after };
  }
  const hasRoom =
    state.overlap === "queue" ? state.waiting < MAX_WAITING : !state.isBusy && state.waiting === 0;
  return {
    takeAtMs: hasRoom ? latestAtMs : null,
    skipped: hasRoom ? 0 : 1,
    missed: earlier,
    nextAtMs: after,
  };
}

/** The last tick at or before `nowMs`. Croner returns ticks before a moment, or within the same second. */
function latestRun(timing: Timing, nowMs: number): number {
  const [latest] = parsePattern(timing).previousRuns(1, new Date(nowMs + 1));
  return latest?.getTime() ?? Number.NEGATIVE_INFINITY;
}

/** The number of ticks from `firstAtMs`, which is a tick, to before `lastAtMs`; at most `MAX_COUNTED`. */
function countBetween(timing: Timing, firstAtMs: number, lastAtMs: number): number {
  const pattern = parsePattern(timing);
  let count = 0;
  for (let atMs = firstAtMs; atMs < lastAtMs && count < MAX_COUNTED; count++)
    atMs = pattern.nextRun(new Date(atMs))?.getTime() ?? lastAtMs;
  return count;
}

/** The patterns that were read last. Reading one costs as much as many ticks. */
const patterns = new Map<string, Cron>();
const MAX_PATTERNS = 200;

/** Without a function to call, a `Cron` only calculates: it starts no timer, and can be used again. */
function parsePattern({ cron, timeZone }: Timing): Cron {
  const key = `${timeZone} ${cron}`;
  const known = patterns.get(key);
  if (known) return known;
  const pattern = new Cron(cron, {
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

/** Checks more than croner does: it also accepts dates and `@daily`, and its messages do not name the field. */
function patternError(cron: string): string | undefined {
  const fields = cron.trim().split(/\s+/);
  if (fields.length !== FIELDS.length) {
    const count = cron.trim() === "" ? "none" : fields.length;
    return `A pattern must have 5 fields (minute, hour, day of the month, month, day of the week); this has ${count}.`;
  }
  for (const [i, [name, range]] of FIELDS.entries()) {
    const alone = FIELDS.map((_, j) => (j === i ? (fields[i] ?? "") : "*")).join(" ");
    if (!isReadable(alone))
      return `"${fields[i]}" is not a valid ${name}: ${range}; also *, lists (1,2), ranges (1-5), steps (*/2).`;
  }
  return isReadable(cron) ? undefined : `"${cron}" is not a valid pattern.`;
}

function isReadable(cron: string): boolean {
  try {
    return parsePattern({ cron, timeZone: "UTC" }).getPattern() !== undefined;
  } catch {
    return false;
  }
}
