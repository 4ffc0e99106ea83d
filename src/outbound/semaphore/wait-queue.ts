/**
 * Waiters in the order of their first arrival: a doubly linked list with an index.
 *
 * Joining at the end, leaving from anywhere and taking the first cost the same at any length. Only a waiter that
 * comes back after a restart, and arrived before the last one in the queue, has to walk to its place.
 */
export const PRIORITIES = ["interactive", "background"] as const;
export type Priority = (typeof PRIORITIES)[number];

export interface Waiter {
  /** The id of the lease it waits for. */
  leaseId: string;
  /** When it first requested a permit. It keeps this time when it requests one again after a restart. */
  arrivedAtMs: number;
  leaseMs: number;
  /** Who waits, for people to read. */
  holder: string;
  priority: Priority;
  /** Its share of the queue. Default: the whole queue. */
  share?: QueueShare;
  /** Where it runs. Absent: it cannot take over a permit. */
  isolate?: string;
  /** Under which key it waits: those who wait under different keys take turns. */
  key?: string;
  /** How many permits it takes. Default: 1. */
  weight?: number;
}

export const weightOf = ({ weight = 1 }: { weight?: number }): number => weight;

/** Whether it has no key and takes one permit: only such calls take over permits, or hand them on. */
export const isPlain = ({ key, weight }: { key?: string; weight?: number }): boolean =>
  key === undefined && (weight ?? 1) === 1;

/** Callers of one name may have so many calls in a queue at once, so that others find room in it. */
export interface QueueShare {
  /** The name of the token, or the type of the task. */
  of: string;
  maxWaiting: number;
}

interface Node {
  waiter: Waiter;
  previous: Node | undefined;
  next: Node | undefined;
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

  get last(): Waiter | undefined {
    return this.#last?.waiter;
  }

  get(leaseId: string): Waiter | undefined {
    return this.#nodes.get(leaseId)?.waiter;
  }

  /** Adds a waiter behind all that arrived before it or at the same time. */
  join(waiter: Waiter): void {
    let previous = this.#last;
    while (previous && previous.waiter.arrivedAtMs > waiter.arrivedAtMs) previous = previous.previous;
    const next = previous ? previous.next : this.#first;
    const node: Node = { waiter, previous, next };
    if (previous) previous.next = node;
    else this.#first = node;
    if (next) next.previous = node;
    else this.#last = node;
    this.#nodes.set(waiter.leaseId, node);
  }

  /** Removes a waiter. Returns false if it was not in the queue. */
  leave(leaseId: string): boolean {
    const node = this.#nodes.get(leaseId);
    if (!node) return false;
    if (node.previous) node.previous.next = node.next;
    else this.#first = node.next;
    if (node.next) node.next.previous = node.previous;
    else this.#last = node.previous;
    return this.#nodes.delete(leaseId);
  }

  /** Those behind a waiter, in their order. */
  *behind(leaseId: string): Generator<Waiter> {
    for (let node = this.#nodes.get(leaseId)?.next; node; node = node.next) yield node.waiter;
  }

  *[Symbol.iterator](): Iterator<Waiter> {
    for (let node = this.#first; node; node = node.next) yield node.waiter;
  }
}
