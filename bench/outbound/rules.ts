/**
 * What a grant costs in the rules alone (src/outbound/permits.ts), in this process: no object, no storage, no call.
 *
 * One permit, and a line that waits for it. The permit is released, whoever is first in line gets it, and so on until
 * nobody waits. A long line that is drained alternates with as many short ones as make the same number of grants;
 * the figures are medians.
 */
import { Permits } from "../../src/outbound/semaphore/permits.ts";
import type { PermitRequest } from "../../src/outbound/semaphore/permit-types.ts";
import { type Figure, median } from "../table.ts";

const SHORT_LINE = 10;
const LONG_LINE = 10_000;
const GRANTS = 50_000;
const ALTERNATIONS = 9;
const FOREVER_MS = 1e12;

export function measureRules(): Figure[] {
  timeGrant(SHORT_LINE); // warms up
  timeGrant(LONG_LINE);
  const times = Array.from({ length: ALTERNATIONS }, () => ({
    short: timeGrant(SHORT_LINE),
    long: timeGrant(LONG_LINE),
  }));
  const name = (waiting: number) => `${waiting.toLocaleString("en")} waiting`;
  const ratio = median(times.map(({ short, long }) => long / short));
  return [
    { what: `rules alone, grant, ${name(SHORT_LINE)}: µs`, value: median(times.map(({ short }) => short)) },
    { what: `rules alone, grant, ${name(LONG_LINE)}: µs`, value: median(times.map(({ long }) => long)) },
    { what: `rules alone, grant, ${name(LONG_LINE)} ÷ ${name(SHORT_LINE)}`, value: ratio, digits: 2 },
  ];
}

/** µs for each grant, while lines of `waiting` are drained in order. */
function timeGrant(waiting: number): number {
  const permits = startPermits();
  let joined = 0;
  let served = 0;
  let drainingMs = 0;
  permits.request(requestFor(joined++), 0);
  while (served < GRANTS) {
    for (let i = 0; i < waiting; i++) permits.request(requestFor(joined++), served);
    const startMs = performance.now();
    while (permits.queue.length > 0) handOver(permits, served++);
    drainingMs += performance.now() - startMs;
  }
  return (drainingMs * 1000) / served;
}

/** The holder, known by its number, gives its permit back; the one after it must be who gets it. */
function handOver(permits: Permits, holder: number): void {
  permits.release(String(holder), { outcome: "ok" }, holder, 0);
  const [lease, ...others] = permits.advance(holder).granted;
  if (lease?.id !== String(holder + 1) || others.length > 0) throw new Error("A grant went out of turn.");
}

function startPermits(): Permits {
  const settings = {
    concurrency: 1,
    rate: undefined,
    adaptive: false,
    isPaused: false,
    maxWaiters: LONG_LINE,
    maxWaitMs: FOREVER_MS,
  };
  return new Permits(settings, { atMs: 0, held: [], lastFence: 0, state: undefined });
}

function requestFor(number: number): PermitRequest {
  return {
    leaseId: String(number),
    holder: "bench",
    priority: "interactive",
    leaseMs: FOREVER_MS,
    isRetry: false,
  };
}
