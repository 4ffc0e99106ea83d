/**
 * Kills the runtime while jobs are at work. It does not ask the runtime when: a job that computes keeps it from responding, and
 * that is when it must be killed, too.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Server } from "../files/server.ts";
import type { Random } from "../random.ts";
import type { Moment, Outside } from "./outside.ts";

/** A kill comes at the n-th call of a kind that arrives outside from now on, or after a while. */
type Aim = { call: Moment; n: number } | { afterMs: number };

/** How long a kill waits for its call, and how long after it may come. */
const CALL_MS = 20_000;
const AFTER_CALL_MS = 300;
const CALL_SHARE = 0.3;
/** What arrives in one round, without repetitions: pages, for example. */
const CALLS: [call: Moment, max: number][] = [
  ["page", 120],
  ["item", 35],
  ["order", 1],
  ["store", 1],
  ["webhook", 2],
  ["download", 1],
];
/**
 * A kill at no certain call comes so long after the begin of a round, or after the kill before: runners begin again 2 s after a
 * start, and jobs that compute take a few seconds.
 */
const FIRST_MS = [800, 3_500] as const;
const LATER_MS = [2_300, 6_000] as const;

/** At these each change of the sabotage bites: a crawl has written something, a call has been made. */
export const CONTROL_AIMS: Aim[] = [
  { call: "order", n: 1 },
  { call: "webhook", n: 1 },
  { call: "page", n: 90 },
];

export function chooseAim(random: Random, isFirst: boolean): Aim {
  const [isCall, which, share] = [random.chance(CALL_SHARE), random.next(), random.next()];
  const [call, most] = CALLS[Math.floor(which * CALLS.length)] ?? ["page", 1];
  if (isCall) return { call, n: 1 + Math.floor(share * most) };
  const [min, max] = isFirst ? FIRST_MS : LATER_MS;
  // Early more often than late: that is when the most jobs are at work.
  return { afterMs: min + share ** 2 * (max - min) };
}

/** Kills once. Returns what the moment is called. */
export async function strike(server: Server, outside: Outside, aim: Aim, random: Random): Promise<string> {
  const chance = random.next();
  const isCall = "call" in aim && (await outside.awaitCalls(aim.call, aim.n, CALL_MS));
  await sleep("afterMs" in aim ? aim.afterMs : chance * AFTER_CALL_MS);
  await server.kill();
  return isCall ? `a call: ${aim.call}` : "any moment";
}
