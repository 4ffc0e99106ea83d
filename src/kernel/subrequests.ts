/**
 * How many subrequests an invocation has made. The platform allows so many, and then every further one fails: also the
 * one that would have reported what happened. So work that can go on in another invocation must stop in time.
 *
 * Subrequests are the calls that leave the isolate: to the internet (external), and to objects, R2 and the cache.
 * Whoever makes one counts it. What counts is the asynchronous context in which it is made, so a count follows the code
 * that it is for, and other work costs nothing.
 */
import { AsyncLocalStorage } from "node:async_hooks";

/** How many an invocation may make: to the internet, and in all. */
export interface SubrequestLimits {
  external: number;
  total: number;
}

/** What is left for ending in order: a report, with its retries. */
const RESERVE = 50;

export class SubrequestCount {
  readonly #room: SubrequestLimits;
  readonly #onLow = new Set<() => void>();

  constructor({ external, total }: SubrequestLimits) {
    this.#room = { external: withReserve(external), total: withReserve(total) };
  }

  /** Whether only the reserve is left. */
  get isLow(): boolean {
    return this.#room.external <= 0 || this.#room.total <= 0;
  }

  /** Calls `onLow`, at most once, as soon as only the reserve is left. Returns a function that prevents it. */
  watch(onLow: () => void): () => void {
    if (this.isLow) onLow();
    else this.#onLow.add(onLow);
    return () => this.#onLow.delete(onLow);
  }

  add(external: number, internal: number): void {
    this.#room.external -= external;
    this.#room.total -= external + internal;
    if (!this.isLow) return;
    for (const onLow of this.#onLow) onLow();
    this.#onLow.clear();
  }
}

const withReserve = (limit: number) => limit - Math.min(RESERVE, limit / 10);

const counts = new AsyncLocalStorage<SubrequestCount>();

/** Runs `action`; the subrequests that it and all that it starts make are counted by `count`. */
export const countedBy = <T>(count: SubrequestCount, action: () => T): T => counts.run(count, action);

/** Counts subrequests that are about to be made. */
export function countSubrequests({
  external = 0,
  internal = 0,
}: {
  external?: number;
  internal?: number;
}): void {
  counts.getStore()?.add(external, internal);
}

/**
 * Whether an error, or one of its causes, is the platform's: the invocation has made as many subrequests as it may. An
 * error that cannot be read is not.
 */
export function isSubrequestLimit(error: unknown): boolean {
  const pattern = /too many (?:subrequests|api requests)/i;
  try {
    for (let cause = error, depth = 0; cause instanceof Error && depth < 5; cause = cause.cause, depth++)
      if (pattern.test(cause.message)) return true;
  } catch {
    // Code may throw anything, also an object that throws when it is looked at.
  }
  return false;
}
