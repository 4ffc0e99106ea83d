/** What the API says of an upstream, as far as the page shows it, and the words for it. */

/** As `GET /upstreams` has it. */
export interface Status {
  name: string;
  concurrency: number;
  limitNow: number;
  rate: { per_second: number; burst: number } | null;
  paused: boolean;
  overridden: string[];
  obstacle: { is: keyof typeof OBSTACLES; until: string | null } | null;
  breaker: keyof typeof BREAKER;
  /** `weight`: how many permits they take, if not one each. */
  held: { count: number; weight?: number; leases: Lease[] };
  waiting: { count: number; callers: Waiter[] };
  /** Where calls have limit keys: those with most calls and permits. */
  keys?: { count: number; top: Key[] };
  totals: {
    since: string;
    granted: number;
    outcomes: { ok: number; overloaded: number; failed: number; unknown: number };
    refused: Record<string, number>;
    /** By the buckets of `WAIT_BOUNDS_S`. An object of an earlier version does not count them. */
    waits?: number[];
  };
  latencyMs: { p50: number; p90: number; p99: number } | null;
  /** Where an upstream has several. */
  shards?: { count: number; lost: number[]; responding: Shard[] };
}

/** The upper bounds of the buckets of waits, in seconds; one more has what is above. */
export const WAIT_BOUNDS_S = [0.01, 0.025, 0.1, 0.25, 1, 2.5, 10, 30, 60, 300, 1800, 7200];

interface Shard {
  shard: number;
  concurrency: number;
  held: number;
  waiting: number;
}

interface Key {
  key: string;
  waiting: number;
  held: number;
}

/** Under which limit key a call runs, and how many permits it takes, if it says so. */
interface Claim {
  key?: string;
  weight?: number;
}

interface Lease extends Claim {
  id: string;
  holder: string;
  since: string;
  until: string;
}

export interface Waiter extends Claim {
  id: string;
  holder: string;
  priority: string;
  since: string;
}

/** Why nobody gets a permit right now. */
export const OBSTACLES = {
  restarted: "Its object has just restarted, and waits for earlier calls to end",
  paused: "Paused: nobody gets a permit",
  "breaker-open": "The breaker is open: too many calls failed",
  probe: "One call tries whether it works again",
  concurrency: "All permits are held",
  rate: "The rate allows no call yet",
};

export const BREAKER = {
  closed: "breaker closed",
  open: "breaker open: calls are refused",
  "half-open": "breaker half open: it tries one call",
};

/** How many permits are held. */
export const heldPermits = ({ held: { count, weight = count } }: Status): number => weight;

/** The waiting calls of one caller in one class. */
export interface Group {
  priority: string;
  caller: string;
  count: number;
  /** Of the one that has waited longest. */
  since: string;
}

/** A holder is the name of a token, and the id of a request. */
export function callerOf(holder: string): { caller: string; requestId: string } {
  const space = holder.lastIndexOf(" ");
  return { caller: holder.slice(0, Math.max(space, 0)) || holder, requestId: holder.slice(space + 1) };
}

/** Who waits, by class and caller, in the order of the queue. Their positions are in the order of arrival in a class. */
export function groupWaiters(waiters: readonly Waiter[]): Group[] {
  const groups = new Map<string, Group>();
  for (const { priority, holder, since } of waiters) {
    const { caller } = callerOf(holder);
    const key = JSON.stringify([priority, caller]);
    const group = groups.get(key);
    if (!group) groups.set(key, { priority, caller, count: 1, since });
    else {
      group.count++;
      if (since < group.since) group.since = since;
    }
  }
  return [...groups.values()];
}
