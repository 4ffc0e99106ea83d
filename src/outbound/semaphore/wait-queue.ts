/**
 * Waiters in the order of their first arrival, as a doubly linked list with an index.
 *
 * Joining at the end, leaving from anywhere and taking the first cost the same whatever the length. Only a waiter
 * that comes back after a restart, with an older arrival than the last in line, walks up to its place.
 */
export const PRIORITIES = ["interactive", "background"] as const;
export type Priority = (typeof PRIORITIES)[number];

export interface Waiter {
  /** The id of the lease that it waits for. */
  leaseId: string;
  /** When it first asked; kept when it asks again after a restart. */
  arrivedAtMs: number;
  leaseMs: number;
  /** Whom it waits for, for people to read. */
  holder: string;
  priority: Priority;
}

interface Node {
  waiter: Waiter;
  before: Node | undefined;
  after: Node | undefined;
}

export class WaitQueue implements Iterable<Waiter> {
  readonly #nodes = new Map<string, Node>();
  #first: Node | undefined;
  #last: Node | undefined;

  get length(): number {
    return this.#nodes.size;
  }

  get first(): Waiter | undefined {
    return this.#first?.waiter;
  }

  get(leaseId: string): Waiter | undefined {
    return this.#nodes.get(leaseId)?.waiter;
  }

  /** Takes its place behind everybody who arrived before it or at the same time. */
  join(waiter: Waiter): void {
    let before = this.#last;
    while (before && before.waiter.arrivedAtMs > waiter.arrivedAtMs) before = before.before;
    const after = before ? before.after : this.#first;
    const node: Node = { waiter, before, after };
    if (before) before.after = node;
    else this.#first = node;
    if (after) after.before = node;
    else this.#last = node;
    this.#nodes.set(waiter.leaseId, node);
  }

  /** Goes away; false if it was not in line. */
  leave(leaseId: string): boolean {
    const node = this.#nodes.get(leaseId);
    if (!node) return false;
    if (node.before) node.before.after = node.after;
    else this.#first = node.after;
    if (node.after) node.after.before = node.before;
    else this.#last = node.before;
    return this.#nodes.delete(leaseId);
  }

  *[Symbol.iterator](): Iterator<Waiter> {
    for (let node = this.#first; node; node = node.after) yield node.waiter;
  }
}
