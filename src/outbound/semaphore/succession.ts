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
import { PRIORITIES, type Priority, type Waiter, WaitQueue } from "./wait-queue.ts";

/** As many successors are enough to keep a permit busy for so many calls of the time that a word takes to an isolate. */
const SUCCESSORS_PER_PERMIT = 8;

export interface SuccessionRules {
  concurrency: number;
  maxPasses: number;
  maxPassMs: number;
  /** Whether any permit may be handed on now. */
  mayHandOn: boolean;
  /** How many interactive calls may have their turn before it is that of background work. */
  interactiveLeft: number;
  /** Whether an isolate holds a permit. */
  holds: (isolate: string) => boolean;
}

interface Place {
  waiter: Waiter;
  /** Its place in the order of its class: numbers without ties. */
  turn: number;
  isSuccessor: boolean;
  /** What it was told it is; undefined before the first word. */
  told: boolean | undefined;
  /** It may have taken over a permit: it was told so, and has not waited again since it was told otherwise. */
  mayHaveTaken: boolean;
}

/** The rules at a moment, and who waits. */
interface Situation extends SuccessionRules {
  firsts: Record<Priority, Place[]>;
  nowMs: number;
}

/** The waiters of one class in one isolate. */
class Line {
  readonly successors = new WaitQueue();
  readonly others = new WaitQueue();
}

/** Of callers that do not say where they run. They take over nothing. */
const NOWHERE = "";
const whereIs = ({ isolate }: Waiter) => isolate ?? NOWHERE;

/** The first of a class that waits outside of an isolate. */
const firstElsewhere = (firsts: Place[], isolate: string): Place | undefined =>
  firsts.find(({ waiter }) => whereIs(waiter) !== isolate);

export class Succession {
  readonly #places = new Map<string, Place>();
  readonly #lines: Record<Priority, Map<string, Line>> = { interactive: new Map(), background: new Map() };
  readonly #lastTurn: Record<Priority, number> = { interactive: 0, background: 0 };
  /** How many waiters of each isolate may have taken over a permit. */
  readonly #mayHaveTaken = new Map<string, number>();
  /** Leases whose holders have gone without a word, and their isolates. */
  readonly #orphans = new Map<string, string>();
  readonly #changed = new Set<Waiter>();
  readonly #counts: Record<Priority, number> = { interactive: 0, background: 0 };

