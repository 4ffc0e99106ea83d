/**
 * How many calls a second: the generic cell rate algorithm, in its virtual scheduling form (ITU-T I.371).
 *
 * One number is kept, the time at which the next call would be due if calls came exactly at the rate. A call may
 * come earlier than that by `burst - 1` intervals; so `burst` calls may come at once after a rest, and over any time
 * `t` no more than `burst + t × perSecond`.
 */
import type { Rate } from "../upstreams.ts";

/** When the next call may come, in ms since the epoch, given when it is due. */
export function rateAllowsAt({ perSecond, burst }: Rate, dueAtMs: number): number {
  return dueAtMs - (burst - 1) * (1000 / perSecond);
}

/** When the next call is due, after one at `nowMs`. */
export function dueAfterCall({ perSecond }: Rate, dueAtMs: number, nowMs: number): number {
  return Math.max(dueAtMs, nowMs) + 1000 / perSecond;
}
