/**
 * The waiters of one class. Those with a limit key stand in a line for each key, the others in one line together, and the
 * lines take turns (ring.ts). Within a line: first come, first served.
 *
 * A line whose key allows no call now gives up its turn and keeps its place: it has its turn as soon as its key allows one.
 * Memory is used for keys that wait only.
 */
import { Heap } from "./heap.ts";
import { Line, Ring } from "./ring.ts";
import { type Waiter, WaitQueue } from "./wait-queue.ts";

export class ClassQueue implements Iterable<Waiter> {
  readonly #keyless = new Line(undefined);
  readonly #lines = new Map<string, Line>();
  /** All that have a key, in the order of arrival. */
  readonly #keyed = new WaitQueue();
  readonly #ring = new Ring();
  /** When lines that are blocked may have their turn. */
  readonly #wakings = new Heap<{ atMs: number; line: Line }>();
  #turns = 0;

  get length(): number {
    return this.#keyless.waiters.length + this.#keyed.length;
  }

  /** The one that has waited longest. */
  get oldest(): Waiter | undefined {
    const [a, b] = [this.#keyless.waiters.first, this.#keyed.first];
    return a && b ? (a.arrivedAtMs <= b.arrivedAtMs ? a : b) : (a ?? b);
  }

  get keys(): Iterable<string> {
    return this.#lines.keys();
  }

  get(leaseId: string): Waiter | undefined {
    return this.#keyless.waiters.get(leaseId) ?? this.#keyed.get(leaseId);
  }

  /** How many wait under a key. */
  waitingUnder(key: string): number {
    return this.#lines.get(key)?.waiters.length ?? 0;
  }

  join(waiter: Waiter): void {
    const line = this.#lineOf(waiter.key);
    const isFirst = line.waiters.length === 0;
    line.waiters.join(waiter);
    if (waiter.key !== undefined) this.#keyed.join(waiter);
    if (isFirst) this.#toEnd(line, waiter);
    else if (line.waiters.first === waiter) this.#onEarlier(line, waiter);
  }

  leave(leaseId: string): void {
    const waiter = this.get(leaseId);
    if (!waiter) return;
    const line = this.#lineOf(waiter.key);
    const wasFirst = line.waiters.first === waiter;
    line.waiters.leave(leaseId);
    if (waiter.key !== undefined) this.#keyed.leave(leaseId);
    if (line.waiters.length === 0) this.#close(line);
    else if (wasFirst) this.#unblock(line);
  }

  /** A waiter has its turn: it leaves, and its line goes to the end of the ring. */
  take({ leaseId, key }: Waiter): void {
    this.leave(leaseId);
    this.#turns++;
    const line = key === undefined ? this.#keyless : this.#lines.get(key);
    if (!line?.waiters.first) return;
    this.#ring.remove(line);
    this.#toEnd(line, line.waiters.first);
  }

  /** Whose turn it is. `allowsAt`: when its key allows the call of a waiter; Infinity if something else must happen first. */
  next(allowsAt: (waiter: Waiter) => number, nowMs: number): Waiter | undefined {
    while ((this.#wakings.first?.atMs ?? Infinity) <= nowMs) this.#wake();
    for (let line = this.#ring.first; line; line = this.#ring.first) {
      const waiter = line.waiters.first;
      if (!waiter || line.key === undefined) return waiter;
      const atMs = allowsAt(waiter);
      if (atMs <= nowMs) return waiter;
      this.#block(line, atMs);
    }
    return undefined;
  }

  /** When time alone will let a line have its turn that is blocked; Infinity if it lets none. */
  get nextAtMs(): number {
    for (let first = this.#wakings.first; first; first = this.#wakings.first) {
      if (first.line.blockedUntilMs === first.atMs) return first.atMs;
      this.#wake();
    }
    return Infinity;
  }

  /** A key may allow more than before. */
  wake(key: string): void {
    const line = this.#lines.get(key);
    if (line) this.#unblock(line);
  }

  /** Those without a key behind one of them, in their order. */
  behind(leaseId: string): Iterable<Waiter> {
    return this.#keyless.waiters.behind(leaseId);
  }

  /** In the order in which they would have their turns, if each key allowed its calls. */
  *[Symbol.iterator](): Iterator<Waiter> {
    const lines = [this.#keyless, ...this.#lines.values()].toSorted((a, b) => (a.isBefore(b) ? -1 : 1));
    let left = lines.map(({ waiters }) => waiters[Symbol.iterator]());
    while (left.length > 1) {
      const round = left.map((waiters) => ({ waiters, step: waiters.next() }));
      for (const { step } of round) if (!step.done) yield step.value;
      left = round.filter(({ step }) => !step.done).map(({ waiters }) => waiters);
    }
    for (const waiters of left)
      for (let step = waiters.next(); !step.done; step = waiters.next()) yield step.value;
  }

  #lineOf(key: string | undefined): Line {
    if (key === undefined) return this.#keyless;
    const line = this.#lines.get(key) ?? new Line(key);
    this.#lines.set(key, line);
    return line;
  }

  #toEnd(line: Line, { arrivedAtMs }: Waiter): void {
    line.turn = this.#turns;
    line.arrivedAtMs = arrivedAtMs;
    this.#ring.addFromEnd(line);
  }

  /** One has come back after a restart, and arrived before all others of its line. */
  #onEarlier(line: Line, waiter: Waiter): void {
    this.#unblock(line);
    if (line.turn < this.#turns) return;
    this.#ring.remove(line);
    this.#toEnd(line, waiter);
  }

  #block(line: Line, untilMs: number): void {
    this.#ring.remove(line);
    line.blockedUntilMs = untilMs;
    if (!Number.isFinite(untilMs) || line.wakesAtMs === untilMs) return;
    line.wakesAtMs = untilMs;
    this.#wakings.push({ atMs: untilMs, line });
  }

  /** Unblocks the line whose time has come first, if it still waits for that. */
  #wake(): void {
    const waking = this.#wakings.first;
    if (!waking) return;
    const { line, atMs } = waking;
    this.#wakings.pop();
    if (line.wakesAtMs === atMs) line.wakesAtMs = undefined;
    if (line.blockedUntilMs === atMs) this.#unblock(line);
  }

  #unblock(line: Line): void {
    if (line.blockedUntilMs === undefined) return;
    line.blockedUntilMs = undefined;
    this.#ring.addFromFront(line);
  }

  #close(line: Line): void {
    if (line.blockedUntilMs === undefined) this.#ring.remove(line);
    line.blockedUntilMs = undefined;
    if (line.key !== undefined) this.#lines.delete(line.key);
  }
}
