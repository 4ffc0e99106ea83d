/**
 * What a grant costs in the rules alone (src/outbound/semaphore/permits.ts), in this process: no object, storage or
 * call.
 *
 * There is one permit, and a queue for it. The permit is released, the first in the queue gets it, and so on until
 * the queue is empty. Draining a long queue alternates with draining enough short ones for the same number of grants.
 * The figures are medians.
 */

import type { PermitRequest } from "../../src/outbound/semaphore/permit-types.ts";
import { Permits } from "../../src/outbound/semaphore/permits.ts";
import { type Figure, median } from "../table.ts";

const SHORT_QUEUE = 10;
const LONG_QUEUE = 10_000;
const GRANTS = 50_000;
const ALTERNATIONS = 9;
const FOREVER_MS = 1e12;

export function measureRules(): Figure[] {
  timeGrant(SHORT_QUEUE); // warms up
  timeGrant(LONG_QUEUE);
  const times = Array.from({ length: ALTERNATIONS }, () => ({
    short: timeGrant(SHORT_QUEUE),
    long: timeGrant(LONG_QUEUE),
  }));
  const name = (waiting: number) => `${waiting.toLocaleString("en")} waiting`;
  const ratio = median(times.map(({ short, long }) => long / short));
  return [
    { what: `rules alone, grant, ${name(SHORT_QUEUE)}: µs`, value: median(times.map(({ short }) => short)) },
    { what: `rules alone, grant, ${name(LONG_QUEUE)}: µs`, value: median(times.map(({ long }) => long)) },
    { what: `rules alone, grant, ${name(LONG_QUEUE)} ÷ ${name(SHORT_QUEUE)}`, value: ratio, digits: 2 },
  ];
}

/** µs per grant, while queues of `waiting` are drained in order. */
function timeGrant(waiting: number): number {
  const permits = startPermits();
  let joined = 0;
  let served = 0;
  let drainingMs = 0;
  permits.request(requestFor(joined++), 0);
  while (served < GRANTS) {
    for (let i = 0; i < waiting; i++) permits.request(requestFor(joined++), served);
    const startMs = performance.now();
    while (permits.queue.length > 0) releaseAndGrant(permits, served++);
    drainingMs += performance.now() - startMs;
  }
  return (drainingMs * 1000) / served;
}

/** Releases the permit of a holder, known by its number. The next number must get it. */
function releaseAndGrant(permits: Permits, holder: number): void {
  permits.release(String(holder), { outcome: "ok" }, holder, 0);
  const [lease, ...others] = permits.advance(holder).granted;
  if (lease?.id !== String(holder + 1) || others.length > 0)
    throw new Error("A grant went to the wrong waiter.");
}

function startPermits(): Permits {
  const settings = {
    concurrency: 1,
    rate: undefined,
    adaptive: false,
    isPaused: false,
    maxWaiters: LONG_QUEUE,
    maxWaitMs: FOREVER_MS,
    maxPasses: LONG_QUEUE,
    maxPassMs: FOREVER_MS,
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
