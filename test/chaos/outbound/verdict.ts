/** What Sluice promises, and whether a run kept it. */
import type { Promised } from "../promised.ts";
import type { Call } from "./clients.ts";
import type { OrderCount } from "./order.ts";
import type { Seen } from "./upstream.ts";

/** A fault that was injected. Times are ms since the epoch. */
export interface Fault {
  is: "crash" | "kill" | "freeze" | "burst";
  atMs: number;
  /** When it was over: the process ran again, or the burst ended. */
  untilMs: number;
}

export interface Record {
  startedAtMs: number;
  limit: number;
  /** The limit of the upstream whose semaphore has several shards. */
  shardedLimit: number;
  /** How many permits each limit key may have there. */
  perKey: number;
  maxPasses: number;
  leaseMs: number;
  calls: Call[];
  /** Calls that had not ended when the run did. */
  unsettled: number;
  faults: Fault[];
  order: OrderCount;
  seen: Seen;
  /** What the upstream with several shards has seen. */
  seenSharded: Seen;
  /** The status of all semaphores at the end, and how long after the last call it was reached. */
  left: { held: number; waiting: number; afterMs: number };
}

/** Problems with which Sluice may refuse a call. */
const REFUSALS = new Set(["paused", "wait-limit", "queue-full", "too-many-requests", "breaker-open"]);
/** Other problems that a call may get if its process was frozen meanwhile: afterwards, everybody seems to have been silent. */
const AFTER_A_FREEZE = new Set([
  "upstream-timeout",
  "upstream-unreachable",
  "request-timeout",
  "semaphore-unavailable",
]);
/** A pause of up to 2 s follows a burst, then a ramp of 5 s. */
const AFTER_A_BURST_MS = 7_000;
const QUICK_RECOVERY_MS = 2_000;
const MARGIN_MS = 5_000;

export function judge(record: Record): Promised[] {
  const { limit, shardedLimit, perKey, maxPasses, leaseMs, seen, seenSharded, left, order, unsettled } =
    record;
  const improper = record.calls.filter((call) => !isProper(call, record.faults));
  const brokenOff = record.calls.filter(({ end }) => end.is === "cancelled" && end.when === "sending");
  const whole = new Set([...seen.wholeUploads, ...seenSharded.wholeUploads]);
  const partsTakenForWhole = brokenOff.filter(({ id }) => whole.has(id));
  const recoveries = findRecoveries(record);
  const slow = recoveries.filter(({ ms, maxMs }) => ms > maxMs);
  return [
    {
      what: `never more than ${limit} permits in flight at the upstream`,
      isKept: seen.maxWeight <= limit && seen.calls > 0,
      measured: `${seen.maxWeight} at most, of ${seen.maxInFlight} calls at most, ${seen.meanInFlight.toFixed(2)} on average, ${seen.calls} calls`,
    },
    {
      what: `never more than ${shardedLimit} at the one with several shards`,
      isKept: seenSharded.maxWeight <= shardedLimit && seenSharded.calls > 0,
      measured: `${seenSharded.maxWeight} at most, of ${seenSharded.maxInFlight} calls at most, ${seenSharded.meanInFlight.toFixed(2)} on average, ${seenSharded.calls} calls`,
    },
    {
      what: "every call gets a response or is cancelled",
      isKept: improper.length === 0 && unsettled === 0,
      measured: `${improper.length} otherwise, ${unsettled} did not end, of ${record.calls.length}`,
    },
    {
      what: "no upload that broke off arrives as a whole",
      isKept: partsTakenForWhole.length === 0 && whole.size > 0,
      measured: `${partsTakenForWhole.length} did, of ${brokenOff.length}; ${whole.size} whole ones arrived`,
    },
    {
      what: "nothing held, nobody waiting at the end",
      isKept: left.held === 0 && left.waiting === 0 && left.afterMs <= leaseMs + MARGIN_MS,
      measured: `${left.held} held, ${left.waiting} waiting, ${left.afterMs} ms after the last call`,
    },
    {
      what: `none of the callers that wait at the same time is passed by more than ${maxPasses} of another isolate`,
      isKept: order.mostPassed <= maxPasses && order.grantedInOneLife > 0,
      measured: `by ${order.mostPassed} at most, of ${order.grantedInOneLife} that no crash interrupted`,
    },
    {
      what: `no limit key has more than ${perKey} permits where that is its limit`,
      isKept: seenSharded.maxUnderKey <= perKey && seenSharded.maxUnderKey > 0,
      measured: `${seenSharded.maxUnderKey} at most`,
    },
    {
      what: "keys and weights do not travel on",
      isKept: seen.leaked + seenSharded.leaked === 0,
      measured: `${seen.leaked + seenSharded.leaked} headers did`,
    },
    {
      what: "permits are handed on",
      isKept: order.handedOn > 0,
      measured: `${order.handedOn} were, of ${order.granted}`,
    },
    {
      what: "recovery in time",
      isKept: slow.length === 0,
      measured: `${slow.length} too slow, of ${recoveries.length}`,
    },
  ];
}

