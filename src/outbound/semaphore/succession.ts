/**
 * Which waiters may take over a permit of their isolate: the successors. No clock, storage or network in here.
 *
 * Between two calls on one permit lies a way to the semaphore and back. A successor saves it: when a call of its isolate
 * ends well, it has the permit at once, and the semaphore hears of it beside its call. Who takes over whose permit is up
 * to the isolate; who may is decided here. Successors of an isolate take their turns in the order of the queue.
 *
 * Invariants, for a waiter X:
 *   - at most `maxPasses` calls of its class that came after it, all of other isolates, take over a permit while it
 *     waits, and none that becomes a successor once X has waited for `maxPassMs`;
 *   - background work takes over none while an interactive call of another isolate waits, and interactive calls no more
 *     than are due before background work of another isolate has its turn.
 *
 * A waiter knows that it is a successor before the semaphore can know that it knows, and the other way round. So one that
 * is no successor any longer still may have taken over a permit, until it waits again. If the holder of a permit goes
 * without a word, the permit may be with any such waiter of its isolate, and is lost only when there is none.
 */
import { Passes, type Place, type SuccessionRules } from "./passes.ts";
import { PRIORITIES, type Priority, type Waiter, WaitQueue } from "./wait-queue.ts";

/** So many successors for each permit are enough, however far the isolate is. */
const MAX_DEPTH = 8;

/** The waiters of one class in one isolate. */
class Line {
  readonly successors = new WaitQueue();
  readonly others = new WaitQueue();
}

/** Where callers wait that do not say where they are. They take over nothing. */
const NOWHERE = "";

export class Succession {
  readonly #places = new Map<string, Place>();
  readonly #lines: Record<Priority, Map<string, Line>> = { interactive: new Map(), background: new Map() };
  readonly #passes: Record<Priority, Passes> = { interactive: new Passes(), background: new Passes() };
  readonly #lastTurn: Record<Priority, number> = { interactive: 0, background: 0 };
  /** How many waiters of each isolate may have taken over a permit. */
  readonly #mayHaveTaken = new Map<string, number>();
  /** Leases whose holders have gone without a word, and their isolates. */
  readonly #orphans = new Map<string, string>();
  /** Those that were granted a permit or refused, and may have taken over another. */
  readonly #unsure = new Map<string, Place>();
  readonly #changed = new Set<Waiter>();
  /** How long it takes until a word has been heard: there and back, a moving average. */
  #wordMs = 0;

