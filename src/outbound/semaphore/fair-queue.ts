/**
 * The callers that wait for a permit, in two queues: interactive calls and background work.
 *
 * Guarantee: while both classes have a call that may go, four of any five consecutive grants go to `interactive` and one to
 * `background`. A class that waits alone gets every grant. So neither can starve the other. Within a class, limit keys take
 * turns (class-queue.ts), and whoever has none shares one line: without keys it is first come, first served.
 *
 * Whose turn it is has it, however many permits it needs: nobody passes it while these become free. Where a key has a limit
 * of its own, the same holds for its permits: of its two lines, only the one whose turn it is may go.
 */
import { ClassQueue } from "./class-queue.ts";
import type { KeyLimits } from "./key-limits.ts";
import { isPlain, PRIORITIES, type Priority, type Waiter } from "./wait-queue.ts";

/** After this many interactive grants in a row, it is background's turn. */
export const INTERACTIVE_IN_A_ROW = 4;

const NEVER_BLOCKED = () => 0;

export class FairQueue implements Iterable<Waiter> {
  readonly #classes: Record<Priority, ClassQueue> = {
    interactive: new ClassQueue(),
    background: new ClassQueue(),
  };
  readonly #allowsAt: (waiter: Waiter) => number;
  #interactiveInARow = 0;
  /** The same for each key that has calls of both classes. */
  readonly #inARowUnder = new Map<string, number>();
  /** How many wait, by the name that they share their place under. */
  readonly #counts = new Map<string, number>();
  #notPlain = 0;

  /** `limits`: what each key may have, if that is limited. */
  constructor(limits?: Pick<KeyLimits, "allowsAt">) {
    this.#allowsAt = limits
      ? (waiter) => (this.#isTurnUnderKey(waiter) ? limits.allowsAt(waiter) : Infinity)
      : NEVER_BLOCKED;
  }

  get length(): number {
    return this.#classes.interactive.length + this.#classes.background.length;
  }

  /** Whether all that wait have no key and take one permit. */
  get isPlain(): boolean {
    return this.#notPlain === 0;
  }

  get(leaseId: string): Waiter | undefined {
    return this.#classes.interactive.get(leaseId) ?? this.#classes.background.get(leaseId);
  }

  join(waiter: Waiter): void {
    this.#classes[waiter.priority].join(waiter);
    this.#count(waiter, 1);
  }

  /** Of the plain ones, those of its class behind one of them, in their order. */
  *behind({ priority, leaseId }: Waiter): Generator<Waiter> {
    for (const waiter of this.#classes[priority].behind(leaseId)) if (isPlain(waiter)) yield waiter;
  }

  leave(leaseId: string): void {
    const waiter = this.get(leaseId);
    if (!waiter) return;
    this.#classes[waiter.priority].leave(leaseId);
    this.#onLeave(waiter);
  }

  /** Whether as many wait under the waiter's name as may. */
  hasShareOf({ share }: Waiter): boolean {
    return share !== undefined && (this.#counts.get(share.of) ?? 0) >= share.maxWaiting;
  }

  /** How many wait under a key, in both classes. */
  waitingUnder(key: string): number {
    return this.#classes.interactive.waitingUnder(key) + this.#classes.background.waitingUnder(key);
  }

  /** Whether others of its class wait under the waiter's key. */
  isBehindItsKey({ key, priority }: Waiter): boolean {
    return key !== undefined && this.#classes[priority].waitingUnder(key) > 0;
  }

  /** The keys that wait. */
  get keys(): string[] {
    return [...this.#classes.interactive.keys, ...this.#classes.background.keys];
  }

  /** The waiter of either class that has waited longest. */
  get oldest(): Waiter | undefined {
    const [a, b] = PRIORITIES.map((priority) => this.#classes[priority].oldest);
    return a && b ? (a.arrivedAtMs <= b.arrivedAtMs ? a : b) : (a ?? b);
  }

  /** The waiter whose turn it is; undefined if none may go. */
  next(nowMs: number): Waiter | undefined {
    const [interactive, background] = PRIORITIES.map((priority) => this.#nextOf(priority, nowMs));
    const isBackgroundsTurn = !interactive || this.#interactiveInARow >= INTERACTIVE_IN_A_ROW;
    return isBackgroundsTurn ? (background ?? interactive) : interactive;
  }

  /** Removes a waiter that has its turn. */
  take(waiter: Waiter, nowMs: number): void {
    const { priority, key } = waiter;
    const isInARow = priority === "interactive" && this.#nextOf("background", nowMs) !== undefined;
    this.#interactiveInARow = isInARow ? this.#interactiveInARow + 1 : 0;
    if (key !== undefined) this.#countUnderKey(key, priority);
    this.#classes[priority].take(waiter);
    this.#onLeave(waiter);
  }

  /** How many more interactive calls may have their turn before it is that of background work. */
  get interactiveLeft(): number {
    return Math.max(0, INTERACTIVE_IN_A_ROW - this.#interactiveInARow);
  }

  /** When time alone will let a waiter go whose key allows no call now; Infinity if it lets none. */
  get nextAtMs(): number {
    return Math.min(this.#classes.interactive.nextAtMs, this.#classes.background.nextAtMs);
  }

  /** A key may allow more than before. */
  wake(key: string): void {
    for (const priority of PRIORITIES) this.#classes[priority].wake(key);
  }

  /** Interactive waiters first, each class in its order. */
  *[Symbol.iterator](): Iterator<Waiter> {
    for (const priority of PRIORITIES) yield* this.#classes[priority];
  }

  #nextOf(priority: Priority, nowMs: number): Waiter | undefined {
    return this.#classes[priority].next(this.#allowsAt, nowMs);
  }

  #isTurnUnderKey({ key, priority }: Waiter): boolean {
    if (key === undefined || !this.#waitsInBoth(key)) return true;
    const isBackgroundsTurn = (this.#inARowUnder.get(key) ?? 0) >= INTERACTIVE_IN_A_ROW;
    return isBackgroundsTurn === (priority === "background");
  }

  #waitsInBoth(key: string): boolean {
    return PRIORITIES.every((priority) => this.#classes[priority].waitingUnder(key) > 0);
  }

  #countUnderKey(key: string, priority: Priority): void {
    if (priority === "interactive" && this.#waitsInBoth(key))
      this.#inARowUnder.set(key, (this.#inARowUnder.get(key) ?? 0) + 1);
    else this.#inARowUnder.delete(key);
  }

  #onLeave(waiter: Waiter): void {
    this.#count(waiter, -1);
    const { key } = waiter;
    if (key === undefined) return;
    if (this.#classes.background.waitingUnder(key) === 0) this.#inARowUnder.delete(key);
    this.wake(key);
  }

  #count(waiter: Waiter, change: 1 | -1): void {
    if (!isPlain(waiter)) this.#notPlain += change;
    const { share } = waiter;
    if (!share) return;
    const count = (this.#counts.get(share.of) ?? 0) + change;
    if (count > 0) this.#counts.set(share.of, count);
    else this.#counts.delete(share.of);
  }
}
