/**
 * What the invocations of an isolate share, so that a permit can be handed on from one to another: who may take over a
 * permit of which upstream, in which order. The semaphore decides who may; here they only stand in line.
 *
 * Only plain data is shared. An invocation that is woken by another one goes on in its own context.
 */
import { INTERACTIVE_IN_A_ROW } from "../semaphore/fair-queue.ts";
import type { Feedback } from "../semaphore/permit-types.ts";
import type { Priority } from "../semaphore/wait-queue.ts";
import { Offer, type SharedLease } from "./hand-over.ts";

/** A waiter that may take over a permit. */
export interface Successor {
  readonly priority: Priority;
  /** Its turn among those of its class. */
  readonly turn: number;
  offer(offer: Offer): void;
}

/** The successors of one upstream. */
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

class Isolate {
  readonly id = crypto.randomUUID();
  readonly #lines = new Map<string, Line>();

  lineOf(upstream: string): Line {
    const line = this.#lines.get(upstream) ?? new Line();
    this.#lines.set(upstream, line);
    return line;
  }
}

const isolates = new WeakMap<Env, Isolate>();

/** The isolate of this invocation. Made when it is first asked for: a Worker has no random numbers before its first request. */
export function isolateOf(env: Env): Isolate {
  const isolate = isolates.get(env) ?? new Isolate();
  isolates.set(env, isolate);
  return isolate;
}