/** Calls counted by how they ended. Improper ends are marked with !. */
export function tally({ calls, faults }: Record): Map<string, number> {
  const counts = new Map<string, number>();
  for (const call of calls) {
    const name = `${isProper(call, faults) ? "" : "! "}${call.at}: ${describeEnd(call)}`;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return new Map([...counts].toSorted(([a], [b]) => a.localeCompare(b)));
}

export interface Recovery {
  after: string;
  ms: number;
  /** How long it may take. */
  maxMs: number;
}

/**
 * For each fault, the time to the first good response to a call that reached the upstream after it. A freeze differs:
 * the waiters in the frozen process are still granted permits, until they hold all of them. There it is the longest
 * time without a good response.
 */
export function findRecoveries({ calls, faults, seen, seenSharded, leaseMs }: Record): Recovery[] {
  const arrivals = new Map([...seen.arrivals, ...seenSharded.arrivals]);
  const good = calls
    .filter(({ end }) => end.is === "responded" && end.status === 200)
    .map(({ id, endedAtMs }) => ({ arrivedAtMs: arrivals.get(id) ?? 0, endedAtMs }));
  return faults.map((fault) => {
    const responses = good
      .filter(({ arrivedAtMs }) => arrivedAtMs > fault.atMs)
      .map(({ endedAtMs }) => endedAtMs);
    const ms =
      fault.is === "freeze"
        ? longestGap([fault.atMs, ...responses])
        : responses.reduce((least, atMs) => Math.min(least, atMs), Infinity) - fault.atMs;
    const amid = faults.find((other) => other !== fault && isAmid(fault, other));
    const isPlain = !amid && (fault.is === "crash" || fault.is === "kill");
    const maxMs = isPlain ? QUICK_RECOVERY_MS : leaseMs + MARGIN_MS;
    return { after: amid ? `${fault.is} amid a ${amid.is}` : fault.is, ms, maxMs };
  });
}

function longestGap(timesMs: number[]): number {
  const inOrder = timesMs.toSorted((a, b) => a - b);
  return Math.max(...inOrder.map((atMs, i) => atMs - (inOrder[i - 1] ?? atMs)));
}

/** True if a fault that takes longer to recover from was in progress. */
function isAmid({ atMs }: Fault, other: Fault): boolean {
  if (other.is === "burst")
    return other.atMs - QUICK_RECOVERY_MS < atMs && atMs < other.untilMs + AFTER_A_BURST_MS;
  return other.is === "freeze" && other.atMs - QUICK_RECOVERY_MS < atMs && atMs < other.untilMs;
}

function isProper(call: Call, faults: Fault[]): boolean {
  const { end } = call;
  if (end.is === "cancelled") return true;
  if (end.is === "refused") return hasSuffered(call, "kill", faults);
  if (end.is === "broken") return hasSuffered(call, "kill", faults) || hasSuffered(call, "freeze", faults);
  if (end.problem === undefined) return end.status === 200 || end.status === 429;
  return (
    REFUSALS.has(end.problem) || (AFTER_A_FREEZE.has(end.problem) && hasSuffered(call, "freeze", faults))
  );
}

/** True if this kind of fault hit the process while the call was in flight. */
function hasSuffered({ at, beganAtMs, endedAtMs }: Call, is: Fault["is"], faults: Fault[]): boolean {
  return (
    at === "away" &&
    faults.some((fault) => fault.is === is && fault.atMs <= endedAtMs && beganAtMs <= fault.untilMs)
  );
}

function describeEnd({ end }: Call): string {
  if (end.is === "responded")
    return `responded ${end.status}${end.problem === undefined ? "" : ` ${end.problem}`}`;
  if (end.is === "cancelled") return `cancelled while ${end.when}`;
  return end.is === "broken" ? `broken off (${end.why})` : "not made: nobody listened";
}