  /** A waiter has joined the queue, before those of its class that are `behind` it. */
  join(waiter: Waiter, behind: Iterable<Waiter>): void {
    let turn = ++this.#lastTurn[waiter.priority];
    for (const later of behind) turn = Math.min(turn, this.#placeOf(later).turn++);
    const place = { waiter, turn, isSuccessor: false, told: undefined, mayHaveTaken: false };
    this.#places.set(waiter.leaseId, place);
    const lines = this.#lines[waiter.priority];
    const line = lines.get(whereIs(waiter)) ?? new Line();
    lines.set(whereIs(waiter), line);
    line.others.join(waiter);
  }

  /** A waiter has left the queue, in whatever way. */
  leave(leaseId: string): void {
    const place = this.#places.get(leaseId);
    if (!place) return;
    const { waiter } = place;
    this.#places.delete(leaseId);
    this.#changed.delete(waiter);
    this.#setMayHaveTaken(place, false);
    if (place.isSuccessor) this.#counts[waiter.priority]--;
    const lines = this.#lines[waiter.priority];
    const line = lines.get(whereIs(waiter));
    line?.successors.leave(leaseId);
    line?.others.leave(leaseId);
    if (line && line.successors.length + line.others.length === 0) lines.delete(whereIs(waiter));
  }

  /** A waiter waits. What it was told before, it knows. Returns whether there is something new to tell it. */
  hear(leaseId: string): boolean {
    const place = this.#places.get(leaseId);
    if (!place) return false;
    if (place.told === false) this.#setMayHaveTaken(place, false);
    return place.told !== undefined && place.told !== place.isSuccessor;
  }

  /** Its turn, for a waiter that is told now that it is a successor; undefined if it is told that it is none. */
  tell(leaseId: string): number | undefined {
    const place = this.#places.get(leaseId);
    if (!place) return undefined;
    place.told = place.isSuccessor;
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

  /** Decides anew who is a successor. Returns those that are to be told, if they wait for a word. */
  update(rules: SuccessionRules, nowMs: number): Waiter[] {
    const firsts = this.#findFirsts();
    for (const priority of PRIORITIES)
      for (const [isolate, line] of this.#lines[priority])
        if (isolate !== NOWHERE) this.#updateLine(priority, isolate, line, { ...rules, firsts, nowMs });
    const told = [...this.#changed];
    this.#changed.clear();
    return told;
  }

  /** When somebody has waited for so long that those behind must not pass it any longer. */
  nextChangeAtMs(maxPassMs: number, nowMs: number): number {
    if (this.#counts.interactive + this.#counts.background === 0) return Infinity;
    const times = Object.values(this.#findFirsts()).flatMap((firsts) =>
      firsts.map(({ waiter }) => waiter.arrivedAtMs + maxPassMs),
    );
    return Math.min(...times.filter((ms) => ms > nowMs));
  }

  #updateLine(priority: Priority, isolate: string, { successors, others }: Line, rules: Situation): void {
    const lastTurn = this.#lastTurnIn(priority, isolate, rules);
    const max = this.#roomIn(priority, isolate, successors.length, rules);
    for (let last = successors.last; last; last = successors.last) {
      const place = this.#placeOf(last);
      if (place.turn <= lastTurn && successors.length <= max) break;
      successors.leave(last.leaseId);
      others.join(last);
      this.#setSuccessor(place, false);
    }
    for (let first = others.first; first && successors.length < max; first = others.first) {
      const place = this.#placeOf(first);
      // To tell one that waits already costs a call, which is of use only where a permit is.
      if (place.turn > lastTurn || (place.told !== undefined && !rules.holds(isolate))) break;
      others.leave(first.leaseId);
      successors.join(first);
      this.#setSuccessor(place, true);
    }
  }

  /** Up to which turn waiters of an isolate may be successors. */
  #lastTurnIn(priority: Priority, isolate: string, rules: Situation): number {
    if (!rules.mayHandOn || [...this.#orphans.values()].includes(isolate)) return 0;
    if (priority === "background" && firstElsewhere(rules.firsts.interactive, isolate)) return 0;
    const other = firstElsewhere(rules.firsts[priority], isolate);
    if (!other) return Infinity;
    const mayPass = rules.nowMs < other.waiter.arrivedAtMs + rules.maxPassMs;
    return mayPass ? other.turn + rules.maxPasses : other.turn;
  }

  /** How many successors of a class an isolate may have, that has `count` now. */
  #roomIn(priority: Priority, isolate: string, count: number, rules: Situation): number {
    const max = SUCCESSORS_PER_PERMIT * rules.concurrency;
    if (priority === "background" || !firstElsewhere(rules.firsts.background, isolate)) return max;
    return Math.min(max, rules.interactiveLeft - (this.#counts.interactive - count));
  }

  /** Of each class, the first two of different isolates. */
  #findFirsts(): Situation["firsts"] {
    const firstsOf = (priority: Priority) =>
      [...this.#lines[priority].values()]
        .flatMap((line) => this.#firstOf(line) ?? [])
        .toSorted((a, b) => a.turn - b.turn)
        .slice(0, 2);
    return { interactive: firstsOf("interactive"), background: firstsOf("background") };
  }

  #firstOf({ successors, others }: Line): Place | undefined {
    const [a, b] = [successors.first, others.first].map((waiter) => waiter && this.#placeOf(waiter));
    return a && b ? (a.turn < b.turn ? a : b) : (a ?? b);
  }

  #placeOf({ leaseId }: Waiter): Place {
    const place = this.#places.get(leaseId);
    if (!place) throw new Error("A waiter in a line has no place.");
    return place;
  }

  #setSuccessor(place: Place, isSuccessor: boolean): void {
    place.isSuccessor = isSuccessor;
    this.#counts[place.waiter.priority] += isSuccessor ? 1 : -1;
    if (place.told === undefined || place.told === isSuccessor) this.#changed.delete(place.waiter);
    else this.#changed.add(place.waiter);
  }

  #setMayHaveTaken(place: Place, mayHaveTaken: boolean): void {
    if (place.mayHaveTaken === mayHaveTaken) return;
    place.mayHaveTaken = mayHaveTaken;
    const isolate = whereIs(place.waiter);
    const count = (this.#mayHaveTaken.get(isolate) ?? 0) + (mayHaveTaken ? 1 : -1);
    if (count > 0) this.#mayHaveTaken.set(isolate, count);
    else this.#mayHaveTaken.delete(isolate);
  }
}
