/**
 * The order in which the lines of waiters take turns: a doubly linked list, sorted by their places.
 *
 * A line enters at the end when its first waiter joins, and after each of its turns. So from then on each other line has
 * one turn at most before it. To enter at the end or at the front costs the same at any length; only lines that come back
 * after a restart have to walk to their places.
 */
import { WaitQueue } from "./wait-queue.ts";

/** The waiters of one key, or those without. */
export class Line {
  readonly key: string | undefined;
  readonly waiters = new WaitQueue();
  /** Its place: after how many turns it was taken, and when the waiter had arrived for which it was. */
  turn = 0;
  arrivedAtMs = 0;
  /** Its key allows it no call before; undefined while it is in the ring. */
  blockedUntilMs: number | undefined;
  /** When it is to be looked at again, whatever it waits for. */
  wakesAtMs: number | undefined;
  previous: Line | undefined;
  next: Line | undefined;

  constructor(key: string | undefined) {
    this.key = key;
  }

  isBefore({ turn, arrivedAtMs }: Line): boolean {
    return this.turn < turn || (this.turn === turn && this.arrivedAtMs < arrivedAtMs);
  }
}

export class Ring implements Iterable<Line> {
  #first: Line | undefined;
  #last: Line | undefined;

  get first(): Line | undefined {
    return this.#first;
  }

  /** Adds a line that is likely to be among the last, behind those of the same place. */
  addFromEnd(line: Line): void {
    let previous = this.#last;
    while (previous && line.isBefore(previous)) previous = previous.previous;
    this.#link(line, previous);
  }

  /** Adds a line that was once the first. */
  addFromFront(line: Line): void {
    let next = this.#first;
    while (next && !line.isBefore(next)) next = next.next;
    this.#link(line, next ? next.previous : this.#last);
  }

  remove(line: Line): void {
    const { previous, next } = line;
    if (previous) previous.next = next;
    else if (this.#first === line) this.#first = next;
    if (next) next.previous = previous;
    else if (this.#last === line) this.#last = previous;
    line.previous = undefined;
    line.next = undefined;
  }

  #link(line: Line, previous: Line | undefined): void {
    const next = previous ? previous.next : this.#first;
    line.previous = previous;
    line.next = next;
    if (previous) previous.next = line;
    else this.#first = line;
    if (next) next.previous = line;
    else this.#last = line;
  }

  *[Symbol.iterator](): Iterator<Line> {
    for (let line = this.#first; line; line = line.next) yield line;
  }
}
