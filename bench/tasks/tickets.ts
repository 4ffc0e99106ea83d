/**
 * How long it takes from the sending of a request to the first line of the task's code.
 *
 * Clocks stand still inside a Worker, so this is seen from outside: each request carries a ticket, the task's first
 * act is to log it, and the line is stamped when it arrives here. That way is the same for everybody who is measured;
 * what it costs by itself is in the figures of the bare `waitUntil`, which are the floor.
 */

/** A task that is given 0 keeps silent. */
export const SILENT = 0;

export class Tickets {
  #last = SILENT;
  readonly #sentAtMs = new Map<number, number>();
  #startsMs: number[] = [];

  /** For a request that is sent right now. */
  issue(): number {
    this.#sentAtMs.set(++this.#last, performance.now());
    return this.#last;
  }

  /** Takes a line that a Worker has logged; false if it is not that of a ticket. */
  hear(line: string): boolean {
    const number = /^started (\d+)$/.exec(line)?.[1];
    if (number === undefined) return false;
    const ticket = Number(number);
    const sentAtMs = this.#sentAtMs.get(ticket);
    // A task may run twice; its first line is the first one.
    if (sentAtMs !== undefined) this.#startsMs.push(performance.now() - sentAtMs);
    this.#sentAtMs.delete(ticket);
    return true;
  }

  /** The times of those that have started since this was last asked. */
  takeStartsMs(): number[] {
    const startsMs = this.#startsMs;
    this.#startsMs = [];
    this.#sentAtMs.clear();
    return startsMs;
  }
}
