/**
 * How often waiters of one class have been passed, and may be: by those of other isolates that came later, and have taken
 * over a permit or may do so. Who came later has a greater turn. So only the first waiter of each isolate counts: no
 * other one there can have been passed more often.
 */
import type { Waiter } from "./wait-queue.ts";

export interface SuccessionRules {
  concurrency: number;
  maxPasses: number;
  maxPassMs: number;
  /** Whether any permit may be handed on now. */
  mayHandOn: boolean;
  /** How many interactive calls may have their turn before it is that of background work. */
  interactiveLeft: number;
  /** How many permits an isolate holds. */
  heldIn: (isolate: string) => number;
  /** How long permits are held, on average. */
  meanHoldMs: number;
}

export interface Place {
  readonly waiter: Waiter;
  /** Where it waits. */
  readonly isolate: string;
  /** Its place in the order of its class: numbers without ties. */
  turn: number;
  isSuccessor: boolean;
  /** What it was told it is; undefined before the first word. */
  told: boolean | undefined;
  toldAtMs: number;
  /** It may have taken over a permit: it was told so, and has not waited again since it was told otherwise. */
  mayHaveTaken: boolean;
}

interface First {
  turn: number;
  isolate: string;
  passes: number;
  isTooLate: boolean;
}

export class Passes {
  /** Those that may take over a permit, or may have. */
  readonly #may = new Set<Place>();
  /** Those that have begun, as long as somebody waits that came before. */
  #have: Pick<Place, "turn" | "isolate">[] = [];
  #firsts: First[] = [];
  #maxPasses = 0;
  #successors = 0;

  /** How many successors there are. */
  get successors(): number {
    return this.#successors;
  }

  get isEmpty(): boolean {
    return this.#may.size === 0;
  }

  onChange(place: Place): void {
    if (place.isSuccessor || place.mayHaveTaken) this.#may.add(place);
    else this.#may.delete(place);
  }

  /** It has left the queue. `hasPassed`: its call has begun, as far as is known. */
  onLeave(place: Place, hasPassed: boolean): void {
    this.#may.delete(place);
    if (hasPassed) this.#have.push(place);
  }

  /** Counts anew. `firsts`: the first waiter of each isolate. */
  count(firsts: Place[], { maxPasses, maxPassMs }: SuccessionRules, nowMs: number): void {
    const earliest = Math.min(...firsts.map(({ turn }) => turn));
    this.#have = this.#have.filter(({ turn }) => turn > earliest);
    this.#maxPasses = maxPasses;
    this.#successors = [...this.#may].filter(({ isSuccessor }) => isSuccessor).length;
    this.#firsts = firsts.map(({ turn, isolate, waiter }) => {
      const isTooLate = nowMs >= waiter.arrivedAtMs + maxPassMs;
      return { turn, isolate, passes: 0, isTooLate };
    });
    if (firsts.length < 2) return;
    for (const place of [...this.#have, ...this.#may])
      for (const first of this.#passedBy(place)) first.passes++;
  }

  /** Whether a successor may remain one. */
  mayStay(place: Place): boolean {
    return this.#passedBy(place).every(({ passes, isTooLate }) => passes <= this.#maxPasses && !isTooLate);
  }

  /** Whether a waiter may pass those that came before it elsewhere. */
  mayPass(place: Place): boolean {
    const isCounted = this.#may.has(place);
    return this.#passedBy(place).every(
      ({ passes, isTooLate }) => !isTooLate && (isCounted || passes < this.#maxPasses),
    );
  }

  /** A waiter becomes a successor. */
  onSuccessor(place: Place): void {
    this.#successors++;
    if (!this.#may.has(place)) for (const first of this.#passedBy(place)) first.passes++;
  }

  #passedBy({ turn, isolate }: Pick<Place, "turn" | "isolate">): First[] {
    return this.#firsts.filter((first) => first.turn < turn && first.isolate !== isolate);
  }
}
