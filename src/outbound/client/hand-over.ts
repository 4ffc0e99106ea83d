/**
 * A permit on its way from one call to the next within an isolate.
 *
 *     open ──the successor takes it──▶ taken
 *       └───not taken in time, or declined──▶ withdrawn: the holder still has the permit
 *
 * Both sides run in one thread, and each step is one of them. So at every moment exactly one has the permit, also if
 * the other has died: whoever offers has a timer of its own.
 */
import type { Feedback, HandOver, Lease } from "../semaphore/permit-types.ts";

/** A permit ends this long after its holder's last sign of life. */
export const LEASE_MS = 15_000;
export const RENEW_MS = LEASE_MS / 5;
/** If the lease could not be renewed, the call is aborted this long before it ends. */
export const MARGIN_MS = 2_000;
/** A successor that lives is woken at once. */
const TAKE_MS = 25;

/** A lease that calls have one after another. */
export class SharedLease {
  readonly id: string;
  /** That of the latest holder that the semaphore has heard of. */
  fence: number;
  /** It ends at the semaphore no sooner. The call of its holder must be over before. */
  endsAtMs: number;
  /** How often it was handed on. */
  handOvers = 0;
  #ended: HandOver["ended"] = [];
  #heard = 0;
  readonly #waiting = new Set<() => void>();

  constructor({ id, fence }: Pick<Lease, "id" | "fence">, endsAtMs: number) {
    this.id = id;
    this.fence = fence;
    this.endsAtMs = endsAtMs;
  }

  /** Its call, if it had one, has ended, and another one has begun. Returns the how-manieth hand-over this is. */
  handOn(feedback: Feedback | undefined): number {
    if (feedback) this.#ended.push({ after: this.handOvers, feedback });
    return ++this.handOvers;
  }

  /** Whether there is time for another call to be renewed. */
  get hasTimeLeft(): boolean {
    return Date.now() + RENEW_MS <= this.endsAtMs - MARGIN_MS;
  }

  /** What the semaphore is to be told of a hand-over. */
  describe(number: number): HandOver {
    return { leaseId: this.id, number, ended: this.#ended.filter(({ after }) => after < number) };
  }

  /** The semaphore knows of the holder after so many hand-overs. */
  onHeard(number: number, fence: number, endsAtMs: number): void {
    if (number >= this.#heard) this.fence = fence;
    this.#heard = Math.max(this.#heard, number);
    this.endsAtMs = Math.max(this.endsAtMs, endsAtMs);
    this.#ended = this.#ended.filter(({ after }) => after >= number);
    for (const wake of this.#waiting) wake();
  }

  /** Resolves when the semaphore knows of a holder after so many hand-overs, or when the time is over. */
  async untilHeard(number: number, withinMs: number): Promise<void> {
    const untilMs = Date.now() + withinMs;
    while (this.#heard < number && Date.now() < untilMs) await this.#wait(untilMs - Date.now());
  }

  async #wait(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ms);
    this.#waiting.add(resolve);
    await promise;
    this.#waiting.delete(resolve);
    clearTimeout(timer);
  }
}

/** A holder's offer to a successor. */
export class Offer {
  readonly lease: SharedLease;
  readonly #feedback: Feedback | undefined;
  #state: "open" | "taken" | "withdrawn" = "open";
  readonly #decided = Promise.withResolvers<void>();

  /** `feedback`: how the holder's own call went; undefined if it made none. */
  constructor(lease: SharedLease, feedback: Feedback | undefined) {
    this.lease = lease;
    this.#feedback = feedback;
  }

  /** Takes over the permit. Returns the how-manieth hand-over this is; undefined if the permit is not to be had. */
  take(): number | undefined {
    if (this.#state !== "open") return undefined;
    const isInTime = Date.now() < this.lease.endsAtMs - MARGIN_MS;
    this.#decide(isInTime ? "taken" : "withdrawn");
    return isInTime ? this.lease.handOn(this.#feedback) : undefined;
  }

  /** The successor does not need it. */
  decline(): void {
    this.#decide("withdrawn");
  }

  /** Whether it is taken. If not, it is withdrawn. */
  async isTaken(): Promise<boolean> {
    const timer = setTimeout(() => this.#decide("withdrawn"), TAKE_MS);
    await this.#decided.promise;
    clearTimeout(timer);
    return this.#state === "taken";
  }

  #decide(state: "taken" | "withdrawn"): void {
    if (this.#state === "open") this.#state = state;
    this.#decided.resolve();
  }
}