  /** A waiter has joined the queue, before those of its class that are `behind` it. */
  join(waiter: Waiter, behind: Iterable<Waiter>): void {
    const { priority, isolate = NOWHERE } = waiter;
    let turn = ++this.#lastTurn[priority];
    for (const later of behind) turn = Math.min(turn, this.#placeOf(later).turn++);
    const state = { isSuccessor: false, told: undefined, toldAtMs: 0, mayHaveTaken: false };
    this.#places.set(waiter.leaseId, { waiter, isolate, turn, ...state });
    const line = this.#lines[priority].get(isolate) ?? new Line();
    this.#lines[priority].set(isolate, line);
    line.others.join(waiter);
  }

  /**
   * A waiter has left the queue: it has gone, `took` over a permit, was granted one, or was refused. In the latter two
   * cases it may have taken over another just before, and is heard of again.
   */
  leave(leaseId: string, how: "gone" | "took" | "granted" | "refused"): void {
    const isKnown = how === "gone" || how === "took";
    const unsure = this.#unsure.get(leaseId);
    if (unsure && isKnown) this.#setMayHaveTaken(unsure, false);
    if (isKnown) this.#unsure.delete(leaseId);
    const place = this.#places.get(leaseId);
    if (!place) return;
    const { waiter, isolate } = place;
    this.#places.delete(leaseId);
    this.#changed.delete(waiter);
    // One that has gone counts, too: that it took over a permit may be known only to the one that had it next.
    const hasPassed = place.mayHaveTaken || how === "took" || how === "granted";
    if (isKnown) this.#setMayHaveTaken(place, false);
    else if (place.mayHaveTaken) this.#unsure.set(leaseId, place);
    this.#passes[waiter.priority].onLeave(place, hasPassed);
    const lines = this.#lines[waiter.priority];
    const line = lines.get(isolate);
    line?.successors.leave(leaseId);
    line?.others.leave(leaseId);
    if (line && line.successors.length + line.others.length === 0) lines.delete(isolate);
  }

  /** A waiter waits. What it was told before, it knows. */
  hear(leaseId: string, nowMs: number): void {
    const place = this.#places.get(leaseId);
    if (!place) return;
    if (place.told !== undefined) this.#wordMs += (nowMs - place.toldAtMs - this.#wordMs) / 16;
    if (place.told === false) this.#setMayHaveTaken(place, false);
  }

  /** Whether there is something new to tell a waiter. */
  hasNewsFor(leaseId: string): boolean {
    const place = this.#places.get(leaseId);
    return place?.told !== undefined && place.told !== place.isSuccessor;
  }

  /** Its turn, for a waiter that is told now that it is a successor; undefined if it is told that it is none. */
  tell(leaseId: string, nowMs: number): number | undefined {
    const place = this.#places.get(leaseId);
    if (!place) return undefined;
    place.told = place.isSuccessor;
    place.toldAtMs = nowMs;
    if (place.told) this.#setMayHaveTaken(place, true);
    return place.told ? place.turn : undefined;
  }

  /** Whether a permit of this isolate may be with another than its holder, unbeknown to the semaphore. */
  mayHaveTakenIn(isolate: string | undefined): boolean {
    return isolate !== undefined && this.#mayHaveTaken.has(isolate);
  }

  /** The holder of a lease has gone without a word. Nobody in its isolate becomes a successor until it is settled. */
  orphan(leaseId: string, isolate: string): void {
    this.#orphans.set(leaseId, isolate);
  }

  /** A lease has a holder again, or has ended. */
  settle(leaseId: string): void {
    this.#orphans.delete(leaseId);
  }

  /** The orphaned leases that nobody can have taken over. */
  takeLost(): string[] {
    const lost = [...this.#orphans].filter(([, isolate]) => !this.mayHaveTakenIn(isolate)).map(([id]) => id);
    for (const leaseId of lost) this.#orphans.delete(leaseId);
    return lost;
  }

  /**
   * Whom to grant a permit, when it is the turn of `head`, the first of its class. If the permits of its isolate will come
   * to it anyway, the first of an isolate that holds none, if it may pass those before it. So permits do not all go from
   * one isolate to the next.
   */
  choose(head: Waiter, rules: SuccessionRules, nowMs: number): Waiter {
    const { priority, isolate = NOWHERE } = head;
    if (rules.heldIn(isolate) === 0 || !this.#waitsElsewhere(priority, isolate)) return head;
    const firsts = this.#firsts(priority);
    const passes = this.#passes[priority];
    passes.count(firsts, rules, nowMs);
    const poor = firsts.filter((first) => first.isolate !== NOWHERE && rules.heldIn(first.isolate) === 0);
    const chosen = poor.toSorted((a, b) => a.turn - b.turn).find((place) => passes.mayPass(place));
    return chosen?.waiter ?? head;
  }

  /** Decides anew who is a successor. Returns those that are to be told, if they wait for a word. */
  update(rules: SuccessionRules, nowMs: number): Waiter[] {
    for (const priority of PRIORITIES) {
      const passes = this.#passes[priority];
      passes.count(this.#firsts(priority), rules, nowMs);
      for (const [isolate, line] of this.#lines[priority])
        if (isolate !== NOWHERE) this.#updateLine(priority, isolate, line, rules);
    }
    const told = [...this.#changed];
    this.#changed.clear();
    return told;
  }

  /** When somebody has waited for so long that those behind must not pass it any longer. */
  nextChangeAtMs(maxPassMs: number, nowMs: number): number {
    const times = PRIORITIES.flatMap((priority) =>
      this.#passes[priority].isEmpty ? [] : this.#firsts(priority).map(({ waiter }) => waiter.arrivedAtMs),
    );
    return Math.min(...times.map((ms) => ms + maxPassMs).filter((ms) => ms > nowMs));
  }

  #updateLine(priority: Priority, isolate: string, line: Line, rules: SuccessionRules): void {
    const { successors, others } = line;
    const passes = this.#passes[priority];
    const max = this.#roomIn(priority, isolate, successors.length, rules);
    const isOpen = this.#isOpen(priority, isolate, rules);
    for (let last = successors.last; last; last = successors.last) {
      const place = this.#placeOf(last);
      if (isOpen && passes.mayStay(place) && successors.length <= max) break;
      successors.leave(last.leaseId);
      others.join(last);
      this.#setSuccessor(place, false);
    }
    for (let first = others.first; first && successors.length < max; first = others.first) {
      const place = this.#placeOf(first);
      if (!isOpen || !passes.mayPass(place)) break;
      // To tell one that waits already costs a message, which is of use only where a permit is.
      if (place.told !== undefined && rules.heldIn(isolate) === 0) break;
      others.leave(first.leaseId);
      successors.join(first);
      passes.onSuccessor(place);
      this.#setSuccessor(place, true);
    }
  }

  /** Whether waiters of a class may be successors in an isolate, as far as they pass nobody of their class. */
  #isOpen(priority: Priority, isolate: string, { mayHandOn }: SuccessionRules): boolean {
    if (!mayHandOn || [...this.#orphans.values()].includes(isolate)) return false;
    return priority === "interactive" || !this.#waitsElsewhere("interactive", isolate);
  }

  /**
   * How many successors of a class an isolate may have, that has `count` now. If others wait elsewhere, no more than keep
   * its permits busy until the next word: each may be one that passes them.
   */
  #roomIn(priority: Priority, isolate: string, count: number, rules: SuccessionRules): number {
    const { concurrency, interactiveLeft, heldIn, meanHoldMs } = rules;
    if (priority === "interactive" && this.#waitsElsewhere("background", isolate))
      return Math.min(interactiveLeft - (this.#passes.interactive.successors - count), concurrency);
    if (!this.#waitsElsewhere(priority, isolate)) return MAX_DEPTH * concurrency;
    const depth = Math.min(MAX_DEPTH, 2 + Math.ceil(this.#wordMs / Math.max(1, meanHoldMs)));
    return depth * Math.max(1, heldIn(isolate));
  }

  #waitsElsewhere(priority: Priority, isolate: string): boolean {
    const lines = this.#lines[priority];
    return lines.size > (lines.has(isolate) ? 1 : 0);
  }

  /** Of each isolate, the first of a class. */
  #firsts(priority: Priority): Place[] {
    return [...this.#lines[priority].values()].flatMap(({ successors, others }) => {
      const [a, b] = [successors.first, others.first].map((waiter) => waiter && this.#placeOf(waiter));
      return (a && b ? (a.turn < b.turn ? a : b) : (a ?? b)) ?? [];
    });
  }

  #placeOf({ leaseId }: Waiter): Place {
    const place = this.#places.get(leaseId);
    if (!place) throw new Error("A waiter in a line has no place.");
    return place;
  }

  #setSuccessor(place: Place, isSuccessor: boolean): void {
    place.isSuccessor = isSuccessor;
    this.#passes[place.waiter.priority].onChange(place);
    if (place.told === undefined || place.told === isSuccessor) this.#changed.delete(place.waiter);
    else this.#changed.add(place.waiter);
  }

  #setMayHaveTaken(place: Place, mayHaveTaken: boolean): void {
    if (place.mayHaveTaken === mayHaveTaken) return;
    place.mayHaveTaken = mayHaveTaken;
    if (this.#places.has(place.waiter.leaseId)) this.#passes[place.waiter.priority].onChange(place);
    const count = (this.#mayHaveTaken.get(place.isolate) ?? 0) + (mayHaveTaken ? 1 : -1);
    if (count > 0) this.#mayHaveTaken.set(place.isolate, count);
    else this.#mayHaveTaken.delete(place.isolate);
  }
}
