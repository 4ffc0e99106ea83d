/**
 * When a schedule runs, as rules without clock, storage or network.
 *
 * A tick is a moment that the pattern names; the run of a tick is the one task that is enqueued for it, under a key
 * made of the schedule and the tick, so that it is one however often it is tried.
 *
 *     tick ──at most 60 s late──────────────▶ taken ──the run before has ended──▶ enqueued
 *       │                                     ▲   │
 *       └──later (nobody was there)──▶ missed ┘   └──the run before goes on──▶ waits (queue) | dropped (skip)
 *                                (run_once: the last of them)
 *
 * Patterns are read, and daylight saving time is kept, by croner. A time that the clock jumps over runs at the jump,
 * and one that comes twice runs the first time; but `*` and steps are intervals, which know nothing of either.
 */
import { Cron } from "croner";

export const OVERLAPS = ["skip", "queue"] as const;
export type Overlap = (typeof OVERLAPS)[number];
export const MISSED_POLICIES = ["run_once", "skip"] as const;
export type MissedPolicy = (typeof MISSED_POLICIES)[number];

/** A tick that is later than this has been missed. */
export const MAX_LATE_MS = 60_000;
/** Ticks that may wait for the run before. */
export const MAX_WAITING = 100;
/** Of one downtime, no more ticks are counted: each costs some 30 µs. */
export const MAX_COUNTED = 100;

/** When: a pattern of five fields, on the clock of an IANA time zone. */
export interface Timing {
  cron: string;
  timeZone: string;
}

const FIELDS = [
  ["minute", "0 to 59"],
  ["hour", "0 to 23"],
  ["day of the month", "1 to 31, L for the last, or 15W for the weekday nearest to the 15th"],
  ["month", "1 to 12, or JAN to DEC"],
  ["day of the week", "0 to 7, or SUN to SAT, with #2 for the second, or L for the last, of the month"],
] as const;

/** What is wrong with a timing, if anything is: its pattern, its time zone, or that it would never run after `nowMs`. */
export function faultOf(timing: Timing, nowMs: number): { at: keyof Timing; detail: string } | undefined {
  const detail = faultOfZone(timing.timeZone);
  if (detail !== undefined) return { at: "timeZone", detail };
  const fault = faultOfPattern(timing.cron);
  if (fault !== undefined) return { at: "cron", detail: fault };
  if (nextRuns(timing, 1, nowMs).length > 0) return undefined;
  return { at: "cron", detail: `There is no day that "${timing.cron}" names: it would never run.` };
}

/** The first `n` ticks after `afterMs`, in order; fewer if the pattern names no more. Throws if it cannot be read. */
export function nextRuns(timing: Timing, n: number, afterMs: number): number[] {
  return read(timing)
    .nextRuns(n, new Date(afterMs))
    .map((date) => date.getTime());
}

/** The one key of the run of a tick. */
export const runKey = (scheduleId: string, tickAtMs: number) => `schedule:${scheduleId}@${tickAtMs}`;

/** The part of a schedule that the rules look at. */
export interface ScheduleState extends Timing {
  overlap: Overlap;
  missed: MissedPolicy;
  /** The first tick that nothing has been decided about. */
  nextAtMs: number;
  /** Ticks that were taken and are not enqueued yet. */
  waiting: number;
  /** The run before has not ended. */
  isBusy: boolean;
}

/** What becomes of the ticks up to now. */
export interface Decision {
  /** The tick that is taken, if one is: it is to be enqueued as soon as no run before it is left. */
  takeAtMs: number | null;
  /** Ticks that are dropped because of the run before: at most one. */
  skipped: number;
  /** Ticks that nobody was there for, save the one that is taken; at most `MAX_COUNTED`. */
  missed: number;
  /** The first tick after now. */
  nextAtMs: number;
}

/** Decides about every tick up to `nowMs`. Throws if there is none after it, or the pattern cannot be read. */
export function decideTick(state: ScheduleState, nowMs: number): Decision {
  const { nextAtMs } = state;
  if (nextAtMs > nowMs) return { takeAtMs: null, skipped: 0, missed: 0, nextAtMs };
  const [after] = nextRuns(state, 1, nowMs);
  if (after === undefined) throw new RangeError(`"${state.cron}" names no day any more.`);
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

/** The last tick at or before `nowMs`; croner gives those before a moment, or within the second of it. */
function latestRun(timing: Timing, nowMs: number): number {
  const [latest] = read(timing).previousRuns(1, new Date(nowMs + 1));
  return latest?.getTime() ?? Number.NEGATIVE_INFINITY;
}

/** Ticks from `firstAtMs`, which is one, to before `lastAtMs`. */
function countBetween(timing: Timing, firstAtMs: number, lastAtMs: number): number {
  if (firstAtMs === lastAtMs) return 0;
  return nextRuns(timing, MAX_COUNTED, firstAtMs - 1).filter((atMs) => atMs < lastAtMs).length;
}

/** Without a function it is a calculator: it starts no timer. */
function read({ cron, timeZone }: Timing): Cron {
  return new Cron(cron, { timezone: timeZone, mode: "5-part", fixedTimeRule: "no-wildcard", paused: true });
}

/** Not only croner's word: it also takes dates and `@daily`, and its message would not say which field is meant. */
function faultOfPattern(cron: string): string | undefined {
  const fields = cron.trim().split(/\s+/);
  if (fields.length !== FIELDS.length) {
    const count = cron.trim() === "" ? "none" : fields.length;
    return `A pattern has 5 fields (minute, hour, day of the month, month, day of the week); this has ${count}.`;
  }
  for (const [i, [name, range]] of FIELDS.entries()) {
    const alone = FIELDS.map((_, j) => (j === i ? (fields[i] ?? "") : "*")).join(" ");
    if (!isReadable(alone))
      return `"${fields[i]}" is no ${name}: ${range}; with *, lists (1,2), ranges (1-5), steps (*/2).`;
  }
  return isReadable(cron) ? undefined : `"${cron}" is no pattern.`;
}

function isReadable(cron: string): boolean {
  try {
    return read({ cron, timeZone: "UTC" }).getPattern() !== undefined;
  } catch {
    return false;
  }
}

/** An offset is refused: it is not a zone, and would not keep daylight saving time. */
function faultOfZone(timeZone: string): string | undefined {
  try {
    if (/^[A-Z]/i.test(timeZone) && new Intl.DateTimeFormat("en", { timeZone }).format(0)) return undefined;
  } catch {
    // Told below.
  }
  return `"${timeZone}" is not a time zone of the IANA database, such as UTC or Europe/Berlin.`;
}
