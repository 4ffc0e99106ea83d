/**
 * How many calls a second: the generic cell rate algorithm, in its virtual scheduling form (ITU-T I.371).
 *
 * It keeps one number: when the next call would be due if calls came exactly at the rate. A call may come up to
 * `burst - 1` intervals before that. So `burst` calls may come at once after a rest, and at most
 * `burst + t × perSecond` over any time `t`.
 */
import type { Rate } from "../settings.ts";

/** The earliest time for the next call, in ms since the epoch, given when it is due. */
export function rateAllowsAt({ perSecond, burst }: Rate, dueAtMs: number): number {
  return dueAtMs - (burst - 1) * (1000 / perSecond);
}

/** When the call after the one at `nowMs` is due. */
export function dueAfterCall({ perSecond }: Rate, dueAtMs: number, nowMs: number): number {
  return Math.max(dueAtMs, nowMs) + 1000 / perSecond;
}
