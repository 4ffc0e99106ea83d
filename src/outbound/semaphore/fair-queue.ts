/**
 * Who waits for a permit: two queues, one for people and one for background work.
 *
 * Guarantee: within a class, first come, first served. While both wait, of any five grants in a row four go to
 * `interactive` and one to `background`; a class that waits alone gets all. So neither can starve the other.
 */
import { PRIORITIES, type Priority, type Waiter, WaitQueue } from "./wait-queue.ts";

/** How many interactive grants in a row make background work's turn. */
const INTERACTIVE_IN_A_ROW = 4;

export class FairQueue implements Iterable<Waiter> {
  readonly #queues: Record<Priority, WaitQueue> = {
    interactive: new WaitQueue(),
    background: new WaitQueue(),
  };
  #interactiveInARow = 0;

  get length(): number {
    return this.#queues.interactive.length + this.#queues.background.length;
  }

  get(leaseId: string): Waiter | undefined {
    return this.#queues.interactive.get(leaseId) ?? this.#queues.background.get(leaseId);
  }

  join(waiter: Waiter): void {
    this.#queues[waiter.priority].join(waiter);
  }

  leave(leaseId: string): void {
    for (const priority of PRIORITIES) this.#queues[priority].leave(leaseId);
  }

  /** Whoever has waited longest, of either class. */
  get oldest(): Waiter | undefined {
    const [a, b] = PRIORITIES.map((priority) => this.#queues[priority].first);
    return a && b ? (a.arrivedAtMs <= b.arrivedAtMs ? a : b) : (a ?? b);
  }

  /** Takes whoever is next out of the line. */
  takeNext(): Waiter | undefined {
    const { interactive, background } = this.#queues;
    const isBackgroundsTurn = !interactive.first || this.#interactiveInARow >= INTERACTIVE_IN_A_ROW;
    const next = isBackgroundsTurn ? (background.first ?? interactive.first) : interactive.first;
    if (!next) return undefined;
    this.#interactiveInARow =
      next.priority === "interactive" && background.first ? this.#interactiveInARow + 1 : 0;
    this.leave(next.leaseId);
    return next;
  }

  /** Class by class, in order within each. */
  *[Symbol.iterator](): Iterator<Waiter> {
    for (const priority of PRIORITIES) yield* this.#queues[priority];
  }
}
