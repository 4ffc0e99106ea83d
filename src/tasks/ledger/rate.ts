/**
 * How fast tasks of a type may begin: the generic cell rate algorithm, in its virtual scheduling form (ITU-T I.371).
 *
 * It keeps one number: when the next task would be due if tasks began exactly at the rate. One may begin up to `burst - 1`
 * intervals before that. So at most `burst + t × perSecond` begin over any time `t`.
 */
import type { Rate } from "../types/define.ts";

/** The earliest time for the next task, given when it is due; both in ms since the epoch. */
export function rateAllowsAt({ perSecond, burst }: Rate, dueAtMs: number): number {
  return dueAtMs - (burst - 1) * (1000 / perSecond);
}

/** How many tasks may begin now. */
export function rateAllows(rate: Rate, dueAtMs: number, nowMs: number): number {
  const spareMs = nowMs - rateAllowsAt(rate, dueAtMs);
  return spareMs < 0 ? 0 : Math.min(rate.burst, 1 + Math.floor((spareMs * rate.perSecond) / 1000));
}

/** When the next task is due, after so many have begun at `nowMs`. */
export function dueAfter({ perSecond }: Rate, dueAtMs: number, nowMs: number, begun: number): number {
  return Math.max(dueAtMs, nowMs) + (begun * 1000) / perSecond;
}
