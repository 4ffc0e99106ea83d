/** What the platform counts of an invocation, and limits or bills. */
export interface Usage {
  /** Invocations of the Worker by a request or the cron; those of objects and entrypoints are not billed as such. */
  requests: number;
  /** Calls of methods of objects, and their alarms. */
  objectRequests: number;
  /** Rows that SQLite wrote, index entries included; setting an alarm is one as well. */
  rowsWritten: number;
  /** Operations of R2 that write or list, and those that read. Deleting is free. */
  classA: number;
  classB: number;
  /** Lines written, and one event for each invocation. */
  logEvents: number;
  /** Calls that an invocation makes to the internet, and to services of the platform. */
  external: number;
  internal: number;
}

export const NO_USAGE: Readonly<Usage> = {
  requests: 0,
  objectRequests: 0,
  rowsWritten: 0,
  classA: 0,
  classB: 0,
  logEvents: 0,
  external: 0,
  internal: 0,
};

const NAMES = Object.keys(NO_USAGE) as (keyof Usage)[];

/** `usage` times `factor`, added to `total`, which is changed. */
export function addUsage(total: Usage, usage: Usage, factor = 1): Usage {
  for (const name of NAMES) total[name] += usage[name] * factor;
  return total;
}

/** US dollars for each unit on the Paid plan, beyond what it includes (developers.cloudflare.com, 2026-11). */
const PRICES: Readonly<Partial<Usage>> = {
  requests: 0.3e-6,
  objectRequests: 0.15e-6,
  rowsWritten: 1e-6,
  classA: 4.5e-6,
  classB: 0.36e-6,
  logEvents: 0.6e-6,
};

/** In US dollars. The time in which objects are in memory, and CPU time, are not in it. */
export function priceOf(usage: Usage): number {
  return NAMES.reduce((sum, name) => sum + usage[name] * (PRICES[name] ?? 0), 0);
}
