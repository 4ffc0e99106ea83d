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
 */
import { latestRun, nextRuns, parsePattern, type Timing } from "./pattern.ts";

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

/** The key of a tick's run: the same however often it is enqueued. */
export const runKey = (scheduleId: string, tickAtMs: number) => `schedule:${scheduleId}@${tickAtMs}`;

/** Instead of the first tick that is not decided: the schedule is paused. The year 9999. */
export const NEVER_MS = Date.UTC(9999, 0, 1);

interface Occupancy {
  overlap: Overlap;
  /** How many ticks were taken but not enqueued yet. */
  waiting: number;
  /** Whether the previous run has not ended. */
  isBusy: boolean;
}

/** The part of a schedule that the rules use. */
export interface ScheduleState extends Timing, Occupancy {
  missed: MissedPolicy;
  /** The first tick that is not decided yet; `NEVER_MS` while it is paused. */
  nextAtMs: number;
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
  const isTaken = hasRoom(state);
  return {
    takeAtMs: isTaken ? latestAtMs : null,
    skipped: isTaken ? 0 : 1,
    missed: earlier,
    nextAtMs: after,
  };
}

/** Whether another tick, or a run by hand, can be taken now: it is enqueued as soon as all earlier runs have ended. */
export const hasRoom = ({ overlap, waiting, isBusy }: Occupancy): boolean =>
  overlap === "queue" ? waiting < MAX_WAITING : !isBusy && waiting === 0;

/**
 * The first tick after a change to `spec` at `nowMs`; `NEVER_MS` while it is paused. If the timing stays the same, a tick that
 * is already due stays due. Those in the time of a pause are gone. Throws if the pattern names no tick after `nowMs`.
 */
export function nextAfterChange(
  before: (Timing & { nextAtMs: number }) | undefined,
  spec: Timing & { paused?: boolean | undefined },
  nowMs: number,
): number {
  if (spec.paused) return NEVER_MS;
  const isSame = before && before.cron === spec.cron && before.timeZone === spec.timeZone;
  if (isSame && before.nextAtMs < NEVER_MS) return before.nextAtMs;
  const [nextAtMs] = nextRuns(spec, 1, nowMs);
  if (nextAtMs === undefined) throw new RangeError(`No future day matches "${spec.cron}".`);
  return nextAtMs;
}

/** A run of a schedule: when it was due, its task, and when that was enqueued. */
export type Run = [dueAtMs: number, taskId: string, enqueuedAtMs: number];

/** How many runs a schedule remembers. */
export const MAX_RUNS = 20;

/** The latest runs, newest first, with one that was enqueued just now, perhaps not for the first time. */
export const withRun = (runs: readonly Run[], [dueAtMs, taskId, enqueuedAtMs]: Run): Run[] =>
  runs.some(([known]) => known === dueAtMs)
    ? [...runs]
    : [[dueAtMs, taskId, enqueuedAtMs] satisfies Run, ...runs].slice(0, MAX_RUNS);

/** The number of ticks from `firstAtMs`, which is a tick, to before `lastAtMs`; at most `MAX_COUNTED`. */
function countBetween(timing: Timing, firstAtMs: number, lastAtMs: number): number {
  const pattern = parsePattern(timing);
  let count = 0;
  for (let atMs = firstAtMs; atMs < lastAtMs && count < MAX_COUNTED; count++)
    atMs = pattern.nextRun(new Date(atMs))?.getTime() ?? lastAtMs;
  return count;
}
