/**
 * Calls of one isolate to one object that carry what many invocations have to send. While a call is under way, what
 * comes waits, and travels together in the next one. So calls are few when there is much to send, and what comes alone
 * waits for nothing.
 *
 * Each parcel has an owner, an invocation that waits for its outcome. One owner, the carrier, makes the call for all
 * parcels that wait. Then it hands the turn to the owner of the first that came meanwhile. So each makes at most one call
 * as long as nothing goes wrong.
 *
 * A carrier may die at any moment, and nobody is told: its client has gone, its CPU time is over. So each owner has a
 * timer of its own, and takes the turn when nothing was heard for `PATIENCE_MS`. (The timer is also what keeps the runtime
 * from ending it: an invocation that waits for another one only counts as hung.) A parcel may therefore be sent twice,
 * and the receiver must take it once.
 */
import { ObjectTimeoutError } from "./objects.ts";
import { isSubrequestLimit } from "./subrequests.ts";

/** How long a call may take before its parcels, and those that wait for it, no longer count on it. */
export const PATIENCE_MS = 1_000;
/** How long the next carrier may take to begin before another makes the call in its place. */
const HANDOVER_MS = 100;
/** What the parcels of a call weigh together at most, if they are more than one. */
const MAX_WEIGHT = 2_000_000;

interface Parcel<Cargo, Outcome> {
  cargo: Cargo;
  weight: number;
  /** Then its owner gives up. */
  untilMs: number;
  /** When the latest call that carries it began; null before the first. */
  sentAtMs: number | null;
  outcome?: { value: Outcome } | { error: unknown };
  /** Wakes its owner, if that waits. */
  ring: () => void;
}

/** Whoever makes the call now, or is to make the next one. After `untilMs` nobody counts on it any longer. */
interface Turn {
  holder: object;
  untilMs: number;
}

export class GroupedCalls<Cargo, Outcome> {
  readonly #call: (cargo: Cargo[]) => Promise<Outcome[]>;
  readonly #parcels = new Set<Parcel<Cargo, Outcome>>();
  #turn: Turn | undefined;

  /** `call` sends cargo, and resolves to the outcome of each, in order. It runs in the invocation of a carrier. */
  constructor(call: (cargo: Cargo[]) => Promise<Outcome[]>) {
    this.#call = call;
  }

  /**
   * Sends cargo, perhaps with others'. Rejects with the error of the call that carried it, or with an
   * `ObjectTimeoutError` at `untilMs`. `weight`: how much of a call it takes.
   */
  async send(cargo: Cargo, weight: number, untilMs: number): Promise<Outcome> {
    const parcel: Parcel<Cargo, Outcome> = {
      cargo,
      weight,
      untilMs,
      sentAtMs: null,
      ring: () => {},
    };
    this.#parcels.add(parcel);
    while (parcel.outcome === undefined && Date.now() < untilMs) {
      const isCarrier = this.#mayCarry(parcel, Date.now());
      await this.#wait(parcel, isCarrier ? [this.#carry(parcel)] : []);
    }
    this.#parcels.delete(parcel);
    if (parcel.outcome === undefined) throw new ObjectTimeoutError("No call of the group had a response.");
    if ("error" in parcel.outcome) throw parcel.outcome.error;
    return parcel.outcome.value;
  }

  #mayCarry(parcel: Parcel<Cargo, Outcome>, nowMs: number): boolean {
    if (this.#turn?.holder === parcel) return true;
    return (this.#turn?.untilMs ?? 0) <= nowMs && isUnsent(parcel, nowMs);
  }

  /** Makes a call, and then hands on the turn. */
  async #carry(own: Parcel<Cargo, Outcome>): Promise<void> {
    const nowMs = Date.now();
    const turn = { holder: own, untilMs: nowMs + PATIENCE_MS };
    this.#turn = turn;
    const load = this.#load(own, nowMs);
    for (const parcel of load) parcel.sentAtMs = nowMs;
    try {
      const outcomes = await this.#call(load.map(({ cargo }) => cargo));
      for (const [i, value] of outcomes.entries()) if (load[i]) load[i].outcome ??= { value };
    } catch (error) {
      // The allowance of this invocation is used up, which is nothing to the others.
      const failed = isSubrequestLimit(error) ? [own] : load;
      for (const parcel of load) parcel.sentAtMs = failed.includes(parcel) ? nowMs : null;
      for (const parcel of failed) parcel.outcome ??= { error };
    }
    if (this.#turn === turn) this.#handOn();
    for (const parcel of load) parcel.ring();
  }

  /** The carrier's own parcel, and others that wait, the oldest first. */
  #load(own: Parcel<Cargo, Outcome>, nowMs: number): Parcel<Cargo, Outcome>[] {
    const load = [own];
    let room = MAX_WEIGHT - own.weight;
    for (const parcel of this.#parcels) {
      if (parcel.untilMs < nowMs) this.#parcels.delete(parcel);
      else if (parcel !== own && isUnsent(parcel, nowMs) && parcel.weight <= room) {
        load.push(parcel);
        room -= parcel.weight;
      }
    }
    return load;
  }

  #handOn(): void {
    const nowMs = Date.now();
    const next = [...this.#parcels].find((parcel) => isUnsent(parcel, nowMs));
    this.#turn = next && { holder: next, untilMs: nowMs + HANDOVER_MS };
    next?.ring();
  }

  /** Waits until the owner is rung or its call is over, or else until nobody counts on the call or the turn any longer. */
  async #wait(parcel: Parcel<Cargo, Outcome>, calls: Promise<void>[]): Promise<void> {
    const patientUntilMs = Math.max(this.#turn?.untilMs ?? 0, (parcel.sentAtMs ?? 0) + PATIENCE_MS);
    const untilMs = Math.min(parcel.untilMs, patientUntilMs);
    const rung = Promise.withResolvers<void>();
    parcel.ring = rung.resolve;
    const timer = setTimeout(rung.resolve, Math.max(0, untilMs - Date.now()));
    await Promise.race([...calls, rung.promise]);
    clearTimeout(timer);
  }
}

/** Whether no call carries the parcel, or none that still counts. */
const isUnsent = ({ outcome, sentAtMs }: Parcel<unknown, unknown>, nowMs: number): boolean =>
  outcome === undefined && (sentAtMs === null || sentAtMs <= nowMs - PATIENCE_MS);
