/**
 * The time from sending a request to the first line of the task's code.
 *
 * Clocks stand still inside a Worker, so this is measured from outside: each request carries a ticket, the task first
 * logs it, and the line gets its time when it arrives here. That is the same for all that are measured. Its own cost
 * is in the figures of the bare `waitUntil`, which are the floor.
 */

/** A task with ticket 0 does not log. */
export const SILENT = 0;

export class Tickets {
  #last = SILENT;
  readonly #sentAtMs = new Map<number, number>();
  #startsMs: number[] = [];

  /** A ticket for a request that is sent now. */
  issue(): number {
    this.#sentAtMs.set(++this.#last, performance.now());
    return this.#last;
  }

  /** Reads a line that a Worker has logged; false if it has no ticket. */
  readLine(line: string): boolean {
    const number = /^started (\d+)$/.exec(line)?.[1];
    if (number === undefined) return false;
    const ticket = Number(number);
    const sentAtMs = this.#sentAtMs.get(ticket);
    // A task may run twice; its first line counts.
    if (sentAtMs !== undefined) this.#startsMs.push(performance.now() - sentAtMs);
    this.#sentAtMs.delete(ticket);
    return true;
  }

  /** The start times since the last call. */
  takeStartsMs(): number[] {
    const startsMs = this.#startsMs;
    this.#startsMs = [];
    this.#sentAtMs.clear();
    return startsMs;
  }
}
