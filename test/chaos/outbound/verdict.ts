/** What was promised, and what came of it. */
import type { Promised } from "../promised.ts";
import type { Call } from "./clients.ts";
import type { OrderCount } from "./order.ts";
import type { Seen } from "./upstream.ts";

/** Something that was done to Sluice. Times are ms since the epoch. */
export interface Blow {
  is: "crash" | "kill" | "freeze" | "burst";
  atMs: number;
  /** When it was over: the process runs again, the burst has ended. */
  untilMs: number;
}

export interface Record {
  startedAtMs: number;
  limit: number;
  leaseMs: number;
  calls: Call[];
  /** Calls that had no end when the run had. */
  unsettled: number;
  blows: Blow[];
  order: OrderCount;
  seen: Seen;
  /** What the semaphore said at the end, and how long after the last call it said so first. */
  left: { held: number; waiting: number; afterMs: number };
}

/** Answers with which Sluice turns a call away, and may. */
const REFUSALS = new Set(["paused", "wait-limit", "queue-full", "breaker-open"]);
/** What else a call may get that was in a process while it was frozen. */
const AFTER_A_FREEZE = new Set(["upstream-timeout", "upstream-unreachable", "semaphore-unavailable"]);
/** A pause of up to 2 s follows a burst, then a ramp of 5 s. */
const AFTER_A_BURST_MS = 7_000;
const QUICK_RECOVERY_MS = 2_000;
const MARGIN_MS = 5_000;

export function judge(record: Record): Promised[] {
  const { limit, leaseMs, seen, left, order, unsettled } = record;
  const strange = record.calls.filter((call) => !isProper(call, record.blows));
  const recoveries = findRecoveries(record);
  const slow = recoveries.filter(({ ms, mostMs }) => ms > mostMs);
  return [
    {
      what: `never more than ${limit} calls in flight at the upstream`,
      isKept: seen.maxInFlight <= limit && seen.calls > 0,
      measured: `${seen.maxInFlight} at most, ${seen.meanInFlight.toFixed(2)} on average, ${seen.calls} calls`,
    },
    {
      what: "every call answered or cancelled",
      isKept: strange.length === 0 && unsettled === 0,
      measured: `${strange.length} otherwise, ${unsettled} without an end, of ${record.calls.length}`,
    },
    {
      what: "nothing held, nobody waiting at the end",
      isKept: left.held === 0 && left.waiting === 0 && left.afterMs <= leaseMs + MARGIN_MS,
      measured: `${left.held} held, ${left.waiting} waiting, ${left.afterMs} ms after the last call`,
    },
    {
      what: "order kept among those who wait at the same time",
      isKept: order.broken === 0 && order.grantedInOneLife > 0,
      measured: `${order.broken} overtaken, of ${order.grantedInOneLife} that no crash sent away`,
    },
    {
      what: "recovery in time",
      isKept: slow.length === 0,
      measured: `${slow.length} too slow, of ${recoveries.length}`,
    },
  ];
}

/** Calls by how they ended; what is not proper is marked. */
export function tally({ calls, blows }: Record): Map<string, number> {
  const counts = new Map<string, number>();
  for (const call of calls) {
    const name = `${isProper(call, blows) ? "" : "! "}${call.at}: ${describeEnd(call)}`;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return new Map([...counts].toSorted(([a], [b]) => a.localeCompare(b)));
}

export interface Recovery {
  after: string;
  ms: number;
  /** How long it may take. */
  mostMs: number;
}

/**
 * For each blow, the time to the first good answer to a call that reached the upstream after it. A freeze is another
 * matter: what waits in the frozen process is still granted permits, until it has them all. There it is the longest
 * time without a good answer.
 */
export function findRecoveries({ calls, blows, seen, leaseMs }: Record): Recovery[] {
  const arrivals = new Map(seen.arrivals);
  const good = calls
    .filter(({ end }) => end.is === "answered" && end.status === 200)
    .map(({ id, endedAtMs }) => ({ arrivedAtMs: arrivals.get(id) ?? 0, endedAtMs }));
  return blows.map((blow) => {
    const answers = good
      .filter(({ arrivedAtMs }) => arrivedAtMs > blow.atMs)
      .map(({ endedAtMs }) => endedAtMs);
    const ms =
      blow.is === "freeze"
        ? longestGap([blow.atMs, ...answers])
        : answers.reduce((least, atMs) => Math.min(least, atMs), Infinity) - blow.atMs;
    const amid = blows.find((other) => other !== blow && isAmid(blow, other));
    const isPlain = !amid && (blow.is === "crash" || blow.is === "kill");
    const mostMs = isPlain ? QUICK_RECOVERY_MS : leaseMs + MARGIN_MS;
    return { after: amid ? `${blow.is} amid a ${amid.is}` : blow.is, ms, mostMs };
  });
}

function longestGap(timesMs: number[]): number {
  const inOrder = timesMs.toSorted((a, b) => a - b);
  return Math.max(...inOrder.map((atMs, i) => atMs - (inOrder[i - 1] ?? atMs)));
}

/** Whether something slower than a crash or a kill was under way. */
function isAmid({ atMs }: Blow, other: Blow): boolean {
  if (other.is === "burst")
    return other.atMs - QUICK_RECOVERY_MS < atMs && atMs < other.untilMs + AFTER_A_BURST_MS;
  return other.is === "freeze" && other.atMs - QUICK_RECOVERY_MS < atMs && atMs < other.untilMs;
}

function isProper(call: Call, blows: Blow[]): boolean {
  const { end } = call;
  if (end.is === "cancelled") return true;
  if (end.is === "refused") return hasSuffered(call, "kill", blows);
  if (end.is === "broken") return hasSuffered(call, "kill", blows) || hasSuffered(call, "freeze", blows);
  if (end.problem === undefined) return end.status === 200 || end.status === 429;
  return REFUSALS.has(end.problem) || (AFTER_A_FREEZE.has(end.problem) && hasSuffered(call, "freeze", blows));
}

/** Whether its process was struck while the call was under way. */
function hasSuffered({ at, beganAtMs, endedAtMs }: Call, is: Blow["is"], blows: Blow[]): boolean {
  return (
    at === "away" &&
    blows.some((blow) => blow.is === is && blow.atMs <= endedAtMs && beganAtMs <= blow.untilMs)
  );
}

function describeEnd({ end }: Call): string {
  if (end.is === "answered")
    return `answered ${end.status}${end.problem === undefined ? "" : ` ${end.problem}`}`;
  if (end.is === "cancelled") return `cancelled while ${end.when}`;
  return end.is === "broken" ? `broken off (${end.why})` : "not made, nobody listened";
}
