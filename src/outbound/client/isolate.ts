/**
 * What the invocations of an isolate share, so that a permit can be handed on from one to another: who may take over a
 * permit of which shard of which upstream, in which order. The semaphore decides who may; here they only stand in line.
 * And what is known of how busy the shards are.
 *
 * Only plain data is shared. An invocation that is woken by another one goes on in its own context.
 */

import { INTERACTIVE_IN_A_ROW } from "../semaphore/fair-queue.ts";
import type { Feedback } from "../semaphore/permit-types.ts";
import type { Priority } from "../semaphore/wait-queue.ts";
import { settingsOf } from "../settings.ts";
import { indexesOf } from "../shards.ts";
import type { Upstream } from "../upstreams.ts";
import { Offer, type SharedLease } from "./hand-over.ts";
import { ShardLoads } from "./shard-loads.ts";

/** A waiter that may take over a permit. */
export interface Successor {
  readonly priority: Priority;
  /** Its turn among those of its class. */
  readonly turn: number;
  offer(offer: Offer): void;
}

/** The successors at one shard of an upstream. */
export class Line {
  readonly #successors: Record<Priority, Successor[]> = { interactive: [], background: [] };
  #interactiveInARow = 0;

  join(successor: Successor): void {
    const line = this.#successors[successor.priority];
    const before = line.findLastIndex(({ turn }) => turn <= successor.turn);
    line.splice(before + 1, 0, successor);
  }

  leave(successor: Successor): void {
    const line = this.#successors[successor.priority];
    const place = line.indexOf(successor);
    if (place >= 0) line.splice(place, 1);
  }

  /** The upstream asks for a pause: nobody here takes over a permit before the semaphore says so. */
  clear(): void {
    this.#successors.interactive.length = 0;
    this.#successors.background.length = 0;
  }

  /**
   * Hands a permit on to the next that takes it. `feedback`: how the holder's call went; undefined if it made none.
   * Resolves to whether one has taken it.
   */
  async handOn(lease: SharedLease, feedback?: Feedback): Promise<boolean> {
    while (lease.hasTimeLeft) {
      const successor = this.takeNext();
      if (!successor) return false;
      const offer = new Offer(lease, feedback);
      successor.offer(offer);
      if (await offer.isTaken()) return true;
    }
    return false;
  }

  /** Removes the next and returns it. As at the semaphore, background work has one of five turns while both wait. */
  takeNext(): Successor | undefined {
    const { interactive, background } = this.#successors;
    const isBackgroundsTurn = this.#interactiveInARow >= INTERACTIVE_IN_A_ROW && background.length > 0;
    const next = (isBackgroundsTurn ? undefined : interactive.shift()) ?? background.shift();
    const isInARow = next?.priority === "interactive" && background.length > 0;
    this.#interactiveInARow = isInARow ? this.#interactiveInARow + 1 : 0;
    return next;
  }
}

/** One upstream, as an isolate sees it. */
export class LocalUpstream {
  readonly loads: ShardLoads;
  readonly #lines: Line[];

  constructor(upstream: Upstream) {
    const shards = indexesOf(upstream);
    this.#lines = shards.map(() => new Line());
    this.loads = new ShardLoads(shards.map((shard) => settingsOf(upstream, {}, shard).concurrency));
  }

  lineAt(shard: number): Line {
    const line = this.#lines[shard];
    if (!line) throw new Error(`There is no shard ${shard}.`);
    return line;
  }

  /** The upstream asks for a pause, whichever shard hears of it first. */
  pause(): void {
    for (const line of this.#lines) line.clear();
  }
}

class Isolate {
  readonly id = crypto.randomUUID();
  readonly #upstreams = new Map<string, LocalUpstream>();

  localOf(upstream: Upstream): LocalUpstream {
    const local = this.#upstreams.get(upstream.name) ?? new LocalUpstream(upstream);
    this.#upstreams.set(upstream.name, local);
    return local;
  }
}

const isolates = new WeakMap<Env, Isolate>();

/** The isolate of this invocation. Made when it is first asked for: a Worker has no random numbers before its first request. */
export function isolateOf(env: Env): Isolate {
  const isolate = isolates.get(env) ?? new Isolate();
  isolates.set(env, isolate);
  return isolate;
}
