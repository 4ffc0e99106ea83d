/**
 * The callers that wait for a permit, in two queues: interactive calls and background work.
 *
 * Guarantee: first come, first served within a class. While both classes wait, four of any five consecutive grants go
 * to `interactive` and one to `background`. A class that waits alone gets every grant. So neither can starve the
 * other.
 */
import { PRIORITIES, type Priority, type Waiter, WaitQueue } from "./wait-queue.ts";

/** After this many interactive grants in a row, it is background's turn. */
export const INTERACTIVE_IN_A_ROW = 4;

export class FairQueue implements Iterable<Waiter> {
  readonly #queues: Record<Priority, WaitQueue> = {
    interactive: new WaitQueue(),
    background: new WaitQueue(),
  };
  #interactiveInARow = 0;
  /** How many wait, by the name that they share their place under. */
  readonly #counts = new Map<string, number>();

  get length(): number {
    return this.#queues.interactive.length + this.#queues.background.length;
  }

  get(leaseId: string): Waiter | undefined {
    return this.#queues.interactive.get(leaseId) ?? this.#queues.background.get(leaseId);
  }

  join(waiter: Waiter): void {
    this.#queues[waiter.priority].join(waiter);
    this.#count(waiter, 1);
  }

  /** Those of its class behind a waiter, in their order. */
  behind({ priority, leaseId }: Waiter): Iterable<Waiter> {
    return this.#queues[priority].behind(leaseId);
  }

  leave(leaseId: string): void {
    const waiter = this.get(leaseId);
    if (!waiter) return;
    this.#queues[waiter.priority].leave(leaseId);
    this.#count(waiter, -1);
  }

  /** Whether as many wait under the waiter's name as may. */
  hasShareOf({ share }: Waiter): boolean {
    return share !== undefined && (this.#counts.get(share.of) ?? 0) >= share.maxWaiting;
  }

  #count({ share }: Waiter, change: 1 | -1): void {
    if (!share) return;
    const count = (this.#counts.get(share.of) ?? 0) + change;
    if (count > 0) this.#counts.set(share.of, count);
    else this.#counts.delete(share.of);
  }

  /** The waiter of either class that has waited longest. */
  get oldest(): Waiter | undefined {
    const [a, b] = PRIORITIES.map((priority) => this.#queues[priority].first);
    return a && b ? (a.arrivedAtMs <= b.arrivedAtMs ? a : b) : (a ?? b);
  }

  /** Removes the next waiter from the queue and returns it. `choose` may choose another one of its class. */
  takeNext(choose = (next: Waiter) => next): Waiter | undefined {
    const { interactive, background } = this.#queues;
    const isBackgroundsTurn = !interactive.first || this.#interactiveInARow >= INTERACTIVE_IN_A_ROW;
    const next = isBackgroundsTurn ? (background.first ?? interactive.first) : interactive.first;
    if (!next) return undefined;
    const chosen = choose(next);
    this.take(chosen);
    return chosen;
  }

  /** Removes a waiter whose turn it is. */
  take(waiter: Waiter): void {
    const isInARow = waiter.priority === "interactive" && this.#queues.background.first !== undefined;
    this.#interactiveInARow = isInARow ? this.#interactiveInARow + 1 : 0;
    this.leave(waiter.leaseId);
  }

  /** How many more interactive calls may have their turn before it is that of background work. */
  get interactiveLeft(): number {
    return Math.max(0, INTERACTIVE_IN_A_ROW - this.#interactiveInARow);
  }

  /** Interactive waiters first, each class in its order. */
  *[Symbol.iterator](): Iterator<Waiter> {
    for (const priority of PRIORITIES) yield* this.#queues[priority];
  }
}
