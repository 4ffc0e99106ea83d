/**
 * The limits of a task type that are in force on one shard: those in the code, with the changes of an operator.
 *
 * A type that the code limits has a shard of its own, which has the whole of each limit. Any other type may be on every
 * shard, and a limit that an operator gives it is divided among them.
 */
import { keyedConcurrency } from "../types/concurrency-key.ts";
import type { Rate, TaskType } from "../types/define.ts";
import { isOnOneShard } from "./task-id.ts";

/** What an operator has changed; what is absent is as in the code. */
export interface Change {
  paused?: true;
  concurrency?: number;
  rate?: Rate;
  /** When it was last changed; ms since the epoch. */
  atMs: number;
}

/** A change that an operator asks for: null goes back to the code. */
export interface Patch {
  paused?: boolean | null | undefined;
  concurrency?: number | null | undefined;
  rate?: Rate | null | undefined;
}

/** What is in force. */
export interface Limits {
  isPaused: boolean;
  /** How many tasks may run at once: of the type, or of each key. */
  concurrency: number | undefined;
  isPerKey: boolean;
  rate: Rate | undefined;
}

/** Which of how many shards. */
interface Place {
  index: number;
  shards: number;
}

/** A type that is no longer in the code cannot be steered any more, so nothing of it is held back. */
const NONE: Limits = { isPaused: false, concurrency: undefined, isPerKey: false, rate: undefined };

/** The limits of a type over all shards. */
export function limitsOf(type: TaskType | undefined, change: Change | undefined): Limits {
  if (!type) return NONE;
  const keyed = keyedConcurrency(type);
  const inCode = typeof type.concurrency === "number" ? type.concurrency : keyed?.limit;
  return {
    isPaused: change?.paused ?? false,
    concurrency: change?.concurrency ?? inCode,
    isPerKey: keyed !== undefined,
    rate: change?.rate ?? type.rate,
  };
}

/** A shard's part of them. */
export function limitsAt(place: () => Place, type: TaskType | undefined, change: Change | undefined): Limits {
  const whole = limitsOf(type, change);
  const { concurrency, rate } = whole;
  if (!type || isOnOneShard(type) || (concurrency === undefined && !rate)) return whole;
  const { index, shards } = place();
  const partOf = (number: number) => partAt(number, index, shards);
  return {
    ...whole,
    concurrency: concurrency && partOf(concurrency),
    rate: rate && { perSecond: rate.perSecond / shards, burst: partOf(rate.burst) },
  };
}

/**
 * The parts of a number sum to it, and differ by at most one. None is less than one, or tasks of that shard would wait for
 * ever: so a number that is less than the shards there are must be refused before (`whyIndivisible`).
 */
const partAt = (whole: number, index: number, shards: number): number =>
  Math.max(1, Math.floor(whole / shards) + (index < whole % shards ? 1 : 0));

/** Why limits cannot be divided among so many shards; undefined if they can. */
export function whyIndivisible(
  type: TaskType,
  { concurrency, rate }: Patch,
  shards: number,
): { at: string; detail: string } | undefined {
  if (isOnOneShard(type)) return undefined;
  const hint = `tasks of this type are on ${shards} shards, each of which needs one. A concurrency or a rate in the code puts them on one`;
  if (concurrency && concurrency < shards)
    return { at: "json/concurrency", detail: `must be at least ${shards}: ${hint}` };
  if (rate && rate.burst < shards)
    return { at: "json/rate/burst", detail: `must be at least ${shards}: ${hint}` };
  return undefined;
}

/** A change after another: its members replace those of the other, null takes one away; undefined if nothing is changed any longer. */
export function patched(before: Change | undefined, patch: Patch, nowMs: number): Change | undefined {
  const merged = { ...before, ...patch };
  const after: Change = {
    ...(merged.paused && { paused: true as const }),
    ...(merged.concurrency && { concurrency: merged.concurrency }),
    ...(merged.rate && { rate: merged.rate }),
    atMs: nowMs,
  };
  const isChange = after.paused ?? after.concurrency ?? after.rate;
  return isChange ? after : undefined;
}
